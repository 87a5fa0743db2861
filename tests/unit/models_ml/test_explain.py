import dataclasses

import numpy as np
import pytest

from models_ml.als import ALSConfig, fit_als
from models_ml.fold_in import contributions, strongest_contributions
from models_ml.ials import IALSConfig, fit_ials
from models_ml.reasons import Reasons

FITS = {
    "als, more items than factors": (fit_als, ALSConfig(factors=4, regularization=2.0, alpha=7.0, iterations=5)),
    "als, more factors than items": (fit_als, ALSConfig(factors=32, regularization=2.0, alpha=7.0, iterations=5)),
    "ials, more items than factors": (fit_ials, IALSConfig(factors=4, reg=0.5, nu=0.7, epochs=5)),
    "ials, more factors than items": (fit_ials, IALSConfig(factors=32, reg=0.5, nu=0.7, epochs=5)),
}


@pytest.fixture(scope="module")
def uneven(planted):
    """Sixty people with preferences of different size for 1 to 50 of eighty items."""
    random = np.random.default_rng(1)
    taken = random.random((60, 80)) < random.uniform(0.02, 0.6, (60, 1))
    people, items = np.nonzero(taken)
    weight = random.uniform(0.5, 5, len(items)).astype(np.float32)
    return dataclasses.replace(
        planted.take(np.arange(60)),
        indptr=np.searchsorted(people, np.arange(61)),
        indices=items.astype(np.int32),
        weight=weight,
        strength=weight,
        is_consumed=np.ones(len(items), dtype=np.bool_),
        last_at=np.zeros(len(items), dtype=np.int64),
    )


@pytest.fixture(scope="module", params=FITS.values(), ids=FITS.keys())
def model(request, uneven):
    fit, config = request.param
    return fit(uneven, config)


def test_the_contributions_of_past_interactions_add_up_to_the_score(uneven, model):
    lists = model.top_k(uneven, uneven.domain_range("film"), 6)
    checked = []
    for stack in contributions(model.basis, model.systems(uneven), lists.items):
        for person, known, parts in zip(stack.people, stack.past, stack.parts, strict=True):
            assert (
                known[known >= 0].tolist() == uneven.indices[uneven.indptr[person] : uneven.indptr[person + 1]].tolist()
            )
            assert not parts[:, known < 0].any()
        filled = lists.items[stack.people] >= 0
        np.testing.assert_allclose(stack.parts.sum(axis=2)[filled], lists.scores[stack.people][filled], rtol=1e-4)
        checked += stack.people.tolist()
    assert sorted(checked) == np.flatnonzero(np.diff(uneven.indptr)).tolist()


def test_a_contribution_is_what_the_score_loses_when_the_target_of_the_interaction_is_dropped(uneven, model):
    """x = M^-1 sum of b(j) y(j) is linear in b: without the target of j, and with M as it is, the score lacks the part of j."""
    items = np.tile(np.arange(5, dtype=np.int32), (uneven.shape[0], 1))
    systems = model.systems(uneven)
    stack = next(contributions(model.basis, systems, items))
    y = model.item_factors.astype(np.float64)
    for person, known, parts in zip(stack.people[:9], stack.past, stack.parts, strict=False):
        own = slice(systems.history.indptr[person], systems.history.indptr[person + 1])
        mine = y[systems.history.indices[own]]
        matrix = systems.gram_weight * y.T @ y + (mine.T * systems.history.data[own]) @ mine
        matrix += systems.ridge[person] * np.eye(len(matrix))
        expected = y[items[person]] @ np.linalg.solve(matrix, mine.T) * systems.targets[own]
        np.testing.assert_allclose(parts[:, known >= 0], expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_the_reasons_are_the_own_items_that_contribute_most_and_their_shares_of_the_score(uneven, model):
    items = np.tile(np.arange(80, dtype=np.int32), (60, 1))
    reasons = model.explain(uneven, items, most=3)
    named = 0
    for stack in contributions(model.basis, model.systems(uneven), items):
        for person, known, parts in zip(stack.people, stack.past, stack.parts, strict=True):
            for place, score in enumerate(parts.sum(axis=1)):
                order = np.argsort(-parts[place], kind="stable")[:3]
                order = order[(parts[place][order] > 0) & (score > 0)]
                assert reasons.items[person, place].tolist() == [*known[order], *[-1] * (3 - len(order))]
                np.testing.assert_allclose(
                    reasons.shares[person, place][: len(order)], parts[place][order] / score, rtol=1e-5
                )
                assert not reasons.shares[person, place][len(order) :].any()
                named += len(order)
    assert named > 1000
    assert (reasons.features == -1).all()
    assert (reasons.trait == -1).all()


def test_what_speaks_for_an_item_is_of_its_taste(planted):
    model = fit_ials(planted, IALSConfig(factors=8, reg=0.5, epochs=5))
    lists = model.top_k(planted, planted.domain_range("knowledge"), 4)
    reasons = model.explain(planted, lists.items)
    tastes = np.array([int(key.split(":")[1]) % 4 for key in planted.item_keys.to_pylist()])
    assert (reasons.items[:, :, 0] >= 0).all()
    assert (tastes[reasons.items[:, :, 0]] == tastes[lists.items]).mean() > 0.9


def test_an_empty_place_and_a_person_without_history_have_no_reason(make):
    world = make(
        [("ann", "film:a", 3.0, 0), ("ben", "film:a", 2.0, 0), ("ben", "film:b", 2.0, 0), ("cat", "film:b", 0.0, 0)]
    )
    model = fit_als(world, ALSConfig(factors=2, regularization=0.1, alpha=1.0))
    items = np.array([[1, -1], [-1, -1], [0, 1]], dtype=np.int32)
    assert model.explain(world, items, most=2).items.tolist() == [[[0, -1], [-1, -1]], [[-1, -1]] * 2, [[-1, -1]] * 2]
    nobody = world.take(np.array([], dtype=np.int64))
    assert model.explain(nobody, np.zeros((0, 2), np.int32)).items.shape == (0, 2, 3)


def test_one_past_item_has_the_whole_share(make):
    world = make([("ann", "film:a", 3.0, 0), ("ben", "film:a", 2.0, 0), ("ben", "film:b", 2.0, 0)])
    model = fit_ials(world, IALSConfig(factors=2, reg=0.01, epochs=4))
    reasons = model.explain(world, np.array([[1], [-1]], dtype=np.int32))
    assert reasons.items.tolist() == [[[0, -1, -1]], [[-1, -1, -1]]]
    np.testing.assert_allclose(reasons.shares[0, 0], [1, 0, 0], atol=1e-6)


def test_reasons_do_not_depend_on_the_threads_nor_on_the_memory_of_a_stack(uneven, model):
    lists = model.top_k(uneven, uneven.domain_range("film"), 6)
    systems = model.systems(uneven)
    first = strongest_contributions(model.basis, systems, lists.items, 3, workers=1)
    second = strongest_contributions(model.basis, systems, lists.items, 3, workers=3, block_bytes=1)
    np.testing.assert_array_equal(first.items, second.items)
    np.testing.assert_array_equal(first.shares, second.shares)


def test_reasons_are_put_in_their_people_and_places_only():
    all_people, some = Reasons.nothing(3, 2, 1), Reasons.nothing(2, 2, 1)
    some.items[:, :, 0] = [[1, 2], [3, 4]]
    some.trait[:] = [[5, 6], [7, 8]]
    all_people.put(np.array([2, 0]), some, np.array([[True, False], [True, True]]))
    assert all_people.items[:, :, 0].tolist() == [[3, 4], [-1, -1], [1, -1]]
    assert all_people.trait.tolist() == [[7, 8], [-1, -1], [5, -1]]
    all_people.put(
        np.array([1]),
        dataclasses.replace(some, **{field.name: getattr(some, field.name)[:1] for field in dataclasses.fields(some)}),
    )
    assert all_people.items[:, :, 0].tolist() == [[3, 4], [1, 2], [1, -1]]


def test_reasons_of_different_shapes_are_refused():
    nothing = Reasons.nothing(3, 2, 1)
    with pytest.raises(ValueError, match=r"one shape \(people, k, most\)"):
        dataclasses.replace(nothing, shares=np.zeros((3, 2, 2), np.float32))
    with pytest.raises(ValueError, match=r"trait must have shape \(3, 2\)"):
        dataclasses.replace(nothing, trait=np.zeros((2, 2), np.int32))

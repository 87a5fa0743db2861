import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from implicit.nearest_neighbours import CosineRecommender
from sklearn.neighbors import NearestNeighbors

from models_ml.neighbours import (
    ItemNeighboursConfig,
    ItemNeighboursModel,
    UserNeighboursConfig,
    UserNeighboursModel,
    fit_item_neighbours,
    fit_user_neighbours,
)

# The worked example of the article that the project began with: how people 1 to 3 rate works A to E.
RATINGS = [[4, 5, 3, 5, 4], [3, 4, 4, 3, 5], [2, 2, 5, 3, 3]]


def cosine(first, second) -> float:
    inner = sum(a * b for a, b in zip(first, second, strict=True))
    return inner / (math.sqrt(sum(a * a for a in first)) * math.sqrt(sum(b * b for b in second)))


def ratings(make, hidden=()):
    rows = [
        (f"u{person + 1}", f"film:{'ABCDE'[work]}", float(rating), 0)
        for person, row in enumerate(RATINGS)
        for work, rating in enumerate(row)
        if (person, work) not in hidden
    ]
    return make(rows)


def test_cosines_of_the_worked_example(make):
    world = ratings(make)
    # By hand: 1 and 2 share 12 + 20 + 12 + 15 + 20 = 79, with squared lengths 91 and 75; and so on.
    expected = {(0, 1): 79 / math.sqrt(91 * 75), (0, 2): 60 / math.sqrt(91 * 51), (1, 2): 58 / math.sqrt(75 * 51)}
    found = fit_user_neighbours(world, UserNeighboursConfig()).cosines(world)
    for (first, second), value in expected.items():
        assert value == pytest.approx(cosine(RATINGS[first], RATINGS[second]))
        assert found[first, second] == found[second, first] == pytest.approx(value, abs=1e-6)
    assert [round(value, 4) for value in expected.values()] == [0.9563, 0.8807, 0.9378]

    works = list(zip(*RATINGS, strict=True))
    # A and B: 20 + 12 + 4 = 36, squared lengths 29 and 45.
    assert cosine(works[0], works[1]) == pytest.approx(36 / math.sqrt(29 * 45))
    found = fit_item_neighbours(world, ItemNeighboursConfig(shrinkage=0)).weights
    for first, second in itertools.permutations(range(5), 2):
        assert found[first, second] == pytest.approx(cosine(works[first], works[second]), abs=1e-6)


def test_the_prediction_of_the_worked_example_is_the_weighted_mean_of_the_neighbours(make):
    world = ratings(make, hidden={(0, 4)})
    model = fit_user_neighbours(world, UserNeighboursConfig(neighbours=2))
    # Person 1 has not rated E; people 2 and 3 gave it 5 and 3. Their cosines are over all that each has rated.
    to_second, to_third = cosine([4, 5, 3, 5, 0], RATINGS[1]), cosine([4, 5, 3, 5, 0], RATINGS[2])
    expected = (to_second * 5 + to_third * 3) / (to_second + to_third)
    found = model.scores(world, range(5))[0, 4] * model.scale.mean
    assert found == pytest.approx(expected, rel=1e-5)
    lists = model.top_k(world, range(5), 2)
    assert lists.items[0].tolist() == [4, -1]


def test_item_weights_are_shrunk_cosines_of_the_nearest(planted):
    weight = np.random.default_rng(2).uniform(0.5, 5, planted.entries).astype(np.float32)
    world = dataclasses.replace(planted, weight=weight)
    model = fit_item_neighbours(world, ItemNeighboursConfig(neighbours=7, shrinkage=4.0))
    dense = world.csr(world.weight).toarray().astype(np.float64)
    common = (dense > 0).T.astype(float) @ (dense > 0)
    length = np.linalg.norm(dense, axis=0)
    full = dense.T @ dense / np.outer(length, length) * common / (common + 4)
    np.fill_diagonal(full, 0)
    found = model.weights.toarray()
    for item in range(world.shape[1]):
        nearest = np.argsort(-full[:, item], kind="stable")[:7]
        assert set(np.flatnonzero(found[:, item])) == set(nearest[full[nearest, item] > 0].tolist())
    np.testing.assert_allclose(found[found > 0], full[found > 0], rtol=1e-5)


def test_cosine_neighbours_are_those_of_implicit(planted):
    ours = fit_item_neighbours(planted, ItemNeighboursConfig(neighbours=planted.shape[1], shrinkage=0.0))
    theirs = CosineRecommender(K=planted.shape[1], num_threads=1)
    theirs.fit(planted.csr(planted.weight).astype(np.float64), show_progress=False)
    dense = theirs.similarity.toarray()
    np.fill_diagonal(dense, 0)
    np.testing.assert_allclose(ours.weights.toarray(), dense, atol=1e-5)


def test_bm25_weights_follow_the_formula(make):
    world = make(
        [
            (user, f"film:{item}", 1.0, 0)
            for user, items in {"ann": "ab", "ben": "ab", "cat": "c", "dan": "ac"}.items()
            for item in items
        ]
    )
    k1, b = 1.2, 0.75
    model = fit_item_neighbours(world, ItemNeighboursConfig(similarity="bm25", shrinkage=0.0, k1=k1, b=b))
    # An item is a document of its people: a has 3, b 2 and c 2, 7 / 3 in the mean; ann and ben have 2 of the 3 items.
    rarity = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    in_a, in_b = ((k1 + 1) / (1 + k1 * (1 - b + b * size / (7 / 3))) * rarity for size in (3, 2))
    expected = 2 * in_a * in_b
    found = model.weights.toarray()
    assert found[0, 1] == found[1, 0] == pytest.approx(expected, rel=1e-5)


def test_equal_neighbours_are_taken_in_the_order_of_the_items(make):
    world = make([(f"u{person}", f"film:{item}", 1.0, 0) for person in range(3) for item in "abcdef"])
    model = fit_item_neighbours(world, ItemNeighboursConfig(neighbours=2))
    assert [np.flatnonzero(column).tolist() for column in model.weights.toarray().T][:3] == [[1, 2], [0, 2], [0, 1]]


def test_user_neighbours_are_those_of_scikit_learn(planted):
    model = fit_user_neighbours(planted, UserNeighboursConfig(neighbours=6))
    cosines = model.cosines(planted)
    history = planted.csr(planted.weight)
    distances, _ = NearestNeighbors(n_neighbors=7, metric="cosine", algorithm="brute").fit(history).kneighbors(history)
    for person in range(planted.shape[0]):
        row = cosines[[person]]
        assert person not in row.indices
        np.testing.assert_allclose(np.sort(row.data), np.sort(1 - distances[person, 1:]), atol=1e-5)


def test_somebody_who_was_not_in_training_is_served(planted):
    columns = planted.domain_range("knowledge")
    others = planted.where(planted.rows != 5)
    model = fit_user_neighbours(others, UserNeighboursConfig(neighbours=10))
    lists = model.top_k(planted.take(np.array([5])), columns, 3)
    own = int(planted.user_keys[5].as_py()[1:]) % 4
    assert [int(planted.item_keys[int(item)].as_py().split(":")[1]) % 4 for item in lists.items[0]] == [own] * 3


@pytest.mark.parametrize(
    ("fit", "config"),
    [
        (fit_item_neighbours, ItemNeighboursConfig(neighbours=12)),
        (fit_item_neighbours, ItemNeighboursConfig(neighbours=12, similarity="bm25")),
    ],
    ids=["cosine", "bm25"],
)
def test_reasons_of_item_neighbours_are_the_largest_parts_of_the_score(planted, fit, config):
    model = fit(planted, config)
    columns = planted.domain_range("film")
    lists = model.top_k(planted, columns, 4)
    reasons = model.explain(planted, lists.items, most=planted.shape[1])
    weights, history = model.weights.toarray(), model.history(planted).toarray()
    for person in range(0, planted.shape[0], 11):
        for place, item in enumerate(lists.items[person]):
            if item < 0:
                continue
            parts = history[person] * weights[:, item]
            named = reasons.items[person, place]
            named = named[named >= 0]
            assert set(named.tolist()) == set(np.flatnonzero(parts).tolist())
            np.testing.assert_allclose(parts[named], np.sort(parts[parts > 0])[::-1], rtol=1e-5)
            np.testing.assert_allclose(parts.sum(), lists.scores[person, place], rtol=1e-4)
            np.testing.assert_allclose(reasons.shares[person, place].sum(), 1, rtol=1e-4)


def test_reasons_of_user_neighbours_are_what_makes_the_neighbours_similar(planted):
    weight = np.random.default_rng(3).uniform(0.5, 5, planted.entries).astype(np.float32)
    world = dataclasses.replace(planted, weight=weight)
    model = fit_user_neighbours(world, UserNeighboursConfig(neighbours=9))
    lists = model.top_k(world, world.domain_range("film"), 4)
    reasons = model.explain(world, lists.items, most=world.shape[1])
    cosines = model.cosines(world).toarray()
    history, known = model.history(world).toarray(), model.preferences.toarray()
    for person in range(20, world.shape[0], 13):
        for place, item in enumerate(lists.items[person]):
            near = np.flatnonzero(cosines[person])
            # Each neighbour's cosine is itself a sum over the common items.
            by_item = (
                history[person]
                / np.linalg.norm(history[person])
                * (known[near] / np.linalg.norm(known[near], axis=1, keepdims=True) * known[near, [item]][:, None]).sum(
                    axis=0
                )
                / cosines[person].sum()
            )
            np.testing.assert_allclose(by_item.sum(), lists.scores[person, place], rtol=1e-4)
            named = reasons.items[person, place]
            named = named[named >= 0]
            np.testing.assert_allclose(by_item[named], np.sort(by_item[by_item > 0])[::-1], rtol=1e-4)
            shares = reasons.shares[person, place, : len(named)]
            np.testing.assert_allclose(shares, by_item[named] / by_item.sum(), rtol=1e-3)


def test_reasons_of_user_neighbours_do_not_depend_on_the_blocks(planted, monkeypatch):
    """Also where people have one past item or 20, and no neighbour or 60: what fills up a block must add nothing."""
    random = np.random.default_rng(4)
    thinned = planted.where(random.random(planted.entries) < random.uniform(0, 1, planted.shape[0])[planted.rows])
    model = fit_user_neighbours(thinned.take(np.arange(0, 240, 3)), UserNeighboursConfig(neighbours=60))
    neighbours = np.diff(model.cosines(thinned).indptr)
    assert len(set(neighbours.tolist())) > 20
    lists = model.top_k(thinned, thinned.domain_range("film"), 4)
    together = model.explain(thinned, lists.items)
    monkeypatch.setattr("models_ml.neighbours.BLOCK_BYTES", 1)
    one_by_one = model.explain(thinned, lists.items)
    np.testing.assert_array_equal(together.items, one_by_one.items)
    np.testing.assert_allclose(together.shares, one_by_one.shares, rtol=1e-5)
    assert (together.items >= 0).sum() > 500


def test_an_item_that_no_neighbour_knows_has_no_score(make):
    world = make(
        [("ann", "film:a", 1.0, 0), ("ben", "film:a", 1.0, 0), ("ben", "film:b", 1.0, 0), ("cat", "film:c", 1.0, 0)]
    )
    for model in (
        fit_item_neighbours(world, ItemNeighboursConfig()),
        fit_user_neighbours(world, UserNeighboursConfig()),
    ):
        assert np.isfinite(model.scores(world, range(3))).tolist()[0][1:] == [True, False]
        assert model.top_k(world, range(3), 2).items.tolist()[0] == [1, -1]
        assert model.top_k(world, range(3), 2).items.tolist()[2] == [-1, -1]


def test_stored_models_give_the_same_scores(planted):
    columns = range(planted.shape[1])
    items = fit_item_neighbours(planted, ItemNeighboursConfig())
    people = fit_user_neighbours(planted, UserNeighboursConfig())
    for model, again in (
        (items, ItemNeighboursModel.from_arrays(items.to_arrays(), items.config)),
        (people, UserNeighboursModel.from_arrays(people.to_arrays(), people.config)),
    ):
        np.testing.assert_array_equal(model.scores(planted, columns), again.scores(planted, columns))
        assert again.describe() == model.describe()


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=20),
    weight=st.sampled_from([0.0, 1.0, 5.0]),
    similarity=st.sampled_from(["cosine", "bm25"]),
)
def test_every_small_world_can_be_fitted_ranked_and_explained(make, pairs, weight, similarity):
    world = make([(f"u{person}", f"film:{item}", weight, 0) for person, item in sorted(pairs)])
    for model in (
        fit_item_neighbours(world, ItemNeighboursConfig(similarity=similarity)),
        fit_user_neighbours(world, UserNeighboursConfig(neighbours=2)),
    ):
        for domain in ("film", "knowledge"):
            lists = model.top_k(world, world.domain_range(domain), 3)
            assert np.isfinite(lists.scores[lists.items >= 0]).all()
            assert model.explain(world, lists.items).items.shape == (*lists.items.shape, 3)


@pytest.mark.parametrize(
    "values", [{"neighbours": 0}, {"shrinkage": -1.0}, {"k1": 0.0}, {"b": 2.0}, {"similarity": "dot"}]
)
def test_parameters_that_make_no_sense_are_refused(values):
    with pytest.raises(ValueError, match="must be"):
        ItemNeighboursConfig(**values)
    with pytest.raises(ValueError, match="must be"):
        UserNeighboursConfig(neighbours=0)

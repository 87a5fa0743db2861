import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from models_ml.ease import EASEConfig, EASEModel, fit_ease
from models_ml.interactions import Interactions
from models_ml.item_to_item import histories

CONFIG = EASEConfig(regularization=3.0)


def dense(world, model) -> np.ndarray:
    return model.history(world).toarray().astype(np.float64)


def test_each_item_is_a_ridge_regression_on_the_others(planted):
    # The defining property: column i of B minimises |x_i - X b|^2 + regularization |b|^2 over the b with b_i = 0.
    model = fit_ease(planted, CONFIG)
    x = dense(planted, model)
    weights = np.zeros((planted.shape[1],) * 2)
    weights[np.ix_(model.kept, model.kept)] = model.weights
    for item in (0, 17, 63):
        others = np.delete(np.arange(planted.shape[1]), item)
        system = x[:, others].T @ x[:, others] + 3.0 * np.eye(len(others))
        np.testing.assert_allclose(
            weights[others, item], np.linalg.solve(system, x[:, others].T @ x[:, item]), atol=1e-6
        )
        assert weights[item, item] == 0


def test_dropout_is_the_mean_over_hidden_interactions(make):
    # Two items, by hand: X'X = [[2, 1], [1, 1]]. With b the weight from item a to item b, a share p of the entries of a hidden and
    # those left scaled up by 1 / (1 - p), the expected loss is |x(b) - x(a) b|^2 + p / (1 - p) |x(a)|^2 b^2 + ridge b^2.
    world = make([("ann", "film:a", 1.0, 0), ("ann", "film:b", 1.0, 0), ("ben", "film:a", 1.0, 0)])
    model = fit_ease(world, EASEConfig(regularization=1.0, dropout=0.5))
    np.testing.assert_allclose(model.weights, [[0, 1 / (2 + 2 + 1)], [1 / (1 + 1 + 1), 0]], atol=1e-7)


def test_a_score_is_the_history_times_the_weights_and_unknown_items_have_none(planted):
    model = fit_ease(planted, dataclasses.replace(CONFIG, max_items=50))
    people = np.bincount(planted.indices, minlength=planted.shape[1])
    assert len(model.kept) == 50
    assert people[model.kept].min() >= np.delete(people, model.kept).max()
    found = model.scores(planted, range(10, 70))
    x = dense(planted, model)[:, model.kept]
    inside = (model.kept >= 10) & (model.kept < 70)
    np.testing.assert_allclose(found[:, model.kept[inside] - 10], (x @ model.weights)[:, inside], rtol=1e-4, atol=1e-5)
    assert np.isinf(np.delete(found, model.kept[inside] - 10, axis=1)).all()


def test_lists_are_the_best_scores_without_what_was_consumed(planted):
    model = fit_ease(planted, CONFIG)
    columns = planted.domain_range("knowledge")
    scores = model.scores(planted, columns)
    scores[planted.consumed()[:, columns.start : columns.stop].toarray()] = -np.inf
    lists = model.top_k(planted, columns, 5)
    np.testing.assert_allclose(lists.scores, -np.sort(-scores, axis=1)[:, :5], rtol=1e-6)
    np.testing.assert_array_equal(np.take_along_axis(scores, lists.items - columns.start, axis=1), lists.scores)


def test_the_planted_tastes_are_found_across_platforms(planted):
    lists = fit_ease(planted, CONFIG).top_k(planted, planted.domain_range("knowledge"), 2)
    person = np.array([int(key[1:]) % 4 for key in planted.user_keys.to_pylist()])
    item = np.array([int(key.split(":")[1]) % 4 for key in planted.item_keys.to_pylist()])
    only_film = slice(0, 10)
    assert (item[lists.items[only_film]] == person[only_film, None]).mean() > 0.9


def test_a_model_of_one_platform_neither_looks_at_nor_scores_the_other(planted):
    model = fit_ease(planted, dataclasses.replace(CONFIG, domain="film"))
    assert model.config.name == "ease"
    assert CONFIG.name == "ease_joint"
    assert np.isinf(model.scores(planted, planted.domain_range("knowledge"))).all()
    assert (model.top_k(planted, planted.domain_range("film"), 3).lengths[10:20] == 0).all()


def check_reasons(model, world: Interactions, columns: range) -> None:
    """The named past items are the largest contributions to the score, with their share of it."""
    items = np.full((world.shape[0], 6), -1, dtype=np.int32)
    items[:, :5] = model.top_k(world, columns, 5).items
    reasons = model.explain(world, items, most=3)
    scores = model.scores(world, range(world.shape[1]))
    named = 0
    for person in range(0, world.shape[0], 7):
        own = np.sort(model.history(world)[[person]].indices)
        for place, item in enumerate(items[person].tolist()):
            if item < 0 or not scores[person, item] > 0:
                assert (reasons.items[person, place] == -1).all()
                continue
            # What one past item adds is the score of somebody who has only it, at the weight of this person.
            parts = {}
            for past in own.tolist():
                entry = (world.rows == person) & (world.indices == past)
                alone = model.scores(world.where(entry), range(item, item + 1))[person, 0]
                parts[past] = float(alone) if np.isfinite(alone) else 0.0
            assert sum(parts.values()) == pytest.approx(scores[person, item], rel=1e-4)
            best = sorted((past for past in parts if parts[past] > 0), key=lambda past: (-parts[past], past))[:3]
            found = [past for past in reasons.items[person, place].tolist() if past >= 0]
            np.testing.assert_allclose([parts[past] for past in found], [parts[past] for past in best], rtol=1e-4)
            shares = reasons.shares[person, place]
            np.testing.assert_allclose(
                shares[: len(found)], [parts[p] / scores[person, item] for p in found], rtol=1e-3
            )
            assert (shares[len(found) :] == 0).all()
            named += len(found)
    assert named > 50


def test_reasons_are_the_largest_parts_of_the_score(planted):
    weight = np.random.default_rng(1).uniform(0.5, 5, planted.entries).astype(np.float32)
    world = dataclasses.replace(planted, weight=weight)
    model = fit_ease(world, dataclasses.replace(CONFIG, weighting="weight", max_items=60))
    check_reasons(model, world, world.domain_range("film"))


@settings(deadline=None, max_examples=60)
@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=30), room=st.integers(4, 400))
def test_every_person_with_history_is_explained_once_in_blocks_of_bounded_memory(counts, room):
    indptr = np.concatenate([[0], np.cumsum(counts)])
    history = csr_matrix((np.arange(1, indptr[-1] + 1), np.arange(indptr[-1]), indptr), shape=(len(counts), 300))
    seen = []
    for rows, past, values in histories(history, np.zeros((len(counts), 2), np.int32), block_bytes=room):
        assert len(rows) == 1 or values.size * 2 * 4 <= room
        for row, own, amounts in zip(rows, past, values, strict=True):
            assert own[amounts > 0].tolist() == history[[row]].indices.tolist()
            assert amounts.sum() == history[[row]].sum()
        seen += rows.tolist()
    assert sorted(seen) == [person for person, count in enumerate(counts) if count]


def test_a_stored_model_gives_the_same_scores(planted):
    model = fit_ease(planted, CONFIG)
    again = EASEModel.from_arrays(model.to_arrays(), CONFIG)
    columns = range(planted.shape[1])
    np.testing.assert_array_equal(model.scores(planted, columns), again.scores(planted, columns))
    assert again.describe() == model.describe()


def test_the_number_of_threads_does_not_change_a_bit(planted):
    found = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            found.append(fit_ease(planted, CONFIG).weights)
    np.testing.assert_array_equal(*found)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=20),
    weight=st.sampled_from([0.0, 1.0, 5.0]),
)
def test_every_small_world_can_be_fitted_ranked_and_explained(make, pairs, weight):
    world = make([(f"u{person}", f"film:{item}", weight, 0) for person, item in sorted(pairs)])
    model = fit_ease(world, CONFIG)
    for domain in ("film", "knowledge"):
        lists = model.top_k(world, world.domain_range(domain), 3)
        assert np.isfinite(lists.scores[lists.items >= 0]).all()
        assert model.explain(world, lists.items).items.shape == (*lists.items.shape, 3)


@pytest.mark.parametrize(
    "values", [{"regularization": 0.0}, {"dropout": 1.0}, {"max_items": 0}, {"weighting": "stars"}]
)
def test_parameters_that_make_no_sense_are_refused(values):
    with pytest.raises(ValueError, match="must be"):
        EASEConfig(**values)

import dataclasses

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_info, threadpool_limits

from models_ml.als import ALSConfig, ALSModel, fit_als
from models_ml.interactions import interactions_from_arrow

CONFIG = ALSConfig(factors=8, regularization=5.0, alpha=5.0, iterations=8)


def share_of_own_taste(world, lists) -> float:
    """Share of the listed items whose planted taste is the person's."""
    person = np.array([int(key[1:]) % 4 for key in world.user_keys.to_pylist()])
    item = np.array([int(key.split(":")[1]) % 4 for key in world.item_keys.to_pylist()])
    filled = lists.items >= 0
    return float((item[lists.items] == person[:, None])[filled].mean())


def test_a_person_factor_is_the_exact_minimum_for_their_history(planted):
    model = fit_als(planted, CONFIG)
    y = model.item_factors.astype(np.float64)
    found = model.fold_in(planted)
    for person in (0, 17, 101):
        confidence = np.ones(planted.shape[1])
        preferred = np.zeros(planted.shape[1])
        own = slice(planted.indptr[person], planted.indptr[person + 1])
        preferred[planted.indices[own]] = 1
        confidence[planted.indices[own]] = 1 + CONFIG.alpha * planted.weight[own] / 5.0
        system = y.T @ (confidence[:, None] * y) + CONFIG.regularization * np.eye(8)
        np.testing.assert_allclose(found[person], np.linalg.solve(system, y.T @ (confidence * preferred)), atol=1e-4)


def test_training_lowers_the_objective_and_finds_the_tastes(planted):
    model = fit_als(planted, CONFIG)
    y, x = model.item_factors.astype(np.float64), model.fold_in(planted).astype(np.float64)
    preferred = planted.csr(planted.weight).toarray() > 0
    confidence = 1 + CONFIG.alpha * preferred

    def objective(scores, lengths):
        return (confidence * (preferred - scores) ** 2).sum() + CONFIG.regularization * lengths

    assert objective(x @ y.T, (x**2).sum() + (y**2).sum()) < 0.8 * objective(0 * preferred, 0)
    for domain in planted.domains:
        lists = model.top_k(planted, planted.domain_range(domain), 2)
        assert share_of_own_taste(planted, lists) > 0.9


def test_the_joint_model_serves_people_with_history_on_the_other_side_only(planted):
    lists = fit_als(planted, CONFIG).top_k(planted, planted.domain_range("knowledge"), 5)
    assert (lists.lengths[:10] == 5).all()
    only_film = planted.take(np.arange(10))
    lists = fit_als(planted, CONFIG).top_k(only_film, planted.domain_range("knowledge"), 5)
    assert share_of_own_taste(only_film, lists) > 0.9


def test_a_model_of_one_platform_knows_nothing_about_people_of_the_other(planted):
    model = fit_als(planted, dataclasses.replace(CONFIG, domain="film"))
    columns = planted.domain_range("knowledge")
    assert not model.item_factors[columns.start : columns.stop].any()
    lists = model.top_k(planted, planted.domain_range("film"), 5)
    assert (lists.lengths[:10] == 5).all()
    assert (lists.lengths[10:20] == 0).all()


def test_a_person_who_was_not_in_training_is_served_as_if_they_had_been(planted):
    model = fit_als(planted.take(np.arange(40, 240)), CONFIG)
    newcomers = planted.take(np.arange(20, 40))
    lists = model.top_k(newcomers, planted.domain_range("film"), 2)
    assert share_of_own_taste(newcomers, lists) > 0.9


def test_the_same_seed_gives_the_same_factors_whatever_the_threads(planted):
    first = fit_als(planted, CONFIG)
    with threadpool_limits(limits=4):
        second = fit_als(planted, CONFIG)
    np.testing.assert_array_equal(first.item_factors, second.item_factors)
    other = fit_als(planted, dataclasses.replace(CONFIG, seed=1))
    assert not np.array_equal(first.item_factors, other.item_factors)


def test_blas_has_one_thread_while_training_and_its_own_again_after(planted, monkeypatch):
    seen = []
    fit = AlternatingLeastSquares.fit

    def watched(self, *arguments, **options):
        seen.append({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
        return fit(self, *arguments, **options)

    monkeypatch.setattr(AlternatingLeastSquares, "fit", watched)
    before = threadpool_info()
    with threadpool_limits(limits=2, user_api="blas"):
        fit_als(planted, CONFIG)
    assert seen == [{1}]
    assert threadpool_info() == before


def test_an_item_that_nobody_likes_and_a_person_who_likes_nothing_have_no_factor(make):
    world = make(
        [("ann", "film:a", 3.0, 0), ("ben", "film:a", 2.0, 0), ("ben", "film:b", 0.0, 0), ("cat", "film:b", 0.0, 0)]
    )
    model = fit_als(world, ALSConfig(factors=2, regularization=0.1, alpha=1.0))
    assert model.item_factors.any(axis=1).tolist() == [True, False]
    assert model.fold_in(world).any(axis=1).tolist() == [True, True, False]


def test_with_nothing_to_learn_from_there_is_a_model_that_serves_nobody(make):
    world = make([("ann", "film:a", 0.0, 0)])
    model = fit_als(world, CONFIG)
    assert model.top_k(world, range(1), 3).lengths.tolist() == [0]
    assert fit_als(make([]), CONFIG).item_factors.shape == (0, 8)


def test_a_history_of_items_by_people_is_refused(make):
    world = make(
        [("ann", "film:a", 3.0, 0), ("ben", "film:a", 2.0, 0), ("ben", "film:b", 2.0, 0), ("cat", "film:b", 1.0, 0)]
    )
    model = fit_als(world, CONFIG)
    swapped = make([("film:a", "film:ann", 3.0, 0), ("film:a", "film:ben", 2.0, 0), ("film:b", "film:cat", 2.0, 0)])
    with pytest.raises(ValueError, match="fitted on 2 items and is asked about 3"):
        model.fold_in(swapped)


@pytest.mark.parametrize("weighting", ["weight", "strength", "binary"])
def test_the_weighting_decides_what_confidence_comes_from(make_table, weighting):
    table = make_table([("ann", "film:a", 1.0, 0), ("ann", "film:b", 4.0, 20)])
    world = interactions_from_arrow(table, half_life_days=20)
    model = fit_als(world, ALSConfig(factors=2, alpha=2.0, weighting=weighting))
    expected = {
        "weight": [1 + 2 * 1 / 2.5, 1 + 2 * 4 / 2.5],
        "strength": [1 + 2 * 2 / 3, 1 + 2 * 4 / 3],
        "binary": [3, 3],
    }
    np.testing.assert_allclose(model.systems(world).targets, expected[weighting], rtol=1e-6)


def test_a_system_that_cannot_be_solved_says_what_to_change(planted):
    hopeless = ALSConfig(factors=64, regularization=1e-12, alpha=1e12, iterations=2)
    with pytest.raises(ValueError, match="regularise it more or weigh the interactions less"):
        fit_als(planted, hopeless).fold_in(planted)


def test_factors_that_are_not_finite_are_refused(planted, monkeypatch):
    def broken(self, *arguments, **options):
        self.item_factors = np.full((80, 8), np.nan, dtype=np.float32)

    monkeypatch.setattr(AlternatingLeastSquares, "fit", broken)
    with pytest.raises(ValueError, match="no finite solution"):
        fit_als(planted, CONFIG)


@pytest.mark.parametrize(
    "wrong", [{"factors": 0}, {"iterations": 0}, {"regularization": 0.0}, {"alpha": -1.0}, {"weighting": "stars"}]
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ALSConfig(**wrong)


def test_a_model_comes_back_from_its_arrays(planted):
    model = fit_als(planted, CONFIG)
    again = ALSModel.from_arrays(model.to_arrays(), CONFIG)
    np.testing.assert_array_equal(again.fold_in(planted), model.fold_in(planted))
    assert again.describe() == model.describe()
    assert model.describe()["items_with_factors"] == 80
    assert not any(values.dtype.hasobject for values in model.to_arrays().values())


def test_every_parameter_is_part_of_the_fingerprint():
    changes = {
        "domain": "film",
        "factors": 9,
        "regularization": 6.0,
        "alpha": 6.0,
        "iterations": 9,
        "weighting": "binary",
    }
    prints = {dataclasses.replace(CONFIG, **{name: value}).fingerprint() for name, value in changes.items()}
    assert len(prints | {CONFIG.fingerprint(), dataclasses.replace(CONFIG, seed=3).fingerprint()}) == 8
    assert ALSConfig(**{k: v for k, v in CONFIG.to_json().items() if k != "kind"}).fingerprint() == CONFIG.fingerprint()

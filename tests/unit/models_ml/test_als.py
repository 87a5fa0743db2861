import dataclasses

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_info, threadpool_limits

from models_ml.als import ALSConfig, fit_als
from models_ml.interactions import interactions_from_arrow

CONFIG = ALSConfig(factors=8, regularization=5.0, alpha=5.0, iterations=8)


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


def test_training_lowers_the_objective_and_finds_the_tastes(planted, own_taste):
    model = fit_als(planted, CONFIG)
    y, x = model.item_factors.astype(np.float64), model.fold_in(planted).astype(np.float64)
    preferred = planted.csr(planted.weight).toarray() > 0
    confidence = 1 + CONFIG.alpha * preferred

    def objective(scores, lengths):
        return (confidence * (preferred - scores) ** 2).sum() + CONFIG.regularization * lengths

    assert objective(x @ y.T, (x**2).sum() + (y**2).sum()) < 0.8 * objective(0 * preferred, 0)
    for domain in planted.domains:
        lists = model.top_k(planted, planted.domain_range(domain), 2)
        assert own_taste(planted, lists) > 0.9


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


def test_factors_that_are_not_finite_are_refused(planted, monkeypatch):
    def broken(self, *arguments, **options):
        self.item_factors = np.full((80, 8), np.nan, dtype=np.float32)

    monkeypatch.setattr(AlternatingLeastSquares, "fit", broken)
    with pytest.raises(ValueError, match="no finite solution"):
        fit_als(planted, CONFIG)


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

import contextlib
import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random_array
from threadpoolctl import threadpool_limits

from models_ml.fold_in import ItemBasis, Systems, fold_in
from models_ml.ials import IALSConfig, fit_ials

CONFIG = IALSConfig(factors=8, alpha0=0.3, reg=0.5, nu=0.7, epochs=8)


def ridges(matrix: np.ndarray, config: IALSConfig) -> tuple[np.ndarray, np.ndarray]:
    """Regularisation of each person and each item by the definition: proportional to (n + alpha0 N)^nu, reg in the mean."""
    people = ((matrix > 0).sum(axis=1) + config.alpha0 * matrix.shape[1]) ** config.nu
    items = ((matrix > 0).sum(axis=0) + config.alpha0 * matrix.shape[0]) ** config.nu
    scaled = config.reg / np.concatenate([people, items]).mean()
    return scaled * people, scaled * items


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("nu", [0.0, 0.7, 1.0])
def test_training_is_that_of_irspack_from_the_same_start(planted, nu):
    with contextlib.redirect_stdout(io.StringIO()):
        from irspack.recommenders.ials import IALSRecommender

    config = dataclasses.replace(CONFIG, nu=nu)
    world = dataclasses.replace(
        planted, weight=np.random.default_rng(0).uniform(0.5, 5, planted.entries).astype(np.float32)
    )
    model = fit_ials(world, config)
    observed = world.csr(world.weight / world.weight.mean(dtype=np.float64)).astype(np.float32)
    other = IALSRecommender(
        observed,
        n_components=8,
        alpha0=config.alpha0,
        reg=model.scaled_reg,
        nu=nu,
        solver_type="CHOLESKY",
        n_threads=1,
    )
    other.start_learning()
    start = np.random.default_rng(config.seed).standard_normal((80, 8), dtype=np.float32)
    other.trainer.core_trainer.item = start * np.float32(0.1 / np.sqrt(8))
    for _ in range(config.epochs):
        other.run_epoch()
    np.testing.assert_allclose(model.item_factors, other.get_item_embedding(), atol=1e-4)
    np.testing.assert_allclose(model.fold_in(world), other.compute_user_embedding(observed), atol=1e-4)


def test_a_person_factor_is_the_exact_minimum_for_their_history(planted):
    model = fit_ials(planted, CONFIG)
    y = model.item_factors.astype(np.float64)
    ratings = planted.csr(planted.weight / 5.0).toarray()
    of_people, _ = ridges(ratings, CONFIG)
    found = model.fold_in(planted)
    for person in (0, 17, 101):
        r = ratings[person].astype(np.float64)
        system = CONFIG.alpha0 * y.T @ y + y.T @ (r[:, None] * y) + of_people[person] * np.eye(8)
        np.testing.assert_allclose(found[person], np.linalg.solve(system, y.T @ r), rtol=1e-4)


def test_reg_is_the_mean_regularisation_whatever_nu_and_alpha0(planted):
    for alpha0, nu in ((0.01, 0.0), (0.3, 0.5), (2.0, 1.0)):
        config = dataclasses.replace(CONFIG, alpha0=alpha0, nu=nu, epochs=1)
        model = fit_ials(planted, config)
        of_people, of_items = ridges(planted.csr(planted.weight).toarray(), config)
        np.testing.assert_allclose(model.systems(planted).ridge, of_people, rtol=1e-6)
        assert np.concatenate([of_people, of_items]).mean() == pytest.approx(config.reg)


def test_with_nu_people_with_long_histories_are_regularised_more(planted):
    short = planted.where(np.arange(planted.entries) % 2 == 0)
    model = fit_ials(planted, dataclasses.replace(CONFIG, nu=1.0))
    assert (model.systems(short).ridge < model.systems(planted).ridge).all()
    level = fit_ials(planted, dataclasses.replace(CONFIG, nu=0.0))
    np.testing.assert_allclose(level.systems(short).ridge, CONFIG.reg)


def test_training_lowers_the_objective_and_finds_the_tastes(planted, own_taste):
    ratings = planted.csr(planted.weight / 5.0).toarray().astype(np.float64)
    of_people, of_items = ridges(ratings, CONFIG)

    def objective(config: IALSConfig) -> float:
        model = fit_ials(planted, config)
        y, x = model.item_factors.astype(np.float64), model.fold_in(planted).astype(np.float64)
        scores = x @ y.T
        regularised = (of_people * (x**2).sum(axis=1)).sum() + (of_items * (y**2).sum(axis=1)).sum()
        return float((ratings * (scores - 1) ** 2).sum() + CONFIG.alpha0 * (scores**2).sum() + regularised)

    after = [objective(dataclasses.replace(CONFIG, epochs=epochs)) for epochs in (1, 2, 4, 8)]
    assert sorted(after, reverse=True) == after
    assert after[-1] < 0.8 * ratings.sum()
    model = fit_ials(planted, CONFIG)
    for domain in planted.domains:
        assert own_taste(planted, model.top_k(planted, planted.domain_range(domain), 2)) > 0.9


def test_the_same_seed_gives_the_same_bits_whatever_the_threads(planted, monkeypatch):
    first = fit_ials(planted, CONFIG)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    with threadpool_limits(limits=1):
        second = fit_ials(planted, CONFIG)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    with threadpool_limits(limits=4):
        third = fit_ials(planted, CONFIG)
    np.testing.assert_array_equal(first.item_factors, second.item_factors)
    np.testing.assert_array_equal(first.item_factors, third.item_factors)
    assert not np.array_equal(first.item_factors, fit_ials(planted, dataclasses.replace(CONFIG, seed=1)).item_factors)


def test_a_person_factor_does_not_depend_on_who_else_is_asked_for(planted):
    model = fit_ials(planted, CONFIG)
    everyone = model.fold_in(planted)
    for people in ([7], [200, 7], list(range(5, 60))):
        np.testing.assert_array_equal(model.fold_in(planted.take(np.array(people))), everyone[people])


@given(
    people=st.integers(1, 12),
    factors=st.sampled_from([1, 3, 8, 12, 40]),
    density=st.floats(0.05, 1.0),
    gram_weight=st.sampled_from([0.0, 0.01, 1.0]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_every_system_is_solved_exactly(people, factors, density, gram_weight, seed):
    random = np.random.default_rng(seed)
    y = random.standard_normal((30, factors)).astype(np.float32)
    history = csr_matrix(random_array((people, 30), density=density, rng=random, dtype=np.float32))
    history.sort_indices()
    targets = random.standard_normal(history.nnz).astype(np.float32)
    ridge = random.uniform(0.1, 5, people)
    found = fold_in(ItemBasis.of(y), Systems(history, targets, ridge, gram_weight))
    for person in range(people):
        own = slice(history.indptr[person], history.indptr[person + 1])
        mine = y[history.indices[own]].astype(np.float64)
        system = (
            gram_weight * y.T.astype(np.float64) @ y
            + (mine.T * history.data[own]) @ mine
            + ridge[person] * np.eye(factors)
        )
        expected = np.linalg.solve(system, mine.T @ targets[own])
        np.testing.assert_allclose(found[person], expected, rtol=1e-3, atol=1e-4)


def test_an_item_whose_factor_has_vanished_in_training_is_in_no_list(make):
    """Zoe and her item have to do with nobody else; the others hold up each other."""
    crowd = [(f"u{person}", f"film:{item}", 5.0, 0) for person in range(12) for item in range(12) if person != item]
    world = make([*crowd, ("zoe", "film:z", 5.0, 0)])
    model = fit_ials(world, IALSConfig(factors=2, alpha0=0.01, reg=2.0, nu=0.0, epochs=60))
    assert model.item_factors.any(axis=1).tolist() == [True] * 12 + [False]
    assert model.top_k(world, range(13), 3).lengths.tolist() == [1] * 12 + [0]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("ann", "film:a", 0.0, 0)],
        [("ann", "film:a", 5.0, 0)],
        [("ann", f"film:{item}", 5.0, 0) for item in range(20)],
        [(f"u{person}", "film:a", 5.0, 0) for person in range(20)],
        [(f"u{person}", f"film:{item}", 5.0, 0) for person in range(9) for item in range(9)],
    ],
    ids=["nothing", "one dislike", "one pair", "one person", "one item", "everyone has everything"],
)
def test_small_and_uniform_worlds_end_well(make, rows):
    world = make(rows)
    model = fit_ials(world, IALSConfig(factors=4, epochs=3))
    assert np.isfinite(model.item_factors).all()
    for domain in world.domains:
        lists = model.top_k(world, world.domain_range(domain), 3)
        assert model.explain(world, lists.items).items.shape == (world.shape[0], 3, 3)


def test_the_name_tells_a_joint_model_from_one_of_a_platform():
    assert (IALSConfig().name, IALSConfig(domain="film").name) == ("ials_joint", "ials")

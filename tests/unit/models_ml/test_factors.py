"""What holds for both models of factors."""

import dataclasses

import numpy as np
import pytest

from models_ml.als import ALSConfig
from models_ml.ials import IALSConfig
from models_ml.registry import fit_model

CONFIGS = {
    "als": ALSConfig(factors=8, regularization=5.0, alpha=5.0, iterations=8),
    "ials": IALSConfig(factors=8, alpha0=0.3, reg=0.5, nu=0.7, epochs=8),
}


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS.keys())
def config(request):
    return request.param


@pytest.fixture(scope="module")
def model(planted, config):
    return fit_model(planted, config)


def test_the_joint_model_serves_people_with_history_on_the_other_side_only(planted, model, own_taste):
    only_film = planted.take(np.arange(10))
    lists = model.top_k(only_film, planted.domain_range("knowledge"), 5)
    assert (lists.lengths == 5).all()
    assert own_taste(only_film, lists) > 0.9


def test_a_model_of_one_platform_knows_nothing_about_people_of_the_other(planted, config):
    model = fit_model(planted, dataclasses.replace(config, domain="film"))
    knowledge, film = planted.domain_range("knowledge"), planted.domain_range("film")
    assert not model.item_factors[knowledge.start : knowledge.stop].any()
    lists = model.top_k(planted, film, 5)
    assert (lists.lengths[:10] == 5).all()
    assert (lists.lengths[10:20] == 0).all()
    assert np.isneginf(model.scores(planted, knowledge)).all()
    assert np.isneginf(model.scores(planted, film)[10:20]).all()


def test_a_person_who_was_not_in_training_is_served_as_if_they_had_been(planted, config, own_taste):
    model = fit_model(planted.take(np.arange(40, 240)), config)
    newcomers = planted.take(np.arange(20, 40))
    assert own_taste(newcomers, model.top_k(newcomers, planted.domain_range("film"), 2)) > 0.9


def test_what_is_consumed_has_a_score_too(planted, model):
    assert np.isfinite(model.scores(planted, planted.domain_range("film"))[20:]).all()


def test_an_item_that_nobody_likes_and_a_person_who_likes_nothing_have_no_factor(make, config):
    world = make(
        [("ann", "film:a", 3.0, 0), ("ben", "film:a", 2.0, 0), ("ben", "film:b", 0.0, 0), ("cat", "film:b", 0.0, 0)]
    )
    model = fit_model(world, dataclasses.replace(config, factors=2))
    assert model.item_factors.any(axis=1).tolist() == [True, False]
    assert model.fold_in(world).any(axis=1).tolist() == [True, True, False]


@pytest.mark.parametrize(
    "hopeless",
    [
        ALSConfig(factors=64, regularization=1e-12, alpha=1e12, iterations=2),
        IALSConfig(factors=64, alpha0=1e-90, reg=1e-90, epochs=3),
    ],
    ids=["als", "ials"],
)
def test_a_system_that_cannot_be_solved_says_what_to_change(planted, hopeless):
    with pytest.raises(ValueError, match="regularise it more or weigh the interactions less"):
        fit_model(planted, hopeless).fold_in(planted)


@pytest.mark.parametrize(
    ("family", "wrong"),
    [
        *((family, wrong) for family in CONFIGS.values() for wrong in ({"factors": 0}, {"weighting": "stars"})),
        *((CONFIGS["als"], wrong) for wrong in ({"iterations": 0}, {"regularization": 0.0}, {"alpha": -1.0})),
        *((CONFIGS["ials"], wrong) for wrong in ({"epochs": 0}, {"reg": 0.0}, {"alpha0": 0.0}, {"nu": -0.1})),
        (CONFIGS["ials"], {"nu": np.nan}),
    ],
)
def test_parameters_out_of_range_are_refused(family, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        dataclasses.replace(family, **wrong)

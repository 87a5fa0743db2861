import dataclasses

import numpy as np
import pytest

from models_ml.als import ALSConfig
from models_ml.blend import BlendConfig
from models_ml.blends import BLENDED_SEGMENTS, blend_candidates
from models_ml.evaluation import EvaluationConfig, evaluation_task
from models_ml.neighbours import ItemNeighboursConfig
from models_ml.popularity import PopularityConfig, fit_popularity
from models_ml.registry import fit_model
from models_ml.search import Trial, Validation
from models_ml.split import SplitConfig, split_interactions


@pytest.fixture(scope="module")
def validation(planted) -> Validation:
    split = split_interactions(planted, SplitConfig(hidden_share=0.4))
    config = EvaluationConfig(draws=10)
    made = Validation(split, {"film": evaluation_task(split, "film", config)}, config, 10)
    made.fallbacks["film"] = fit_popularity(split.train, PopularityConfig())
    return made


@pytest.fixture(scope="module")
def found(validation) -> dict[str, Trial]:
    configs = {
        "popularity": PopularityConfig(),
        "recent_popularity": PopularityConfig(half_life_days=3.0),
        "als": ALSConfig(domain="film", factors=8),
        "als_joint": ALSConfig(factors=8),
        "item_neighbours": ItemNeighboursConfig(domain="film"),
    }
    return {
        name: validation.try_model(fit_model(validation.split.train, config), ["film"])
        for name, config in configs.items()
    }


def blends_of(validation, found, members=3, min_people=10, **how):
    return blend_candidates(validation, found, "film", members=members, min_people=min_people, **how)


def test_each_segment_has_a_blend_of_its_best_model_of_each_kind(validation, found):
    blends = blends_of(validation, found)
    assert set(blends) <= {f"blend_{segment}" for segment in BLENDED_SEGMENTS}
    config = blends["blend_warm"].config
    assert isinstance(config, BlendConfig)
    assert (config.name, config.segment) == ("blend_warm", "warm")
    assert len({member.kind for member in config.members}) == len(config.members) == 3
    best = max(("als", "als_joint"), key=lambda name: found[name].scores["film", "warm"])
    assert found[best].config in config.members
    assert sum(config.weights) == pytest.approx(1, abs=1e-3)


def test_a_model_that_knows_nothing_of_a_segment_is_not_blended_for_it(validation, found):
    """Whoever has no film history is unknown to models of the film side alone."""
    cold = blends_of(validation, found)["blend_cold"].config
    assert {member.name for member in cold.members} == {"popularity", "als_joint"} or {
        member.name for member in cold.members
    } == {"recent_popularity", "als_joint"}


def test_a_blend_has_figures_for_its_own_segment_only(validation, found):
    members = validation.tasks["film"].segments["warm"]
    trial = blends_of(validation, found)["blend_warm"]
    assert set(trial.scores) == {("film", "warm")}
    assert trial.scores["film", "warm"] == pytest.approx(trial.people["film"][members].mean())
    assert (trial.people["film"][~members] == 0).all()


def test_people_are_judged_with_weights_found_on_others(validation, found, monkeypatch):
    """If weights were found on the people who are judged, they would see each half once only."""
    asked = []

    def weights(models, people, columns, relevant, calibration, **_):
        asked.append(set(people.user_keys.to_pylist()))
        return tuple([1 / len(models)] * len(models))

    monkeypatch.setattr("models_ml.blends.blend_weights", weights)
    blends_of(validation, found)
    task = validation.tasks["film"]
    warm = set(validation.split.train.take(task.people[task.segments["warm"]]).user_keys.to_pylist())
    halves = [people for people in asked if people <= warm]
    assert len(halves) == 2
    assert not halves[0] & halves[1]
    assert halves[0] | halves[1] == warm


def test_too_few_people_or_members_make_no_blend(validation, found):
    assert blends_of(validation, found, min_people=10_000) == {}
    assert blends_of(validation, found, members=1) == {}
    unfitted = {name: dataclasses.replace(trial, model=None) for name, trial in found.items()}
    assert blends_of(validation, unfitted) == {}


def test_blends_are_recorded_with_the_other_trials(validation, found):
    before = len(validation.records)
    blends = blends_of(validation, found)
    models = {row["model"] for row in validation.records[before:]}
    assert models == set(blends)
    assert all(np.isfinite(row["value"]) for row in validation.records[before:] if row["value"] is not None)


@pytest.mark.parametrize(
    ("calibrations", "spread", "expected"),
    [
        (("score", "reciprocal_rank"), 0.0, "reciprocal_rank"),
        (("score", "reciprocal_rank"), 3.0, "score"),
        (("reciprocal_rank", "score"), 0.0, "reciprocal_rank"),
        (("score",), 0.0, "score"),
    ],
)
def test_another_calibration_is_chosen_only_where_its_gain_is_beyond_doubt(
    validation, found, monkeypatch, calibrations, spread, expected
):
    """Ranks gain a tenth: for all people alike, or far more for some and less than nothing for the others."""

    def reached(of, task, model, asked):
        if model.config.calibration == "score":
            return np.full(len(asked), 0.5)
        return 0.6 + spread * np.where(np.arange(len(asked)) % 2, 1, -1)

    monkeypatch.setattr("models_ml.blends._ndcg", reached)
    blend = blends_of(validation, found, calibrations=calibrations)["blend_warm"]
    assert blend.config.calibration == expected
    warm = validation.tasks["film"].segments["warm"]
    assert blend.scores["film", "warm"] == pytest.approx(blend.people["film"][warm].mean())


def test_weights_are_found_for_the_calibration_that_they_are_for(validation, found, monkeypatch):
    asked = []

    def weights(models, people, columns, relevant, calibration, **_):
        asked.append(calibration)
        return tuple([1 / len(models)] * len(models))

    monkeypatch.setattr("models_ml.blends.blend_weights", weights)
    blends_of(validation, found, calibrations=("score", "reciprocal_rank"))
    assert asked[:4] == ["score", "score", "reciprocal_rank", "reciprocal_rank"]

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import InMemoryStorage

from models_ml.evaluation import EvaluationConfig, evaluation_task
from models_ml.model import ModelConfig
from models_ml.popularity import PopularityConfig, fit_popularity
from models_ml.search import SearchConfig, SearchSpace, Trial, Validation, finished, search
from models_ml.split import SplitConfig, split_interactions


@dataclasses.dataclass(frozen=True)
class Knobs(ModelConfig):
    kind: ClassVar[str] = "knobs"
    level: float = 1.0
    side: str = "left"
    rounds: int = 1


SPACE = SearchSpace(
    Knobs(),
    {"level": FloatDistribution(0.0, 10.0), "side": CategoricalDistribution(("left", "right"))},
    first=({}, {"level": 4.0}),
    final={"rounds": 9},
)


@pytest.fixture(scope="module")
def validation(planted) -> Validation:
    split = split_interactions(planted, SplitConfig())
    config = EvaluationConfig(draws=10)
    made = Validation(split, {d: evaluation_task(split, d, config) for d in planted.domains}, config, 10)
    for domain in planted.domains:
        made.fallbacks[domain] = fit_popularity(split.train, PopularityConfig())
    return made


def fit(interactions, config):
    if config.level > 9:
        raise ValueError("no finite solution")
    model = fit_popularity(interactions, PopularityConfig())
    return dataclasses.replace(model, config=config)


def closeness(trial: Trial) -> float:
    return -abs(trial.config.level - 6.0)


def tried(validation, config, storage=None):
    before = len(validation.records)
    best = search("knobs", SPACE, validation, ["film"], closeness, fit, config, storage=storage)
    levels = [row["config"] for row in validation.records[before:] if row["segment"] == "all"]
    return best, levels


def test_without_a_budget_only_what_is_listed_is_tried(validation):
    best, configs = tried(validation, SearchConfig(trials=0))
    assert len(configs) == 2
    assert best.config == Knobs(level=4.0)
    assert best.model is not None
    assert finished(best.config, SPACE) == Knobs(level=4.0, rounds=9)


def test_a_budget_is_spent_and_finds_better(validation):
    best, configs = tried(validation, SearchConfig(trials=20))
    assert len(configs) == 22
    assert closeness(best) > closeness(Trial(Knobs(level=4.0), {}))


def test_the_same_seed_tries_the_same(validation):
    once, again = (tried(validation, SearchConfig(trials=6, seed=5))[1] for _ in range(2))
    assert once == again
    assert once != tried(validation, SearchConfig(trials=6, seed=6))[1]


def test_parameters_that_do_not_go_together_are_resolved_before_they_are_tried(validation):
    def never_right_from_5(parameters):
        return {**parameters, "side": "left"} if parameters["level"] >= 5 else parameters

    listed = ({"level": 6.0, "side": "right"}, {"level": 6.0, "side": "left"}, {"level": 4.0, "side": "right"})
    space = dataclasses.replace(SPACE, first=listed, resolve=never_right_from_5)
    before = len(validation.records)
    best = search("knobs", space, validation, ["film"], closeness, fit, SearchConfig())
    assert best.config == Knobs(level=6.0, side="left")
    # The second is the first once more.
    assert sum(row["segment"] == "all" for row in validation.records[before:]) == 2


def test_what_was_found_before_a_parameter_came_or_went_is_still_tried(validation):
    space = dataclasses.replace(SPACE, first=({"level": 4.0, "gone": 7},))
    assert search("knobs", space, validation, ["film"], closeness, fit, SearchConfig()).config == Knobs(level=4.0)


def test_a_configuration_that_cannot_be_fitted_loses_and_says_why(validation):
    space = dataclasses.replace(SPACE, first=({"level": 9.5}, {"level": 1.0}))
    before = len(validation.records)
    best = search("knobs", space, validation, ["film"], closeness, fit, SearchConfig())
    failures = {row["failure"] for row in validation.records[before:]}
    assert best.config.level == 1.0
    assert failures == {None, "no finite solution"}


def test_if_nothing_can_be_fitted_the_failure_comes_back(validation):
    space = dataclasses.replace(SPACE, first=({"level": 9.5},))
    best = search("knobs", space, validation, ["film"], closeness, fit, SearchConfig())
    assert best.failure == "no finite solution"
    assert best.model is None


def test_a_kept_study_goes_on_and_remembers_its_best(validation):
    storage = InMemoryStorage()
    first, before = tried(validation, SearchConfig(trials=8), storage)
    second, after = tried(validation, SearchConfig(trials=3), storage)
    assert len(before) == 10
    # Three new ones, and the earlier best once more unless it was beaten.
    assert len(after) in (3, 4)
    assert closeness(second) >= closeness(first)
    assert second.model is not None


def test_the_clock_ends_a_search_after_one_configuration_at_least(validation):
    _, configs = tried(validation, SearchConfig(trials=50, seconds=0.0))
    assert len(configs) == 1


def test_what_is_chosen_is_marked(validation):
    before = len(validation.records)
    best = search("knobs", SPACE, validation, ["film"], closeness, fit, SearchConfig())
    chosen = [row for row in validation.records[before:] if row["is_chosen"] and row["segment"] == "all"]
    assert len(chosen) == 1
    assert f'"level": {best.config.level}' in chosen[0]["config"]
    assert np.isfinite(chosen[0]["value"])


def test_a_finite_space_ends_when_everything_in_it_has_been_tried(validation):
    space = SearchSpace(Knobs(), {"side": CategoricalDistribution(("left", "right"))})
    storage = InMemoryStorage()
    for _ in range(3):
        search("knobs", space, validation, ["film"], closeness, fit, SearchConfig(trials=500), storage=storage)
    trials = storage.get_all_trials(storage.get_study_id_from_name("knobs/film"))
    assert {trial.params["side"] for trial in trials} == {"left", "right"}
    assert len(trials) < 150


def test_a_trial_whose_process_was_killed_is_tried_again(validation):
    storage = InMemoryStorage()
    space = dataclasses.replace(SPACE, first=({"level": 5.0},))

    def killed(interactions, config):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search("knobs", space, validation, ["film"], closeness, killed, SearchConfig(), storage=storage)
    best = search("knobs", space, validation, ["film"], closeness, fit, SearchConfig(), storage=storage)
    assert best.config.level == 5.0

"""Search of parameters on the training part of a split.

Holds how configurations of one candidate are tried, judged and remembered. It never sees the test part; the split that it is
given is an inner one. What there is to try is in `candidates`, what the winner is compared with is decided in `selection`.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import pyarrow as pa
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from models_ml.evaluation import COLD_ITEM, SEGMENTS, EvaluationConfig, EvaluationTask, judge
from models_ml.interactions import Interactions
from models_ml.metrics import PERSON_METRICS
from models_ml.model import ModelConfig, Recommender
from models_ml.popularity import PopularityModel
from models_ml.split import Split

SEARCH_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("target_domain", pa.string()),
        ("segment", pa.string()),
        ("config", pa.string()),
        ("metric", pa.string()),
        ("cutoff", pa.int32()),
        ("value", pa.float64()),
        ("users", pa.int32()),
        ("is_chosen", pa.bool_()),
        ("failure", pa.string()),
    ]
)

# Proposals in a row that have been tried before, after which a space counts as exhausted.
_MOST_REPEATS = 20

Parameters = Mapping[str, Any]
Fit = Callable[[Interactions, ModelConfig], Recommender]


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """Budget of the search.

    Attributes:
        trials: Configurations of one candidate that are tried beyond those that it lists to be tried first.
        seconds: Time after which no further configuration of a candidate is tried; None does without. With it, what is
            found depends on the machine: it is for a search whose study is kept, not for a run that must be repeatable.
        cutoff: Cutoff of the NDCG that decides.
        max_people: Largest number of people for a target on whom a configuration is judged.
        seed: Seed of the sampler and of the sample of people.
    """

    trials: int = 0
    seconds: float | None = None
    cutoff: int = 10
    max_people: int = 4_000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """What there is to try around one configuration.

    Attributes:
        base: The configuration in which parameters are replaced.
        parameters: Distribution of each parameter that may be replaced, by its name.
        first: Parameters to try first, in this order.
        final: Parameters that the chosen configuration gets in the end, for instance more alternations than a trial has.
        resolve: Makes of proposed parameters, which are drawn one by one, some that go together.
    """

    base: ModelConfig
    parameters: Mapping[str, BaseDistribution] = dataclasses.field(default_factory=dict)
    first: tuple[Parameters, ...] = ({},)
    final: Parameters = dataclasses.field(default_factory=dict)
    resolve: Callable[[Parameters], Parameters] = dict


@dataclasses.dataclass(frozen=True)
class Trial:
    """One configuration and how it did.

    Attributes:
        config: What was tried.
        scores: Mean NDCG for each (target, segment); NaN where there are no people, nothing if it failed.
        people: NDCG of each person of each target's task, shape (people,) each.
        failure: Why it could not be fitted.
        model: The fitted model; None if it failed.
    """

    config: ModelConfig
    scores: Mapping[tuple[str, str], float]
    people: Mapping[str, NDArray[np.float64]] = dataclasses.field(default_factory=dict)
    failure: str | None = None
    model: Recommender | None = None


class Validation:
    """An inner split with its tasks, on which configurations are tried and remembered.

    Args:
        split: The inner split.
        tasks: What is asked for of known items on each target.
        evaluation: How models are judged.
        cutoff: Cutoff of the NDCG that decides.
        new_items: What is asked for of items that nobody has in training, on the targets where that is judged.
    """

    def __init__(
        self,
        split: Split,
        tasks: Mapping[str, EvaluationTask],
        evaluation: EvaluationConfig,
        cutoff: int,
        new_items: Mapping[str, EvaluationTask] | None = None,
    ):
        self.split = split
        self.tasks = tasks
        self.new_items = new_items or {}
        self.evaluation = evaluation
        self.cutoff = cutoff
        self.fallbacks: dict[str, PopularityModel] = {}
        self.records: list[dict[str, object]] = []

    def try_model(self, model: Recommender, domains: Sequence[str]) -> Trial:
        """Judges a fitted model as it would be served on each domain."""
        scores: dict[tuple[str, str], float] = {}
        people: dict[str, NDArray[np.float64]] = {}
        for domain in domains:
            task = self.tasks[domain]
            fallback = model if isinstance(model, PopularityModel) else self.fallbacks[domain]
            judgement = judge(model, fallback, self.split, task, (self.cutoff,))
            people[domain] = judgement.values[:, PERSON_METRICS.index("ndcg"), 0]
            for segment in SEGMENTS:
                members = people[domain][task.segments[segment]]
                scores[domain, segment] = float(members.mean()) if members.size else float("nan")
        return Trial(model.config, scores, people, model=model)

    def on_new_items(self, trial: Trial, domain: str) -> Trial:
        """The same trial with the figures of its model for new items only, as it would be served on a target."""
        assert trial.model is not None
        task, fallback = self.new_items[domain], self.fallbacks[domain]
        judgement = judge(trial.model, fallback, self.split, task, (self.cutoff,))
        people = judgement.values[:, PERSON_METRICS.index("ndcg"), 0]
        return dataclasses.replace(trial, scores={(domain, COLD_ITEM): float(people.mean())}, people={domain: people})

    def record(self, name: str, trials: Sequence[Trial], chosen: Trial, domains: Sequence[str]) -> None:
        """Notes all trials of one search."""
        for trial in trials:
            for domain in domains:
                for segment in SEGMENTS:
                    value = trial.scores.get((domain, segment), float("nan"))
                    self.records.append(
                        {
                            "model": name,
                            "target_domain": domain,
                            "segment": segment,
                            "config": json.dumps(trial.config.to_json(), sort_keys=True),
                            "metric": "ndcg",
                            "cutoff": self.cutoff,
                            "value": None if np.isnan(value) else value,
                            "users": int(self.tasks[domain].segments[segment].sum()),
                            "is_chosen": trial.config == chosen.config,
                            "failure": trial.failure,
                        }
                    )


def search(
    name: str,
    space: SearchSpace,
    validation: Validation,
    domains: Sequence[str],
    objective: Callable[[Trial], float],
    fit: Fit,
    config: SearchConfig,
    *,
    storage: optuna.storages.BaseStorage | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Trial:
    """Best configuration of a candidate by an objective; the first wins among equals.

    What is listed to be tried first is tried first; after that a tree-structured Parzen estimator proposes. With a storage the
    study is kept: another call goes on where the last one ended, and what was tried is not tried again.

    Args:
        name: Name of the candidate in the records.
        space: What to try.
        validation: Inner split.
        domains: Targets to judge on.
        objective: What to maximise; NaN never wins.
        fit: Fits a model on interactions.
        config: Budget.
        storage: Where studies are kept; None keeps nothing.
        progress: Called with a line before each training.

    Returns:
        The best trial with its model, as it was tried (without `space.final`).

    Source: Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NIPS 2011; Optuna's sampler, seeded.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=f"{name}/{'+'.join(domains)}",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=config.seed, n_startup_trials=len(space.first) + 4),
        storage=storage,
        load_if_exists=True,
    )
    done: dict[str, float] = {
        trial.user_attrs["config"]: float(trial.values[0])
        for trial in study.get_trials(deepcopy=False)
        if trial.state == TrialState.COMPLETE
    }
    trials: list[Trial] = []
    best, best_value = Trial(space.base, {}, failure="nothing was tried"), -np.inf
    started, repeated, asked_once = time.monotonic(), 0, False

    def attempt(tried: ModelConfig) -> float:
        nonlocal best, best_value
        progress(f"search {name} {'+'.join(domains)}: {_summary(tried, space)}")
        try:
            trial = validation.try_model(fit(validation.split.train, tried), domains)
        except ValueError as error:
            # A configuration without a finite solution loses; it does not end the run.
            trial = Trial(tried, {}, failure=str(error))
        value = -np.inf if trial.failure else float(np.nan_to_num(objective(trial), nan=-np.inf))
        trials.append(dataclasses.replace(trial, model=None))
        if value > best_value or best.model is None:
            best, best_value = trial, value
        return value

    usual = {part: getattr(space.base, part) for part in space.parameters}
    for killed in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        # Whoever was at it is gone: it is tried again.
        study.tell(killed.number, state=TrialState.FAIL)
        study.enqueue_trial(killed.params)
    for parameters in space.first:
        study.enqueue_trial({**usual, **parameters}, skip_if_exists=True)
    budget = sum(trial.state == TrialState.WAITING for trial in study.get_trials(deepcopy=False)) + config.trials
    for _ in range(budget if space.parameters else 1):
        is_over = config.seconds is not None and time.monotonic() - started > config.seconds
        if repeated >= _MOST_REPEATS or (is_over and asked_once):
            break
        asked_once = True
        asked = study.ask(dict(space.parameters))
        tried = dataclasses.replace(space.base, **space.resolve(asked.params))
        key = json.dumps(tried.to_json(), sort_keys=True)
        asked.set_user_attr("config", key)
        repeated = repeated + 1 if key in done else 0
        if key not in done:
            done[key] = attempt(tried)
        if np.isfinite(done[key]):
            study.tell(asked, done[key])
        else:
            study.tell(asked, state=TrialState.FAIL)
    earlier = [(value, key) for key, value in done.items() if value > best_value]
    if earlier:
        # Found in an earlier call: it has to be fitted again to be of use.
        found = json.loads(max(earlier)[1])
        attempt(dataclasses.replace(space.base, **{part: found[part] for part in space.parameters}))
    validation.record(name, trials, best, domains)
    return best


def finished(config: ModelConfig, space: SearchSpace) -> ModelConfig:
    """The configuration that was chosen, with the parameters that it gets in the end."""
    return dataclasses.replace(config, **space.final)


def _summary(config: ModelConfig, space: SearchSpace) -> str:
    values = config.to_json()
    return ", ".join(f"{name} {values[name]}" for name in space.parameters) or "as it is"

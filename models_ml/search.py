"""Search of parameters on the training part of a split.

Holds the small grids that are tried and how one configuration is chosen among them. It never sees the test part; the split
that it is given is an inner one. What the winner is compared with is decided in `selection`.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.als import ALSConfig, Weighting, fit_als
from models_ml.evaluation import SEGMENTS, EvaluationConfig, EvaluationTask, judge
from models_ml.metrics import PERSON_METRICS
from models_ml.model import ModelConfig, Recommender
from models_ml.popularity import PopularityConfig, PopularityModel, fit_popularity
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

# (factors, regularization, alpha). Regularization grows with alpha: their ratio, about 5, matters more than either. Found on
# ratings of two kinds: sparse ones (a person has 3 items in the median) want alpha 10 to 40, dense ones (100 items) alpha 1.
DEFAULT_ALS_GRID: tuple[tuple[int, float, float], ...] = (
    (64, 50.0, 10.0),
    (64, 200.0, 40.0),
    (64, 10.0, 1.0),
    (32, 50.0, 10.0),
    (128, 200.0, 40.0),
)


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """Parameters of the search.

    Attributes:
        als_grid: (factors, regularization, alpha) to try for each ALS, in this order.
        weightings: Weightings to try; the first with the whole grid, the others with the best of the grid.
        search_iterations: Alternations of an ALS that is tried; fewer than in the end, since the order of configurations settles
            early.
        iterations: Alternations of the chosen ALS.
        half_lives: Half-lives in days to try for `recent_popularity`.
        max_configs: Budget: largest number of configurations that are trained for one ALS; None tries all.
        cutoff: Cutoff of the NDCG that decides.
        max_people: Largest number of people for a target on whom a configuration is judged.
        seed: Seed of the factors and of the sample of people.
    """

    als_grid: tuple[tuple[int, float, float], ...] = DEFAULT_ALS_GRID
    weightings: tuple[Weighting, ...] = ("weight", "strength")
    search_iterations: int = 8
    iterations: int = 15
    half_lives: tuple[float, ...] = (90.0, 365.0, 1095.0)
    max_configs: int | None = None
    cutoff: int = 10
    max_people: int = 4_000
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """One configuration and how it did.

    Attributes:
        config: What was tried.
        scores: Mean NDCG for each (target, segment); NaN where there are no people, nothing if it failed.
        people: NDCG of each person of each target's task, shape (people,) each.
        failure: Why it could not be fitted.
    """

    config: ModelConfig
    scores: Mapping[tuple[str, str], float]
    people: Mapping[str, NDArray[np.float64]] = dataclasses.field(default_factory=dict)
    failure: str | None = None


class Validation:
    """An inner split with its tasks, on which configurations are tried and remembered."""

    def __init__(self, split: Split, tasks: Mapping[str, EvaluationTask], evaluation: EvaluationConfig, cutoff: int):
        self.split = split
        self.tasks = tasks
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
        return Trial(model.config, scores, people)

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
                            "is_chosen": trial is chosen,
                            "failure": trial.failure,
                        }
                    )


def search_popularity(
    validation: Validation, domain: str, half_lives: Sequence[float | None], relevance_threshold: float
) -> Trial:
    """Best popularity for one target: the sum of strengths or the number of people who like it, with each half-life.

    Decided by NDCG over all people of the task; the first wins among equals.
    """
    trials = [
        validation.try_model(fit_popularity(validation.split.train, config), [domain])
        for half_life in half_lives
        for config in (
            PopularityConfig(half_life_days=half_life),
            PopularityConfig(half_life_days=half_life, liked_at=relevance_threshold),
        )
    ]
    chosen = best_trial(trials, lambda trial: trial.scores[domain, "all"])
    validation.record(chosen.config.name, trials, chosen, [domain])
    return chosen


def search_als(
    validation: Validation,
    domain: str | None,
    domains: Sequence[str],
    config: SearchConfig,
    objective: Callable[[Trial], float],
    progress: Callable[[str], None],
) -> Trial:
    """Best ALS by an objective over its trials; the first wins among equals. Its config has the final iterations.

    Args:
        validation: Inner split.
        domain: Domain to train on, None for the joint model.
        domains: Targets to judge it on.
        config: What to try.
        objective: What to maximise; NaN never wins.
        progress: Called with a line before each training.
    """
    trials: list[Trial] = []

    def attempt(als: ALSConfig) -> None:
        if config.max_configs is not None and len(trials) >= config.max_configs:
            return
        progress(f"search {als.name} {domain or '+'.join(domains)}: {_summary(als)}")
        try:
            trials.append(validation.try_model(fit_als(validation.split.train, als), domains))
        except ValueError as error:
            # A configuration without a finite solution loses; it does not end the run.
            trials.append(Trial(als, {}, failure=str(error)))

    for factors, regularization, alpha in config.als_grid:
        attempt(
            ALSConfig(
                domain=domain,
                factors=factors,
                regularization=regularization,
                alpha=alpha,
                iterations=config.search_iterations,
                weighting=config.weightings[0],
                seed=config.seed,
            )
        )
    best = best_trial(trials, objective).config
    assert isinstance(best, ALSConfig)
    for weighting in config.weightings[1:]:
        attempt(dataclasses.replace(best, weighting=weighting))
    chosen = best_trial(trials, objective)
    validation.record(chosen.config.name, trials, chosen, domains)
    assert isinstance(chosen.config, ALSConfig)
    return dataclasses.replace(chosen, config=dataclasses.replace(chosen.config, iterations=config.iterations))


def best_trial(trials: Sequence[Trial], objective: Callable[[Trial], float]) -> Trial:
    """The trial with the largest objective; the first among equals, and the first of all if none has a number.

    Raises:
        ValueError: If there is no trial.
    """
    if not trials:
        raise ValueError("nothing to choose from: the grid or the budget of the search is empty")
    values = np.array([-np.inf if trial.failure else np.nan_to_num(objective(trial), nan=-np.inf) for trial in trials])
    return trials[int(np.argmax(values))]


def _summary(config: ALSConfig) -> str:
    return f"{config.factors} factors, regularization {config.regularization:g}, alpha {config.alpha:g}, {config.weighting}"

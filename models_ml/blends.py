"""Blends worth trying, made of what a search has found.

Holds which models are blended for a segment of people, and how a blend is judged on the same people that its weights are found
on. How models are blended is in `blend`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models_ml.blend import BlendConfig, BlendModel, Calibration, blend_weights
from models_ml.bootstrap import paired_difference
from models_ml.evaluation import EvaluationTask, judge
from models_ml.metrics import PERSON_METRICS
from models_ml.model import Recommender
from models_ml.search import Trial, Validation

BLENDED_SEGMENTS = ("warm", "few", "cold")
# Largest number of people of a segment on whom weights are found: every member scores the whole catalogue for each of them.
_MOST_PEOPLE = 1500
# Items of each member among which lists are found while weights are searched.
_DEPTH = 50


def blend_candidates(
    validation: Validation,
    found: Mapping[str, Trial],
    domain: str,
    *,
    members: int,
    min_people: int,
    calibrations: Sequence[Calibration] = ("score",),
) -> dict[str, Trial]:
    """One blend for each segment of people with any history, of the models that are best there.

    The people of a segment are dealt into two halves, and each half is judged with the weights found on the other, so that
    the search of weights does not flatter a blend; the choice of its members, on the same people, still may. The configuration
    has the mean of the two halves' weights.

    Args:
        validation: Inner split.
        found: Trials of the other candidates, with their models.
        domain: Target.
        members: Largest number of models in a blend; fewer than 2 makes none.
        min_people: A segment with fewer people has too little to find weights by.
        calibrations: How scores are made comparable: the first, unless the paired interval of the NDCG of a later one less that of
            the best before it is above zero. Each takes as long as the first.

    Returns:
        Trials by name, such as `blend_warm`. Each has figures for its own segment only: 0 for everyone else.
    """
    task = validation.tasks[domain]
    blends: dict[str, Trial] = {}
    for segment in BLENDED_SEGMENTS:
        asked = np.flatnonzero(task.segments[segment])
        chosen = _members(validation, found, domain, segment, members)
        if len(asked) < max(2, min_people) or len(chosen) < 2:
            continue
        configs = tuple(trial.config for trial in chosen)
        models = tuple(trial.model for trial in chosen if trial.model is not None)
        label = f"blend_{segment}"
        halves = (asked[::2], asked[1::2])
        best: Trial | None = None
        for calibration in calibrations:
            weights = [_weights(validation, task, models, half[: _MOST_PEOPLE // 2], calibration) for half in halves]
            ndcg = np.zeros(len(task.people))
            for own, learned in zip(halves, reversed(weights), strict=True):
                config = BlendConfig(configs, learned, calibration)
                model = BlendModel(config, validation.split.train.item_keys, models)
                ndcg[own] = _ndcg(validation, task, model, own)
            if best is not None and not _is_above(validation, ndcg[asked], best.people[domain][asked]):
                continue
            mean = tuple(round(float(weight), 4) for weight in np.mean(weights, axis=0))
            best = Trial(
                BlendConfig(configs, mean, calibration, label=label, segment=segment),
                {(domain, segment): float(ndcg[asked].mean())},
                {domain: ndcg},
            )
        assert best is not None, "there is a calibration"
        blends[label] = best
        validation.record(label, [blends[label]], blends[label], [domain])
    return blends


def _members(validation: Validation, found: Mapping[str, Trial], domain: str, segment: str, most: int) -> list[Trial]:
    """The best trial of each kind of model that has a say in the segment, best first."""
    task = validation.tasks[domain]
    sample = validation.split.train.take(task.people[task.segments[segment]][:50])
    columns = sample.domain_range(domain)
    best: dict[str, Trial] = {}
    for trial in sorted(found.values(), key=lambda trial: -trial.scores.get((domain, segment), -np.inf)):
        if len(best) >= most:
            break
        if trial.model is None or trial.config.kind in best or not len(columns):
            continue
        if np.isfinite(trial.model.scores(sample, columns)).any():
            best[trial.config.kind] = trial
    return [*best.values()]


def _weights(
    validation: Validation,
    task: EvaluationTask,
    models: Sequence[Recommender],
    asked: NDArray[np.int64],
    calibration: Calibration,
) -> tuple[float, ...]:
    people = validation.split.train.take(task.people[asked])
    columns = people.domain_range(task.domain)
    return blend_weights(
        models,
        people,
        columns,
        task.relevant[asked],
        calibration,
        k=validation.cutoff,
        depth=_DEPTH,
        excluded=task.excluded,
    )


def _is_above(validation: Validation, ndcg: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether the paired interval of the one less the other is above zero."""
    evaluation = validation.evaluation
    difference = paired_difference(
        ndcg[:, None], other[:, None], draws=evaluation.draws, level=evaluation.level, seed=evaluation.seed
    )
    return bool(difference.low[0] > 0)


def _ndcg(
    validation: Validation, task: EvaluationTask, model: BlendModel, asked: NDArray[np.int64]
) -> NDArray[np.float64]:
    """NDCG of the blend as it would be served, for some people of the task; shape (asked,)."""
    part, fallback = task.take(asked), validation.fallbacks[task.domain]
    judgement = judge(model, fallback, validation.split, part, (validation.cutoff,))
    values: NDArray[np.float64] = judgement.values[:, PERSON_METRICS.index("ndcg"), 0]
    return values

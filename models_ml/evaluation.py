"""Judging models on what was held out.

Holds who is evaluated (segments), what counts as relevant, and the tables of measures with intervals. The split is made in
`split`, the formulas are in `metrics`; which model wins is decided in `selection`.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.bootstrap import bootstrap_mean, paired_difference
from models_ml.metrics import (
    PERSON_METRICS,
    average_precision,
    coverage,
    hit_matrix,
    hit_rate,
    ndcg,
    novelty,
    recall,
)
from models_ml.model import Recommender
from models_ml.popularity import PopularityModel
from models_ml.serving import serve
from models_ml.split import Split

SEGMENTS = ("warm", "cold", "all")

EVALUATION_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("target_domain", pa.string()),
        ("segment", pa.string()),
        ("metric", pa.string()),
        ("cutoff", pa.int32()),
        ("value", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("users", pa.int32()),
        ("split", pa.string()),
        ("is_champion", pa.bool_()),
        ("model_version", pa.string()),
    ]
)

COMPARISON_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("baseline", pa.string()),
        ("target_domain", pa.string()),
        ("segment", pa.string()),
        ("metric", pa.string()),
        ("cutoff", pa.int32()),
        ("model_value", pa.float64()),
        ("baseline_value", pa.float64()),
        ("difference", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("users", pa.int32()),
    ]
)


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Parameters of an evaluation.

    Attributes:
        cutoffs: Lengths of the list at which it is judged, ascending.
        relevance_threshold: A held-out item is relevant if its strength (preference without recency decay) is at least
            this. The default is in the units of the seed `preference_weights`: a rating of four stars is 5 x 0.75; a
            purchase or a completion (4) is above it.
        max_people: Largest number of people who are evaluated for a target; more are sampled with the seed.
        draws: Resamples of the bootstrap.
        level: Confidence level of the intervals.
        seed: Seed of the sample and of the resamples.
    """

    cutoffs: tuple[int, ...] = (10, 20, 50)
    relevance_threshold: float = 3.75
    max_people: int = 20_000
    draws: int = 1000
    level: float = 0.95
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationTask:
    """Who is asked for what on one target.

    Attributes:
        domain: The target.
        people: Indices of people with a relevant held-out item, ascending, shape (people,).
        relevant: Their relevant held-out items, people x all items CSR.
        segments: For each segment which of `people` are in it, shape (people,) each.
        eligible: Number of people before the sample was drawn.
    """

    domain: str
    people: NDArray[np.int64]
    relevant: csr_matrix
    segments: Mapping[str, NDArray[np.bool_]]
    eligible: int


def evaluation_task(split: Split, domain: str, config: EvaluationConfig) -> EvaluationTask:
    """People with a relevant held-out item in the domain, by segment.

    Segments: `warm` has training history with the domain; `cold` has none, because the whole side is hidden, but history
    with another domain; `all` is both. Held-out items below the threshold are neither trained on nor relevant, and people
    without a relevant one are in no average.
    """
    held_out = split.held_out
    wanted = held_out.where(held_out.domain_mask(domain) & held_out.liked(config.relevance_threshold))
    warm, cold = split.is_warm(domain), split.is_cold(domain)
    people = np.flatnonzero((np.diff(wanted.indptr) > 0) & (warm | cold))
    eligible = len(people)
    if eligible > config.max_people:
        people = np.sort(np.random.default_rng(config.seed).choice(people, config.max_people, replace=False))
    asked = wanted.take(people)
    return EvaluationTask(
        domain=domain,
        people=people,
        relevant=asked.csr(np.ones(asked.entries, dtype=np.bool_)),
        segments={"warm": warm[people], "cold": cold[people], "all": np.ones(len(people), dtype=np.bool_)},
        eligible=eligible,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """Measures of one model on one task.

    Attributes:
        values: Shape (people, metrics, cutoffs), metrics in the order of `PERSON_METRICS`.
        items: The lists, shape (people, largest cutoff).
    """

    values: NDArray[np.float64]
    items: NDArray[np.int32]


def judge(
    model: Recommender,
    fallback: PopularityModel,
    split: Split,
    task: EvaluationTask,
    cutoffs: Sequence[int],
) -> Judgement:
    """Serves lists from the training part and measures them against the held-out part."""
    people = split.train.take(task.people)
    columns = split.train.domain_range(task.domain)
    items = serve(model, fallback, people, columns, max(cutoffs)).lists.items
    hits = hit_matrix(items, task.relevant)
    relevant = np.diff(task.relevant.indptr)
    item_people = np.bincount(split.train.indices, minlength=split.train.shape[1])
    known_people = int(split.is_warm(task.domain).sum())
    values = np.empty((len(task.people), len(PERSON_METRICS), len(cutoffs)))
    for position, k in enumerate(cutoffs):
        values[:, 0, position] = recall(hits, relevant, k)
        values[:, 1, position] = ndcg(hits, relevant, k)
        values[:, 2, position] = average_precision(hits, relevant, k)
        values[:, 3, position] = hit_rate(hits, k)
        values[:, 4, position] = novelty(items, item_people, known_people, k)
    return Judgement(values, items)


def evaluation_rows(
    name: str,
    version: str,
    judgement: Judgement,
    task: EvaluationTask,
    columns: range,
    champions: Mapping[str, str],
    config: EvaluationConfig,
    split_name: str,
) -> list[dict[str, object]]:
    """Rows of `EVALUATION_SCHEMA` for one model on one task; none for a segment without people."""
    rows: list[dict[str, object]] = []
    for segment in SEGMENTS:
        members = task.segments[segment]
        users = int(members.sum())
        if not users:
            continue
        values = judgement.values[members]
        interval = bootstrap_mean(values.reshape(users, -1), draws=config.draws, level=config.level, seed=config.seed)
        shape = values.shape[1:]
        means = [part.reshape(shape) for part in (interval.value, interval.low, interval.high)]
        for position, cutoff in enumerate(config.cutoffs):
            measures = {
                metric: tuple(float(part[row, position]) for part in means) for row, metric in enumerate(PERSON_METRICS)
            }
            measures["coverage"] = coverage(judgement.items[members], columns, cutoff)
            rows.extend(
                {
                    "model": name,
                    "target_domain": task.domain,
                    "segment": segment,
                    "metric": metric,
                    "cutoff": cutoff,
                    "value": value,
                    "ci_low": low,
                    "ci_high": high,
                    "users": users,
                    "split": split_name,
                    "is_champion": champions.get(segment) == name,
                    "model_version": version,
                }
                for metric, (value, low, high) in measures.items()
            )
    return rows


def comparison_rows(
    champions: Mapping[str, str],
    baseline: str,
    judgements: Mapping[str, Judgement],
    task: EvaluationTask,
    config: EvaluationConfig,
) -> list[dict[str, object]]:
    """Rows of `COMPARISON_SCHEMA`: the champion of each segment less the baseline, paired over people."""
    rows: list[dict[str, object]] = []
    for segment in SEGMENTS:
        members = task.segments[segment]
        users = int(members.sum())
        if not users:
            continue
        name = champions[segment]
        own = judgements[name].values[members].reshape(users, -1)
        other = judgements[baseline].values[members].reshape(users, -1)
        interval = paired_difference(own, other, draws=config.draws, level=config.level, seed=config.seed)
        places = [(metric, cutoff) for metric in PERSON_METRICS for cutoff in config.cutoffs]
        rows.extend(
            {
                "model": name,
                "baseline": baseline,
                "target_domain": task.domain,
                "segment": segment,
                "metric": metric,
                "cutoff": cutoff,
                "model_value": float(own[:, position].mean()),
                "baseline_value": float(other[:, position].mean()),
                "difference": float(interval.value[position]),
                "ci_low": float(interval.low[position]),
                "ci_high": float(interval.high[position]),
                "users": users,
            }
            for position, (metric, cutoff) in enumerate(places)
        )
    return rows

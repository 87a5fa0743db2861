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

from models_ml import metrics
from models_ml.bootstrap import bootstrap_mean, holm, paired_difference
from models_ml.content import FEATURE_KINDS, ItemContent
from models_ml.interactions import Interactions
from models_ml.metrics import CONTENT_METRICS, PERSON_METRICS
from models_ml.model import Recommender
from models_ml.popularity import PopularityModel
from models_ml.retrieval import NO_ITEM
from models_ml.serving import serve
from models_ml.split import Split

# How people are served: by what they have done on the target, elsewhere, or not at all.
SERVING_SEGMENTS = ("warm", "few", "cold", "new")
# What one task of known items is reported for.
SEGMENTS = (*SERVING_SEGMENTS, "linked", "unlinked", "all")
COLD_ITEM = "cold_item"
# From this number of interactions with the target a person is warm.
WARM_FROM = 5

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
        ("split", pa.string()),
        ("p_value", pa.float64()),
        ("p_holm", pa.float64()),
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
        max_people: Largest number of people who are evaluated for a task; more are sampled with the seed.
        content_people: Largest number of people of a task whose lists are measured by the content of their items, at the
            first cutoff; 0 for none.
        draws: Resamples of the bootstrap.
        level: Confidence level of the intervals.
        seed: Seed of the sample and of the resamples.
    """

    cutoffs: tuple[int, ...] = (10, 20, 50)
    relevance_threshold: float = 3.75
    max_people: int = 20_000
    content_people: int = 2_000
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
        splits: For each segment the name of the split that it is from.
        excluded: Items that are left out of every list, shape (items,).
        catalogue: Items of which coverage and exposure are measured, shape (items,).
        eligible: Number of people before the sample was drawn.
    """

    domain: str
    people: NDArray[np.int64]
    relevant: csr_matrix
    segments: Mapping[str, NDArray[np.bool_]]
    splits: Mapping[str, str]
    excluded: NDArray[np.bool_]
    catalogue: NDArray[np.bool_]
    eligible: int

    def take(self, asked: NDArray[np.integer]) -> "EvaluationTask":
        """The same of some people, by their positions in the task."""
        return dataclasses.replace(
            self,
            people=self.people[asked],
            relevant=self.relevant[asked],
            segments={name: members[asked] for name, members in self.segments.items()},
        )


def serving_segments(history: Interactions, domain: str) -> NDArray[np.int8]:
    """How each person is served on a target, as a position in `SERVING_SEGMENTS`, shape (users,).

    `warm`: at least 5 interactions with the target; `few`: 1 to 4; `cold`: none, but some elsewhere; `new`: none at all.
    """
    everywhere = np.diff(history.indptr)
    on_target = np.bincount(history.rows[history.domain_mask(domain)], minlength=history.shape[0])
    cases = [on_target >= WARM_FROM, on_target > 0, everywhere > 0]
    return np.select(cases, [0, 1, 2], default=3).astype(np.int8)


def evaluation_task(split: Split, domain: str, config: EvaluationConfig) -> EvaluationTask:
    """People with a relevant held-out item in the domain, by segment.

    Everyone is in one of the segments of `serving_segments`, by their history in training, and in `all`. Of the people with
    history on the target, those with history elsewhere too are `linked` and the others `unlinked`. Held-out items below the
    threshold are neither trained on nor relevant, and people without a relevant one are in no average.

    Items that the split has hidden from training are asked for in `cold_item_task`; here they are neither relevant nor in any
    list, as if they were not in the catalogue: a model that can tell what they are about must not lose places to items that
    cannot count. In a split by global time nothing is hidden, and all that people turned to is relevant, new items too.

    In a split by each person's time, `cold` and `new` are people who had a side or everything hidden (split `hidden_side`), so
    what is relevant to them is of any time.
    """
    train = split.train
    serving = serving_segments(train, domain)
    on_target = serving < SERVING_SEGMENTS.index("cold")
    elsewhere = np.bincount(train.rows[~train.domain_mask(domain)], minlength=train.shape[0]) > 0
    members = {name: serving == position for position, name in enumerate(SERVING_SEGMENTS)}
    members |= {
        "linked": on_target & elsewhere,
        "unlinked": on_target & ~elsewhere,
        "all": np.ones(train.shape[0], dtype=np.bool_),
    }
    splits: dict[str, str] = dict.fromkeys(SEGMENTS, split.kind)
    if split.kind == "time_per_user":
        splits |= {"cold": "hidden_side", "new": "hidden_side"}
    return _task(split, domain, config, ~split.hidden_items, members, splits, split.hidden_items)


def cold_item_task(split: Split, domain: str, config: EvaluationConfig) -> EvaluationTask:
    """People with history on the target and a relevant held-out item that training knows nothing of.

    Only such items are relevant, and they are ranked among the whole catalogue: that is what they must be found in. A ranking
    among cold items alone would flatter a model that never lists one beside known items. Coverage and exposure are of the cold
    items, so coverage says how many of them reach anyone. In a split by each person's time they are a draw of items (split
    `hidden_items`), and what is relevant is of any time; in a split by global time they are what appeared afterwards.
    """
    cold = split.cold_items()
    members = {COLD_ITEM: split.train.people_with_history(domain)}
    name = "hidden_items" if split.kind == "time_per_user" else split.kind
    return _task(split, domain, config, cold, members, {COLD_ITEM: name}, np.zeros(len(cold), dtype=np.bool_))


def _task(
    split: Split,
    domain: str,
    config: EvaluationConfig,
    askable: NDArray[np.bool_],
    members: Mapping[str, NDArray[np.bool_]],
    splits: Mapping[str, str],
    excluded: NDArray[np.bool_],
) -> EvaluationTask:
    """The members of any segment to whom an item that may be asked for is relevant, or a sample of them."""
    held_out, columns = split.held_out, split.train.domain_range(domain)
    wanted = held_out.where(
        held_out.domain_mask(domain) & held_out.liked(config.relevance_threshold) & askable[held_out.indices]
    )
    people = np.flatnonzero((np.diff(wanted.indptr) > 0) & np.any(list(members.values()), axis=0))
    eligible = len(people)
    if eligible > config.max_people:
        people = np.sort(np.random.default_rng(config.seed).choice(people, config.max_people, replace=False))
    asked = wanted.take(people)
    catalogue = np.zeros(len(askable), dtype=np.bool_)
    catalogue[columns.start : columns.stop] = askable[columns.start : columns.stop]
    return EvaluationTask(
        domain=domain,
        people=people,
        relevant=asked.csr(np.ones(asked.entries, dtype=np.bool_)),
        segments={name: member[people] for name, member in members.items()},
        splits=splits,
        excluded=excluded,
        catalogue=catalogue,
        eligible=eligible,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """Measures of one model on one task.

    Attributes:
        values: Shape (people, metrics, cutoffs), metrics in the order of `PERSON_METRICS`.
        content_values: At the first cutoff, metrics in the order of `CONTENT_METRICS`, shape (people, metrics); NaN where a
            person was not measured or has no value.
        items: The lists, shape (people, largest cutoff).
        only: The serving segments whose people were served, for a model that is for them alone; the rest of the arrays means
            nothing then, and other segments have no rows. None for everyone.
    """

    values: NDArray[np.float64]
    content_values: NDArray[np.float64]
    items: NDArray[np.int32]
    only: tuple[str, ...] | None = None

    def covers(self, segment: str) -> bool:
        """Whether the people of a segment were served."""
        return self.only is None or segment in self.only


def judge(
    model: Recommender,
    fallback: PopularityModel,
    split: Split,
    task: EvaluationTask,
    cutoffs: Sequence[int],
    *,
    content_people: int = 0,
    only: tuple[str, ...] | None = None,
) -> Judgement:
    """Serves lists from the training part and measures them against the held-out part.

    Args:
        model: The model, fitted on the training part.
        fallback: What fills up lists that run short.
        split: Where the task is from.
        task: Who is asked for what.
        cutoffs: Lengths at which the lists are judged, ascending.
        content_people: Largest number of people whose lists are measured by content, evenly spaced among those of the task.
        only: Serving segments whose people are served; None for everyone.
    """
    if only is not None:
        segment = serving_segments(split.train.take(task.people), task.domain)
        asked = np.flatnonzero(np.isin(segment, [SERVING_SEGMENTS.index(name) for name in only]))
        part = judge(model, fallback, split, task.take(asked), cutoffs, content_people=content_people)
        values, content_values, items = (
            np.zeros((len(task.people), *own.shape[1:]), dtype=own.dtype)
            for own in (part.values, part.content_values, part.items)
        )
        values[asked], content_values[asked], items[asked] = part.values, part.content_values, part.items
        return Judgement(values, content_values, items, only)
    people = split.train.take(task.people)
    columns = split.train.domain_range(task.domain)
    items = _lists(model, fallback, people, columns, max(cutoffs), task.excluded)
    most = min(content_people, len(task.people))
    sample = np.unique(np.linspace(0, len(task.people) - 1, most).astype(np.int64))
    return judge_lists(items, split, task, cutoffs, sample=sample)


def judge_lists(
    items: NDArray[np.int32], split: Split, task: EvaluationTask, cutoffs: Sequence[int], *, sample: NDArray[np.int64]
) -> Judgement:
    """Measures lists against the held-out part, wherever they come from.

    Args:
        items: Lists of the people of the task, -1 for an empty place, shape (people, largest cutoff).
        split: Where the task is from.
        task: Who is asked for what.
        cutoffs: Lengths at which the lists are judged, ascending.
        sample: Positions in the task of the people whose lists are measured by content, ascending.
    """
    train = split.train
    people = train.take(task.people)
    hits = metrics.hit_matrix(items, task.relevant)
    relevant = np.diff(task.relevant.indptr)
    item_people = np.bincount(train.indices, minlength=train.shape[1])
    percentile = metrics.popularity_percentile(item_people, train.domain_range(task.domain))
    known_people = int(train.people_with_history(task.domain).sum())
    values = np.empty((len(task.people), len(PERSON_METRICS), len(cutoffs)))
    for position, k in enumerate(cutoffs):
        measured = {
            "recall": metrics.recall(hits, relevant, k),
            "ndcg": metrics.ndcg(hits, relevant, k),
            "map": metrics.average_precision(hits, relevant, k),
            "hit_rate": metrics.hit_rate(hits, k),
            "mrr": metrics.reciprocal_rank(hits, k),
            "novelty": metrics.novelty(items, item_people, known_people, k),
            "popularity": metrics.mean_popularity(items, percentile, k),
        }
        values[:, :, position] = np.column_stack([measured[name] for name in PERSON_METRICS])
    content_values = np.full((len(task.people), len(CONTENT_METRICS)), np.nan)
    if train.content is not None and len(sample):
        own = people.take(sample)
        history = own.where(own.domain_mask(task.domain))
        content_values[sample] = _content_values(items[sample], history, train.content, cutoffs[0])
    return Judgement(values, content_values, items)


def _lists(
    model: Recommender,
    fallback: PopularityModel,
    people: Interactions,
    columns: range,
    k: int,
    excluded: NDArray[np.bool_],
) -> NDArray[np.int32]:
    """Served lists without the excluded items; whoever's runs short for them is asked for a longer one, shape (people, k)."""
    items = np.full((people.shape[0], k), NO_ITEM, dtype=np.int32)
    asked, length = np.arange(people.shape[0]), k
    while len(asked):
        block = people if len(asked) == people.shape[0] else people.take(asked)
        served = serve(model, fallback, block, columns, length).lists.items
        dropped = (served != NO_ITEM) & excluded[served]
        if not dropped.any():
            items[asked] = served[:, :k]
            break
        # Stable: what is kept moves up in its order.
        order = np.argsort(dropped | (served == NO_ITEM), axis=1, kind="stable")[:, :k]
        items[asked] = np.where(
            np.take_along_axis(dropped, order, axis=1), NO_ITEM, np.take_along_axis(served, order, axis=1)
        )
        short = dropped.any(axis=1) & (items[asked, k - 1] == NO_ITEM)
        if length >= len(columns):
            break
        asked, length = asked[short], min(2 * length, len(columns))
    return items


def _content_values(
    items: NDArray[np.int32], history: Interactions, content: ItemContent, cutoff: int
) -> NDArray[np.float64]:
    """The measures of `CONTENT_METRICS`, shape (people, metrics)."""
    topics = content.features[:, np.flatnonzero(content.kinds == FEATURE_KINDS.index("topic"))]
    measured = {
        "diversity": metrics.diversity(items, content.features, cutoff),
        "calibration": metrics.calibration(items, history.csr(history.strength), topics, cutoff),
    }
    return np.column_stack([measured[name] for name in CONTENT_METRICS])


def evaluation_rows(
    judgements: Mapping[str, Judgement],
    versions: Mapping[str, str],
    task: EvaluationTask,
    champions: Mapping[str, str],
    config: EvaluationConfig,
) -> list[dict[str, object]]:
    """Rows of `EVALUATION_SCHEMA` for all models on one task; none for a segment without people.

    The measures of `PERSON_METRICS` and coverage have a row for each cutoff; those of `CONTENT_METRICS` and the Gini coefficient
    for the first one. `users` are the people who have a value.

    Args:
        judgements: What each model reached on the task.
        versions: Version of each model.
        task: The task.
        champions: Model that was chosen, for each segment that has one.
        config: Parameters; the cutoffs are those of the judgements.
    """
    measured = [(metric, cutoff) for metric in PERSON_METRICS for cutoff in config.cutoffs]
    measured += [(metric, config.cutoffs[0]) for metric in CONTENT_METRICS]
    rows: list[dict[str, object]] = []
    for segment, members in task.segments.items():
        names = [name for name, judgement in judgements.items() if judgement.covers(segment)]
        if not members.any() or not names:
            continue
        values = np.stack([_flat(judgements[name], members) for name in names], axis=1)
        value, low, high, users = _intervals(values.reshape(len(values), -1), config)
        figures = [part.reshape(len(names), -1) for part in (value, low, high, users)]
        for row, name in enumerate(names):
            found = {
                place: tuple(part[row, column] for part in figures)
                for column, place in enumerate(measured)
                if figures[-1][row, column]
            }
            items, people = judgements[name].items[members], int(members.sum())
            for cutoff in config.cutoffs:
                found["coverage", cutoff] = (*metrics.coverage(items, task.catalogue, cutoff), people)
            first = config.cutoffs[0]
            found["gini", first] = (*metrics.gini(items, task.catalogue, first), people)
            rows.extend(
                {
                    "model": name,
                    "target_domain": task.domain,
                    "segment": segment,
                    "metric": metric,
                    "cutoff": cutoff,
                    "value": float(figure[0]),
                    "ci_low": float(figure[1]),
                    "ci_high": float(figure[2]),
                    "users": int(figure[3]),
                    "split": task.splits[segment],
                    "is_champion": champions.get(segment) == name,
                    "model_version": versions[name],
                }
                for (metric, cutoff), figure in found.items()
            )
    return rows


def comparison_rows(
    champions: Mapping[str, str],
    judgements: Mapping[str, Judgement],
    task: EvaluationTask,
    config: EvaluationConfig,
) -> list[dict[str, object]]:
    """Rows of `COMPARISON_SCHEMA`: the champion of each segment less every other model, paired over people.

    The intervals are of each pair for itself. `p_holm` is the p-value adjusted for all models that the champion is compared
    with on the same target, segment, split, metric and cutoff. The rows against popularity have `baseline` popularity.

    Args:
        champions: Model that was chosen, for each segment that has one; others have no rows.
        judgements: What each model reached on the task.
        task: The task.
        config: Parameters; the cutoffs are those of the judgements.
    """
    rows: list[dict[str, object]] = []
    for segment in task.segments:
        if (name := champions.get(segment)) is not None:
            others = [other for other, judgement in judgements.items() if other != name and judgement.covers(segment)]
            rows.extend(paired_rows(name, others, judgements, task, segment, config))
    return rows


def paired_rows(
    name: str,
    others: Sequence[str],
    judgements: Mapping[str, Judgement],
    task: EvaluationTask,
    segment: str,
    config: EvaluationConfig,
) -> list[dict[str, object]]:
    """Rows of `COMPARISON_SCHEMA` for one model less each of some others in one segment; none for a segment without people.

    Args:
        name: The one.
        others: The others, among which `p_holm` is adjusted.
        judgements: What each model reached on the task.
        task: The task.
        segment: A segment of the task, which all of them have served.
        config: Parameters; the cutoffs are those of the judgements.
    """
    members = task.segments[segment]
    users = int(members.sum())
    if not others or not users:
        return []
    places = [(metric, cutoff) for metric in PERSON_METRICS for cutoff in config.cutoffs]
    own = judgements[name].values[members].reshape(users, 1, -1)
    theirs = np.stack([judgements[other].values[members].reshape(users, -1) for other in others], axis=1)
    found = paired_difference(
        np.broadcast_to(own, theirs.shape).reshape(users, -1),
        theirs.reshape(users, -1),
        draws=config.draws,
        level=config.level,
        seed=config.seed,
    )
    shape = (len(others), len(places))
    value, low, high, p_value = (part.reshape(shape) for part in (found.value, found.low, found.high, found.p_value))
    p_holm = holm(p_value)
    own_mean, their_mean = own[:, 0].mean(axis=0), theirs.mean(axis=0)
    return [
        {
            "model": name,
            "baseline": other,
            "target_domain": task.domain,
            "segment": segment,
            "metric": metric,
            "cutoff": cutoff,
            "model_value": float(own_mean[column]),
            "baseline_value": float(their_mean[row, column]),
            "difference": float(value[row, column]),
            "ci_low": float(low[row, column]),
            "ci_high": float(high[row, column]),
            "users": users,
            "split": task.splits[segment],
            "p_value": float(p_value[row, column]),
            "p_holm": float(p_holm[row, column]),
        }
        for row, other in enumerate(others)
        for column, (metric, cutoff) in enumerate(places)
    ]


def _flat(judgement: Judgement, members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """All values of some people, shape (people, metrics x cutoffs + content metrics)."""
    values = judgement.values[members]
    return np.hstack([values.reshape(len(values), -1), judgement.content_values[members]])


def _intervals(
    values: NDArray[np.float64], config: EvaluationConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean, bounds and number of people of each column over those who have a value; columns of the same people at once."""
    has_value = np.isfinite(values)
    users = has_value.sum(axis=0)
    value, low, high = (np.full(values.shape[1], np.nan) for _ in range(3))
    alike: dict[bytes, list[int]] = {}
    for column in np.flatnonzero(users):
        alike.setdefault(np.packbits(has_value[:, column]).tobytes(), []).append(int(column))
    for columns in alike.values():
        own = values[has_value[:, columns[0]]][:, columns]
        found = bootstrap_mean(own, draws=config.draws, level=config.level, seed=config.seed)
        value[columns], low[columns], high[columns] = found.value, found.low, found.high
    return value, low, high, users

"""Which model relates items best: the neighbours of an item that a person knows against what the person went on to like.

Holds the neighbours of items by any model that has some, and the task on which such models are judged, within a platform and
across platforms. Which one is chosen is decided in `selection`, the lists that are published are made in `related`.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.cold_items import ColdItemsModel
from models_ml.evaluation import EvaluationConfig, EvaluationTask, Judgement, evaluation_task, judge_lists
from models_ml.factors import FactorModel
from models_ml.metrics import CONTENT_METRICS
from models_ml.model import Recommender
from models_ml.neighbours import ItemNeighboursModel
from models_ml.popularity import PopularityModel
from models_ml.retrieval import NO_ITEM, TopK, top_k_by_factors, top_k_by_order, top_k_by_scores
from models_ml.split import Split

ITEM_TO_ITEM, ITEM_TO_ITEM_ACROSS = "item_to_item", "item_to_item_across"
RELATING_SEGMENTS = (ITEM_TO_ITEM, ITEM_TO_ITEM_ACROSS)
"""Lists of items for an item of the same domain, and for one of another domain."""
RELATING = ("als_content", "als_joint", "ials_joint", "item_neighbours_joint")
"""Candidates that may relate items. The first that there is does, unless another one is better beyond doubt: with content, items
that nobody knows have neighbours too."""

# People asked at most, and items of each of them whose neighbours are looked at.
_MOST_PEOPLE, _MOST_SOURCES = 2_000, 3

Relater = Callable[[NDArray[np.int64], range, int], TopK]


def relater(model: Recommender, hidden: NDArray[np.bool_] | None = None) -> Relater:
    """A function of (item indices, range of items, k) that gives the neighbours of items, without the items themselves.

    Factors relate items by their cosine, because the length of a factor mostly says how popular the item is; item neighbours by
    the similarity that they keep, in whichever direction they keep it. An item that the model knows nothing about has no list.

    Args:
        model: One with item factors of all items, or item neighbours.
        hidden: Items that are in no list, shape (items,); none by default.

    Raises:
        ValueError: If the model has no notion of neighbours.
    """
    if isinstance(model, FactorModel | ColdItemsModel):
        directions = _directions(model.item_factors)
        found = directions.copy()
        if hidden is not None:
            # An item with a row of zeros is in no list.
            found[hidden] = 0

        def by_angle(items: NDArray[np.int64], columns: range, k: int) -> TopK:
            return top_k_by_factors(directions[items], found, itself(items, len(found)), k, columns=columns)

        return by_angle
    if isinstance(model, ItemNeighboursModel):
        similar = model.weights.maximum(model.weights.T).tocsr()

        def by_similarity(items: NDArray[np.int64], columns: range, k: int) -> TopK:
            may = np.ones(len(columns), dtype=np.bool_) if hidden is None else ~hidden[columns.start : columns.stop]
            candidates = columns.start + np.flatnonzero(may)
            weights = similar[items][:, candidates]

            def scores(start: int, stop: int) -> NDArray[np.float32]:
                block = weights[start:stop].toarray()
                return np.where(block > 0, block, np.float32(-np.inf))

            excluded = itself(items, similar.shape[0])
            return top_k_by_scores(scores, (len(items), similar.shape[0]), candidates, excluded, k)

        return by_similarity
    raise ValueError(f"{model.config.name} does not say which items are neighbours")


def popular_relater(fallback: PopularityModel) -> Relater:
    """Gives every item the most popular items, without the item itself."""

    def popular(items: NDArray[np.int64], columns: range, k: int) -> TopK:
        return top_k_by_order(fallback.item_scores, itself(items, len(fallback.item_scores)), k, columns=columns)

    return popular


def related_lists(
    ways: Sequence[Relater], items: NDArray[np.int64], columns: range, k: int
) -> tuple[TopK, NDArray[np.int8]]:
    """Neighbours of items by the first of some ways, filled up by the next ones where a list runs short.

    An appended item scores s - (1 - c), with s the last score of the list and c <= 1 its own (cosine, or popularity relative to the
    first of the domain), so that scores never increase along a list; in a list without any item so far it scores c.

    Args:
        ways: What relates items, best first.
        items: Item indices, shape (items asked about,).
        columns: Range to choose from.
        k: Length of the lists.

    Returns:
        The lists, shape (items asked about, k), and the position of the way that each place is from, -1 for an empty place.
    """
    lists = TopK.empty(len(items), k)
    source = np.full(lists.items.shape, -1, dtype=np.int8)
    for position, way in enumerate(ways):
        short = np.flatnonzero(lists.lengths < min(k, len(columns)))
        if not short.size:
            break
        own, lengths = lists.items[short], lists.lengths[short]
        more = way(items[short], columns, k + int(lengths.max()))
        is_new = (more.items != NO_ITEM) & ~((more.items[:, :, None] == own[:, None, :]).any(axis=2))
        rows, places = np.nonzero(is_new)
        target = lengths[rows] + (np.cumsum(is_new, axis=1) - 1)[rows, places]
        fits = target < k
        rows, places, target = rows[fits], places[fits], target[fits]
        last = lists.scores[short, np.maximum(lengths - 1, 0)]
        scores = more.scores[rows, places]
        scores = np.where(lengths[rows] > 0, last[rows] - (1 - np.minimum(scores, 1)), scores)
        lists.items[short[rows], target] = more.items[rows, places]
        lists.scores[short[rows], target] = scores
        source[short[rows], target] = position
    return lists, source


@dataclasses.dataclass(frozen=True, eq=False)
class RelatingTask:
    """Who is asked for what, and by which of their items.

    Attributes:
        task: People and what they went on to like; its one segment is that of the task.
        rows: Position in the task of each source, ascending; each person has at least one. Shape (sources,).
        sources: Items that the people have in training, shape (sources,).
    """

    task: EvaluationTask
    rows: NDArray[np.int64]
    sources: NDArray[np.int64]


def relating_task(split: Split, domain: str, segment: str, config: EvaluationConfig) -> RelatingTask:
    """People with a relevant held-out item in the domain, each with up to three items that they know.

    `item_to_item`: people with history on the target, items of the target, and what is held out of it by time.
    `item_to_item_across`: people whose side of the target is hidden, items of other domains, and what is hidden.

    Args:
        split: Split by each person's time, with sides hidden.
        domain: The target.
        segment: One of `RELATING_SEGMENTS`.
        config: Relevance and seed; at most 2,000 people are asked.
    """
    known = evaluation_task(split, domain, config)
    across = segment == ITEM_TO_ITEM_ACROSS
    members = known.segments["cold"] if across else known.segments["warm"] | known.segments["few"]
    train = split.train.where((split.train.domain_mask(domain) != across) & (split.train.strength > 0))
    asked = np.flatnonzero(members & (np.diff(train.indptr)[known.people] > 0))
    random = np.random.default_rng(config.seed)
    if len(asked) > _MOST_PEOPLE:
        asked = np.sort(random.choice(asked, _MOST_PEOPLE, replace=False))
    own = train.take(known.people[asked])
    order = np.lexsort((random.random(own.entries), own.rows))
    rank = np.arange(own.entries) - own.indptr[own.rows[order]]
    chosen = order[rank < _MOST_SOURCES]
    part = dataclasses.replace(
        known.take(asked),
        segments={segment: np.ones(len(asked), dtype=np.bool_)},
        splits={segment: known.splits["cold" if across else "warm"]},
        eligible=int(members.sum()),
    )
    return RelatingTask(part, own.rows[chosen].astype(np.int64), own.indices[chosen].astype(np.int64))


def judge_relating(ways: Sequence[Relater], split: Split, asked: RelatingTask, cutoffs: Sequence[int]) -> Judgement:
    """Measures the lists of the items that people know, averaged over the items of each person.

    Args:
        ways: What relates the items, as it would be published: the model, and what fills up its lists.
        split: Where the task is from.
        asked: The task.
        cutoffs: Lengths at which the lists are judged, ascending.

    Returns:
        The measures of people; the lists are those of one item of each person.
    """
    distinct, place = np.unique(asked.sources, return_inverse=True)
    lists = related_lists(ways, distinct, split.train.domain_range(asked.task.domain), max(cutoffs))[0].items
    items = lists[place.reshape(-1)]
    measured = judge_lists(items, split, asked.task.take(asked.rows), cutoffs, sample=np.zeros(0, dtype=np.int64))
    people = len(asked.task.people)
    first = np.searchsorted(asked.rows, np.arange(people))
    sources = np.bincount(asked.rows, minlength=people)
    values = np.add.reduceat(measured.values, first, axis=0) / sources[:, None, None] if people else measured.values
    return Judgement(values, np.full((people, len(CONTENT_METRICS)), np.nan), items[first])


def itself(items: NDArray[np.integer], width: int) -> csr_matrix:
    """Mask that hides each item from its own list, shape (items asked about, width)."""
    queries = len(items)
    return csr_matrix((np.ones(queries, dtype=np.bool_), items, np.arange(queries + 1)), shape=(queries, width))


def _directions(item_factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Factors of length 1, and of length 0 where there is none."""
    lengths = np.linalg.norm(item_factors, axis=1, keepdims=True)
    directions: NDArray[np.float32] = np.divide(
        item_factors, lengths, out=np.zeros_like(item_factors), where=lengths > 0
    )
    return directions

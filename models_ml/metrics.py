"""Measures of ranked lists against what people went on to like.

Holds the formulas, vectorised over people. A person without anything relevant has no value and must be left out by the caller.
Intervals are in `bootstrap`; who is evaluated on what is decided in `evaluation`.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.retrieval import NO_ITEM

PERSON_METRICS = ("recall", "ndcg", "map", "hit_rate", "novelty")


def hit_matrix(items: NDArray[np.int32], relevant: csr_matrix) -> NDArray[np.bool_]:
    """Which places of the lists hold something relevant.

    Args:
        items: Ranked item indices, -1 for an empty place, shape (people, k).
        relevant: People x items CSR; every stored entry is relevant.

    Returns:
        Shape (people, k).

    Raises:
        ValueError: If the number of people differs.
    """
    people, width = relevant.shape
    if len(items) != people:
        raise ValueError(f"{len(items)} lists for {people} people")
    known = np.repeat(np.arange(people, dtype=np.int64), np.diff(relevant.indptr)) * width + relevant.indices
    if not known.size:
        return np.zeros(items.shape, dtype=np.bool_)
    known.sort()
    asked = np.arange(people, dtype=np.int64)[:, None] * width + items
    place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    hits: NDArray[np.bool_] = (known[place] == asked) & (items != NO_ITEM)
    return hits


def recall(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Relevant items among the first k, over min(k, relevant items): 1 for a perfect list of any length.

    Args:
        hits: From `hit_matrix`, shape (people, >= k places).
        relevant: Number of relevant items of each person, >= 1, shape (people,).
        k: Cutoff.

    Source: Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018, section 4.2.
    """
    return np.asarray(hits[:, :k].sum(axis=1) / np.minimum(relevant, k), dtype=np.float64)


def ndcg(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Discounted gain of the first k places (1 / log2(rank + 1) for each hit) over the gain of a perfect list.

    Arguments as in `recall`. Source: Järvelin and Kekäläinen, TOIS 2002, with binary gains.
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    places = min(k, hits.shape[1])
    return np.asarray(hits[:, :places] @ discount[:places] / ideal[np.minimum(relevant, k)], dtype=np.float64)


def average_precision(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Mean over the relevant items (at most k) of the precision at the place of each hit among the first k.

    Arguments as in `recall`. The mean over people is MAP@k.
    """
    shown = hits[:, :k]
    precision = np.cumsum(shown, axis=1) / np.arange(1, shown.shape[1] + 1)
    return np.asarray((precision * shown).sum(axis=1) / np.minimum(relevant, k), dtype=np.float64)


def hit_rate(hits: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """1 for a person with at least one hit among the first k, 0 otherwise."""
    return np.asarray(hits[:, :k].any(axis=1), dtype=np.float64)


def novelty(items: NDArray[np.int32], item_people: NDArray[np.integer], people: int, k: int) -> NDArray[np.float64]:
    """Mean self-information of the first k items in bits: -log2 of the share of people who know the item.

    Args:
        items: Ranked item indices, -1 for an empty place, shape (lists, >= k).
        item_people: Number of people in training with each item, shape (items,).
        people: Number of people in training.
        k: Cutoff.

    Returns:
        Shape (lists,); 0 for an empty list. One person is added to every item so that an unknown one is finite.

    Source: Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS 2010.
    """
    information = -np.log2((item_people + 1) / (people + 1))
    shown = items[:, :k]
    filled = shown != NO_ITEM
    total = np.where(filled, information[np.maximum(shown, 0)], 0.0).sum(axis=1)
    mean: NDArray[np.float64] = total / np.maximum(filled.sum(axis=1), 1)
    return mean


def coverage(items: NDArray[np.int32], columns: range, k: int) -> tuple[float, float, float]:
    """Share of a catalogue that is in the first k of at least one list, with a 95 % interval.

    Coverage is a property of all lists together, and drawing people again with replacement can only lose items; so the
    interval is the normal one with the jackknife's standard error: leaving a person out loses the items only they have.

    Args:
        items: Ranked item indices, -1 for an empty place, shape (lists, >= k).
        columns: The items of the catalogue.
        k: Cutoff.

    Returns:
        Share and bounds in [0, 1]; zeros for an empty catalogue or no lists.

    Source: Efron and Stein, "The Jackknife Estimate of Variance", Annals of Statistics 1981.
    """
    shown = items[:, :k]
    lists = len(shown)
    if not len(columns) or not lists:
        return 0.0, 0.0, 0.0
    filled = shown != NO_ITEM
    shows = np.bincount(shown[filled] - columns.start, minlength=len(columns))
    share = float((shows > 0).mean())
    only_here = ((shows[np.maximum(shown - columns.start, 0)] == 1) & filled).sum(axis=1) / len(columns)
    error = float(np.sqrt((lists - 1) / lists * ((only_here - only_here.mean()) ** 2).sum()))
    return share, max(0.0, share - 1.96 * error), min(1.0, share + 1.96 * error)

"""Measures of ranked lists: against what people went on to like, and of the lists themselves.

Holds the formulas, vectorised over people. Of three kinds: of a person's list and what is relevant to them (accuracy), of a
person's list and what is known of its items, and of all lists together. A person without anything relevant has no accuracy and
must be left out by the caller. Intervals over people are in `bootstrap`; who is evaluated on what is decided in `evaluation`.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.retrieval import NO_ITEM

PERSON_METRICS = ("recall", "ndcg", "map", "hit_rate", "mrr", "novelty", "popularity")
CONTENT_METRICS = ("diversity", "calibration")
CATALOGUE_METRICS = ("coverage", "gini")

# Memory for the rows of a block of people where features are spread out.
_BLOCK_BYTES = 16 << 20
_NORMAL_95 = 1.96


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


def reciprocal_rank(hits: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """1 / rank of the first hit among the first k, 0 without one; the mean over people is MRR@k.

    Source: Voorhees, "The TREC-8 Question Answering Track Report", TREC 1999.
    """
    shown = hits[:, :k]
    first = shown.argmax(axis=1)
    return np.where(shown.any(axis=1), 1 / (first + 1), 0.0)


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


def popularity_percentile(item_people: NDArray[np.integer], columns: range) -> NDArray[np.float64]:
    """Place of each item of a catalogue in the order of popularity, in (0, 1): items with fewer people plus half of the equal.

    Args:
        item_people: Number of people in training with each item, shape (items,).
        columns: The items of the catalogue.

    Returns:
        Shape (items,); 0 outside the catalogue. The mean over the catalogue is 1/2.
    """
    percentile = np.zeros(len(item_people))
    own = item_people[columns.start : columns.stop]
    ordered = np.sort(own)
    below, up_to = np.searchsorted(ordered, own, side="left"), np.searchsorted(ordered, own, side="right")
    percentile[columns.start : columns.stop] = (below + up_to) / 2 / max(len(own), 1)
    return percentile


def mean_popularity(items: NDArray[np.int32], percentile: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Mean popularity percentile of the first k items: the higher, the more a list leans to what everyone knows.

    Args:
        items: Ranked item indices, -1 for an empty place, shape (lists, >= k).
        percentile: From `popularity_percentile`, shape (items,).
        k: Cutoff.

    Returns:
        Shape (lists,), in [0, 1]; 0 for an empty list.

    Source: average recommendation popularity of Abdollahpouri et al., "Managing Popularity Bias in Recommender Systems with
    Personalized Re-ranking", FLAIRS 2019, with percentiles in the place of counts, so that catalogues can be compared.
    """
    shown = items[:, :k]
    filled = shown != NO_ITEM
    total = np.where(filled, percentile[np.maximum(shown, 0)], 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(filled.sum(axis=1), 1), dtype=np.float64)


def diversity(items: NDArray[np.int32], features: csr_matrix, k: int) -> NDArray[np.float64]:
    """One less the mean cosine of all pairs of the first k items, over the items that have features.

    For rows of length 1, the sum over ordered pairs is |sum of rows|^2 - n: no pair is ever computed.

    Args:
        items: Ranked item indices, -1 for an empty place, shape (lists, >= k).
        features: Items x features CSR, rows of length 1 or empty, >= 0.
        k: Cutoff.

    Returns:
        Shape (lists,), in [0, 1]; NaN with fewer than two items that have features.

    Source: intra-list similarity of Ziegler et al., "Improving Recommendation Lists Through Topic Diversification", WWW 2005.
    """
    described = np.diff(features.indptr) > 0
    found = np.full(len(items), np.nan)
    for start, stop in _blocks(len(items), features.shape[1]):
        shown = items[start:stop, :k]
        counted = (shown != NO_ITEM) & described[np.maximum(shown, 0)]
        number = counted.sum(axis=1)
        total = (_selection(shown, counted, features.shape[0]) @ features).astype(np.float64)
        pairs = number * (number - 1)
        alike = np.asarray(total.multiply(total).sum(axis=1)).ravel() - number
        enough = number >= 2
        found[start:stop][enough] = np.clip(1 - alike[enough] / pairs[enough], 0.0, 1.0)
    return found


def calibration(
    items: NDArray[np.int32], history: csr_matrix, topics: csr_matrix, k: int, *, smoothing: float = 0.01
) -> NDArray[np.float64]:
    """Divergence of the topics of the first k items from the topics of a person's history: 0 for the same shares.

    KL(p || q') = sum over topics g of p(g) log(p(g) / q'(g)), q' = (1 - a) q + a p, with p(g) the mean of p(g | i) over the
    history weighted by preference and q(g) the plain mean over the list; p(g | i) are the topics of an item scaled to sum 1.
    Items without topics are left out of both; a list of only such items has q = 0 and the largest divergence, log(1 / a).

    Args:
        items: Ranked item indices, -1 for an empty place, shape (lists, >= k).
        history: Lists x items CSR of preferences, >= 0.
        topics: Items x topics CSR, >= 0.
        k: Cutoff.
        smoothing: a, in (0, 1): keeps the divergence finite where a topic is missing in the list.

    Returns:
        Shape (lists,), >= 0, in nats; NaN for a person without history that has topics.

    Source: Steck, "Calibrated Recommendations", RecSys 2018.
    """
    shares = _rows_to_one(topics.astype(np.float64))
    found = np.full(len(items), np.nan)
    for start, stop in _blocks(len(items), topics.shape[1]):
        wanted = _rows_to_one(history[start:stop].astype(np.float64) @ shares).toarray()
        shown = items[start:stop, :k]
        given = _rows_to_one(_selection(shown, shown != NO_ITEM, topics.shape[0]).astype(np.float64) @ shares).toarray()
        mixed = (1 - smoothing) * given + smoothing * wanted
        ratio = np.divide(wanted, mixed, out=np.ones_like(wanted), where=wanted > 0)
        known = wanted.any(axis=1)
        found[start:stop][known] = np.maximum((wanted * np.log(ratio)).sum(axis=1)[known], 0.0)
    return found


def coverage(items: NDArray[np.int32], catalogue: NDArray[np.bool_], k: int) -> tuple[float, float, float]:
    """Share of a catalogue that is in the first k of at least one list, with a 95 % interval.

    Coverage is a property of all lists together, and drawing people again with replacement can only lose items; so the
    interval is the normal one with the jackknife's standard error: leaving a person out loses the items only they have.

    Args:
        items: Ranked item indices, -1 for an empty place, shape (lists, >= k).
        catalogue: Which items are in the catalogue, shape (items,); others in the lists do not count.
        k: Cutoff.

    Returns:
        Share and bounds in [0, 1]; zeros for an empty catalogue or no lists.

    Source: Efron and Stein, "The Jackknife Estimate of Variance", Annals of Statistics 1981.
    """
    shown = items[:, :k]
    if not catalogue.any() or not len(shown):
        return 0.0, 0.0, 0.0
    counted, shows = _exposure(shown, catalogue)
    only_here = ((shows[shown] == 1) & counted).sum(axis=1)
    size = int(catalogue.sum())
    share = float((shows > 0).sum() / size)
    return _jackknifed(share, share - only_here / size)


def gini(items: NDArray[np.int32], catalogue: NDArray[np.bool_], k: int) -> tuple[float, float, float]:
    """Gini coefficient of how often each item of a catalogue is in the first k of the lists, with a 95 % interval.

    0 if all items are shown equally often, near 1 if a few have all the places. G = 2 sum(r x_(r)) / (n sum(x)) - (n + 1) / n
    over the n items, with x_(r) the r-th smallest count. The interval is that of `coverage`; leaving a list out takes one from
    the count of each of its items, and taking it from the first of the equal ones keeps the order, so no list needs a sort of
    the catalogue.

    Args:
        items: Ranked item indices, -1 for an empty place, shape (lists, >= k); no item twice in a list.
        catalogue: Which items are in the catalogue, shape (items,); others in the lists do not count.
        k: Cutoff.

    Returns:
        Coefficient and bounds in [0, 1]; zeros for an empty catalogue or where nothing is shown.

    Source: Fleder and Hosanagar, "Blockbuster Culture's Next Rise or Fall", Management Science 2009.
    """
    shown = items[:, :k]
    if not catalogue.any() or not len(shown):
        return 0.0, 0.0, 0.0
    counted, shows = _exposure(shown, catalogue)
    ordered = np.sort(shows[catalogue])
    size = len(ordered)

    def coefficient(ranked: NDArray[np.int64], total: NDArray[np.int64]) -> NDArray[np.float64]:
        share = np.divide(2.0 * ranked, size * total, out=np.zeros(ranked.shape), where=total > 0)
        return np.where(total > 0, share - (size + 1) / size, 0.0)

    ranked = np.asarray((np.arange(1, size + 1) * ordered).sum())
    # First rank of each listed count; equal counts within a list take the ranks one after the other. 0 is no rank.
    first_rank = np.searchsorted(ordered, shows) + 1
    first = np.sort(np.where(counted, first_rank[shown], 0), axis=1)
    position = np.arange(first.shape[1])[None, :]
    starts = np.maximum.accumulate(np.where(np.diff(first, axis=1, prepend=-1) != 0, position, 0), axis=1)
    lost = np.where(first > 0, first + position - starts, 0).sum(axis=1)
    value = float(coefficient(ranked, np.asarray(shows.sum())))
    return _jackknifed(value, coefficient(ranked - lost, shows.sum() - counted.sum(axis=1)))


def _exposure(shown: NDArray[np.int32], catalogue: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which places hold an item of the catalogue, and how often each of all items is shown in such a place."""
    counted = (shown != NO_ITEM) & catalogue[shown]
    return counted, np.bincount(shown[counted], minlength=len(catalogue))


def _jackknifed(value: float, left_out: NDArray[np.float64]) -> tuple[float, float, float]:
    """A share with its normal interval, by the values that leaving out each list would give."""
    lists = len(left_out)
    error = float(np.sqrt((lists - 1) / lists * ((left_out - left_out.mean()) ** 2).sum()))
    return value, max(0.0, value - _NORMAL_95 * error), min(1.0, value + _NORMAL_95 * error)


def _blocks(rows: int, width: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows whose dense values fit the memory of a block."""
    size = max(1, _BLOCK_BYTES // (8 * max(width, 1)))
    for start in range(0, rows, size):
        yield start, min(start + size, rows)


def _selection(shown: NDArray[np.int32], counted: NDArray[np.bool_], width: int) -> csr_matrix:
    """Lists x items matrix with a one for each listed item that counts."""
    indptr = np.concatenate([[0], np.cumsum(counted.sum(axis=1))])
    return csr_matrix((np.ones(int(indptr[-1]), dtype=np.float32), shown[counted], indptr), shape=(len(shown), width))


def _rows_to_one(matrix: csr_matrix) -> csr_matrix:
    """The rows scaled to sum 1; empty rows stay empty."""
    total = np.asarray(matrix.sum(axis=1)).ravel()
    scale = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    return csr_matrix(
        (matrix.data * np.repeat(scale, np.diff(matrix.indptr)), matrix.indices, matrix.indptr), shape=matrix.shape
    )

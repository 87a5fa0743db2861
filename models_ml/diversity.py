"""Lists that do not say the same thing over and over: maximal marginal relevance.

Holds the choice of k items from a ranked pool by relevance and by difference from what stands above. Whom it is for and how
strong it is, is decided in `rules`; what items are about is in `content`.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.retrieval import BLOCK_BYTES, NO_ITEM

NO_PLACE = -1


def diversify(
    items: NDArray[np.int32],
    relevance: NDArray[np.float32],
    features: csr_matrix,
    k: int,
    trade_off: NDArray[np.float32],
    *,
    fixed: NDArray[np.int64] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> NDArray[np.int64]:
    """Chooses items one by one, each by its relevance and its likeness to those chosen before.

    The next item is the candidate i with the largest t * relevance(i) - (1 - t) * max over chosen j of cos(i, j), where
    the maximum is 0 while nothing is chosen; equals go to the earlier place of the pool. An item without features is like
    nothing.

    Args:
        items: Pools of item indices, -1 for a place that is no candidate, shape (people, pool).
        relevance: Relevance of each place, finite, shape (people, pool).
        features: Items x features, float32, not negative, each row of length 1 or empty, so that a product is a cosine.
        k: Items to choose, >= 1.
        trade_off: t for each person, in [0, 1]; 1 leaves the order of relevance, shape (people,).
        fixed: Number of first places of each pool that are chosen before all others, in their order; shape (people,).
        block_bytes: Memory for the likenesses of one block; the sparse product behind them takes up to twice as much again.

    Returns:
        Places of the pool in the order of choice, -1 where the pool has run out, shape (people, k).

    Raises:
        ValueError: If k is not positive or a trade-off is outside [0, 1].

    Source: Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing
    Summaries", SIGIR 1998.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if not ((trade_off >= 0) & (trade_off <= 1)).all():
        raise ValueError("a trade-off must lie between 0 (only difference) and 1 (only relevance)")
    people, width = items.shape
    chosen = np.full((people, k), NO_PLACE, dtype=np.int64)
    if not width:
        return chosen
    per_person = max(4 * width * width, 8 * features.shape[1])
    rows = max(1, block_bytes // per_person)
    for start in range(0, people, rows):
        block = slice(start, min(start + rows, people))
        chosen[block, : min(k, width)] = _choose(
            items[block],
            relevance[block],
            _likeness(features, items[block]),
            min(k, width),
            trade_off[block].astype(np.float32),
            None if fixed is None else fixed[block],
        )
    return chosen


def _choose(
    items: NDArray[np.int32],
    relevance: NDArray[np.float32],
    likeness: NDArray[np.float32],
    k: int,
    trade_off: NDArray[np.float32],
    fixed: NDArray[np.int64] | None,
) -> NDArray[np.int64]:
    people, width = items.shape
    row = np.arange(people)
    own = trade_off[:, None] * relevance.astype(np.float32)
    nearest = np.zeros((people, width), dtype=np.float32)
    free = items != NO_ITEM
    chosen = np.full((people, k), NO_PLACE, dtype=np.int64)
    for step in range(k):
        gain = np.where(free, own - (1 - trade_off)[:, None] * nearest, -np.inf)
        best = gain.argmax(axis=1)
        if fixed is not None:
            best = np.where(step < fixed, step, best)
        some = free[row, best]
        if not some.any():
            break
        chosen[some, step] = best[some]
        free[row, best] = False
        np.maximum(nearest, likeness[row, best], out=nearest)
    return chosen


def _likeness(features: csr_matrix, items: NDArray[np.int32]) -> NDArray[np.float32]:
    """Cosine of every two items of each pool, shape (people, pool, pool); without meaning for an empty place.

    One sparse product for the whole block: each person's columns are moved to a range of their own, which makes the
    product block diagonal.
    """
    people, width = items.shape
    pools = features[np.maximum(items.ravel(), 0)]
    person = np.repeat(np.arange(people * width, dtype=np.int64) // width, np.diff(pools.indptr))
    own = csr_matrix(
        (pools.data, pools.indices + person * features.shape[1], pools.indptr),
        shape=(people * width, people * features.shape[1]),
    )
    product = own @ own.T
    within = csr_matrix((product.data, product.indices % width, product.indptr), shape=(people * width, width))
    likeness: NDArray[np.float32] = within.toarray().reshape(people, width, width)
    return likeness

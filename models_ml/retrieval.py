"""Exact top-k retrieval with bounded memory.

Scores are computed block by block, so that memory is bounded by `block_bytes` for each worker, whatever the number of
people and items. Which items a person may not see is decided by the caller and given as a sparse mask; what fills a list that
runs short is decided in `serving`.

Three properties hold for every function here, and not for `implicit.cpu.topk` 0.7.3: an item that is masked never comes
back when a list runs short (the row is padded with -1 instead), a person without any score gets an empty row instead of
arbitrary ties, and equal scores are ordered by item index.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.blas import BLAS

NO_ITEM = -1
BLOCK_BYTES = 16 << 20
_GROUP = 16


@dataclass(frozen=True)
class TopK:
    """Ranked items for a block of people.

    Attributes:
        items: Item index by rank, int32, shape (people, k); -1 where the list has run short.
        scores: Score by rank, never increasing within a row, float32, shape (people, k); -inf where there is no item.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of items in each list, shape (people,). 0 means: no list, use the fallback."""
        lengths: NDArray[np.int64] = (self.items != NO_ITEM).sum(axis=1)
        return lengths

    @staticmethod
    def empty(people: int, k: int) -> "TopK":
        """Lists without any item, shape (people, k)."""
        return TopK(
            np.full((people, k), NO_ITEM, dtype=np.int32),
            np.full((people, k), -np.inf, dtype=np.float32),
        )


def top_k_by_factors(
    user_factors: NDArray[np.float32],
    item_factors: NDArray[np.float32],
    excluded: csr_matrix,
    k: int,
    *,
    columns: range | None = None,
    workers: int | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> TopK:
    """The k items with the largest inner product for each person.

    Args:
        user_factors: Shape (people, factors), float32. A row of zeros gets no list.
        item_factors: Shape (items, factors), float32. An item with a row of zeros is in no list.
        excluded: People x items CSR; every stored entry (also a stored zero) is an item that may not be in the list.
        k: Length of the lists, >= 1.
        columns: Range of items to choose from; default all.
        workers: Threads over blocks; default the number of processors. The result does not depend on it.
        block_bytes: Memory for the scores of one block.

    Returns:
        The lists, shape (people, k), with item indices in the space of `item_factors`.

    Raises:
        ValueError: If shapes do not fit or a factor is not finite.
    """
    people, items = user_factors.shape[0], item_factors.shape[0]
    if user_factors.shape[1] != item_factors.shape[1]:
        raise ValueError(f"{user_factors.shape[1]} factors for people and {item_factors.shape[1]} for items")
    if not (np.isfinite(user_factors).all() and np.isfinite(item_factors).all()):
        raise ValueError("factors must be finite")
    columns = range(items) if columns is None else columns
    candidates = columns.start + np.flatnonzero(np.any(item_factors[columns.start : columns.stop] != 0, axis=1))
    chosen = np.ascontiguousarray(item_factors[candidates].T)
    served = np.any(user_factors != 0, axis=1)

    def scores(start: int, stop: int) -> NDArray[np.float32]:
        block: NDArray[np.float32] = user_factors[start:stop] @ chosen
        block[~served[start:stop]] = -np.inf
        return block

    return top_k_by_scores(scores, (people, items), candidates, excluded, k, workers=workers, block_bytes=block_bytes)


def top_k_by_scores(
    scores: Callable[[int, int], NDArray[np.float32]],
    shape: tuple[int, int],
    candidates: NDArray[np.int64],
    excluded: csr_matrix,
    k: int,
    *,
    workers: int | None = None,
    block_bytes: int = BLOCK_BYTES,
    listed: Callable[[int, int, NDArray[np.int32]], None] | None = None,
) -> TopK:
    """The k best candidates for each person, by scores that are computed in blocks.

    Args:
        scores: Function of (start, stop) that gives a fresh array of scores, shape (stop - start, candidates), float32;
            -inf marks what may not be in the list. It is called from several threads.
        shape: Number of people and number of items.
        candidates: Item indices of the columns of the scores, ascending, shape (candidates,).
        excluded: People x items CSR; every stored entry is an item that may not be in the list.
        k: Length of the lists, >= 1.
        workers: Threads over blocks; default the number of processors.
        block_bytes: Memory for the scores of one block.
        listed: Function of (start, stop, items of their lists), called in the same thread once the lists of a block are made.

    Returns:
        The lists, shape (people, k).

    Raises:
        ValueError: If k is not positive or the mask has another shape.
    """
    people, items = shape
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if excluded.shape != (people, items):
        raise ValueError(
            f"the mask of excluded items has shape {excluded.shape}, expected people x items {(people, items)}"
        )
    lists = TopK.empty(people, k)
    if not len(candidates) or not people:
        return lists
    column_of = np.full(items, NO_ITEM, dtype=np.int64)
    column_of[candidates] = np.arange(len(candidates))
    block_rows = max(1, block_bytes // (4 * len(candidates)))

    def fill(start: int) -> None:
        stop = min(start + block_rows, people)
        block = scores(start, stop)
        first, last = excluded.indptr[start], excluded.indptr[stop]
        hidden = column_of[excluded.indices[first:last]]
        rows = np.repeat(np.arange(stop - start), np.diff(excluded.indptr[start : stop + 1]))
        block[rows[hidden >= 0], hidden[hidden >= 0]] = -np.inf
        _fill_ranked(block, candidates, lists.items[start:stop], lists.scores[start:stop])
        if listed is not None:
            listed(start, stop, lists.items[start:stop])

    # One BLAS thread for each worker: the blocks are the parallelism, and the sums do not depend on the number of threads.
    with (
        BLAS.limit(limits=1),
        ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1) as pool,
    ):
        for _ in pool.map(fill, range(0, people, block_rows)):
            pass
    return lists


def top_k_of_block(scores: NDArray[np.float32], k: int) -> TopK:
    """The k largest scores of each row of a dense block; -inf is never listed.

    Args:
        scores: Shape (people, items), float32.
        k: Length of the lists, >= 1.
    """
    lists = TopK.empty(len(scores), k)
    if scores.shape[1]:
        _fill_ranked(scores, np.arange(scores.shape[1]), lists.items, lists.scores)
    return lists


def _fill_ranked(
    block: NDArray[np.float32],
    candidates: NDArray[np.int64],
    items_out: NDArray[np.int32],
    scores_out: NDArray[np.float32],
) -> None:
    """Write the ranked best of each row; ties go to the smaller column, -inf is never written."""
    k = items_out.shape[1]
    # Bounded below by the least finite number, so that -inf never passes.
    threshold = np.maximum(_lower_bound_of_kth(block, k), np.finfo(np.float32).min)
    flat = np.flatnonzero(block >= threshold[:, None])
    rows, columns = np.divmod(flat, block.shape[1])
    values = block.reshape(-1)[flat]
    # `flat` ascends, so a stable sort keeps ties in the order of the columns.
    order = np.lexsort((-values, rows))
    rows = rows[order]
    starts = np.searchsorted(rows, np.arange(len(block)))
    rank = np.arange(len(rows)) - starts[rows]
    kept = rank < k
    order, rows, rank = order[kept], rows[kept], rank[kept]
    items_out[rows, rank] = candidates[columns[order]]
    scores_out[rows, rank] = values[order]


def _lower_bound_of_kth(block: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """A value for each row that is at most its k-th largest score, and close to it.

    The row is dealt into groups of `_GROUP` columns; the k-th largest of the groups' maxima cannot exceed the k-th largest
    score, because k groups have a score at least as large. This needs two passes over the scores instead of a selection.
    """
    columns = block.shape[1]
    group = min(_GROUP, columns // (2 * k))
    if group < 2:
        if columns <= k:
            return np.full(len(block), -np.inf, dtype=np.float32)
        exact: NDArray[np.float32] = np.partition(block, columns - k, axis=1)[:, columns - k]
        return exact
    width = columns // group
    maxima = block[:, : group * width].reshape(len(block), group, width).max(axis=1)
    bound: NDArray[np.float32] = np.partition(maxima, width - k, axis=1)[:, width - k]
    return bound


def top_k_by_order(
    item_scores: NDArray[np.float32],
    excluded: csr_matrix,
    k: int,
    *,
    columns: range | None = None,
) -> TopK:
    """The k best items for each person by scores that are the same for everyone.

    The order of the items is computed once; each person's list skips what is excluded, without a people x items matrix.
    The j-th item that is not excluded stands at place j + (excluded items before it) of the common order.

    Args:
        item_scores: Shape (items,), finite, float32.
        excluded: People x items CSR; every stored entry is an item that may not be in the list.
        k: Length of the lists, >= 1.
        columns: Range of items to choose from; default all.

    Returns:
        The lists, shape (people, k).

    Raises:
        ValueError: If k is not positive, a score is not finite or the mask does not fit.
    """
    people, items = excluded.shape
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if items != len(item_scores):
        raise ValueError(f"the mask of excluded items has {items} columns for {len(item_scores)} item scores")
    if not np.isfinite(item_scores).all():
        raise ValueError("item scores must be finite")
    columns = range(items) if columns is None else columns
    order = columns.start + np.argsort(-item_scores[columns.start : columns.stop], kind="stable")
    place = np.full(items, -1, dtype=np.int64)
    place[order] = np.arange(len(order))

    rows = np.repeat(np.arange(people), np.diff(excluded.indptr))
    taken = place[excluded.indices]
    rows, taken = rows[taken >= 0], taken[taken >= 0]
    sequence = np.lexsort((taken, rows))
    rows, taken = rows[sequence], taken[sequence]
    starts = np.searchsorted(rows, np.arange(people))
    free_before = taken - (np.arange(len(taken)) - starts[rows])

    stride = items + k + 1
    wanted = np.arange(k)[None, :]
    skipped = np.searchsorted(free_before + rows * stride, wanted + np.arange(people)[:, None] * stride, side="right")
    places = wanted + skipped - starts[:, None]
    lists = TopK.empty(people, k)
    filled = places < len(order)
    lists.items[filled] = order[places[filled]]
    lists.scores[filled] = item_scores[lists.items[filled]]
    return lists

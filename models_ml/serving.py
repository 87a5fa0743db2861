"""Lists as they are served: a model's own, filled up by popularity.

Holds the one rule for lists that a model cannot fill, which evaluation and scoring share, so that what is measured is what
people get before rules and exploration.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.interactions import Interactions
from models_ml.model import Recommender
from models_ml.popularity import PopularityModel
from models_ml.retrieval import NO_ITEM, TopK, top_k_by_order


@dataclass(frozen=True, eq=False)
class ServedLists:
    """Lists with the origin of each place.

    Attributes:
        lists: Shape (people, k); shorter than k only where the domain has nothing else that the person has not consumed.
        is_fallback: Places that popularity filled, shape (people, k).
    """

    lists: TopK
    is_fallback: NDArray[np.bool_]


def serve(model: Recommender, fallback: PopularityModel, people: Interactions, columns: range, k: int) -> ServedLists:
    """Lists of a model for people, filled up with the most popular items that are neither consumed nor listed yet.

    A score of the model stays what it is. An appended item scores s - (1 - p), with s the last score of the model in the list
    and p in [0, 1] the item's popularity relative to the first of the domain; in a list without any item of the model, it
    scores p. So scores never increase along a list.

    Args:
        model: The model to serve.
        fallback: What fills up.
        people: History of the people.
        columns: Range of items to choose from.
        k: Length of the lists.
    """
    lists = model.top_k(people, columns, k)
    lengths = lists.lengths
    short = np.flatnonzero(lengths < min(k, len(columns)))
    is_fallback = np.zeros(lists.items.shape, dtype=np.bool_)
    if isinstance(model, PopularityModel) or not short.size:
        return ServedLists(lists, is_fallback)

    listed = lists.items[short]
    excluded = people.take(short).consumed() + _mask(listed, people.shape[1])
    extra = top_k_by_order(fallback.item_scores, excluded, k, columns=columns)

    own = lengths[short]
    last = np.where(own > 0, lists.scores[short, np.maximum(own - 1, 0)], np.float32(1))
    place = np.arange(k)[None, :]
    source = place - own[:, None]
    appended = source >= 0
    source = np.maximum(source, 0)
    items = np.where(appended, np.take_along_axis(extra.items, source, axis=1), listed)
    scores = np.where(
        appended,
        last[:, None] - (1 - np.take_along_axis(extra.scores, source, axis=1)),
        lists.scores[short],
    ).astype(np.float32)
    lists.items[short], lists.scores[short] = items, scores
    is_fallback[short] = appended & (items != NO_ITEM)
    return ServedLists(lists, is_fallback)


def _mask(items: NDArray[np.int32], width: int) -> csr_matrix:
    """People x items mask of what the lists hold."""
    filled = items != NO_ITEM
    indptr = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
    return csr_matrix((np.ones(int(indptr[-1]), dtype=np.bool_), items[filled], indptr), shape=(len(items), width))

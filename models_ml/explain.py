"""Why a model ranks an item for a person.

Holds the exact decomposition of an ALS score into what each past interaction contributes. Texts for people are made
elsewhere.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models_ml.als import ALSModel
from models_ml.interactions import Interactions
from models_ml.retrieval import NO_ITEM


def strongest_reason(model: ALSModel, people: Interactions, items: NDArray[np.int32]) -> NDArray[np.int32]:
    """The past interaction that contributes most to each listed item's score.

    The score is a sum over the person's positive interactions j: y(i)' W c(j) y(j), W = (Y'Y + Y'(C - I)Y + reg I)^-1.

    Args:
        model: The model that made the lists.
        people: History of the people.
        items: Listed item indices, -1 for an empty place, shape (people, k).

    Returns:
        Item index of the largest contribution, the smaller index among equals; -1 for an empty place or where no
        interaction contributes a positive amount. Shape (people, k).

    Source: Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008, section 5.
    """
    reasons = np.full(items.shape, NO_ITEM, dtype=np.int32)
    places = items != NO_ITEM
    for person, known, contribution in contributions(model, people, items):
        best = contribution.argmax(axis=0)
        positive = contribution[best, np.arange(len(best))] > 0
        reasons[person] = np.where(positive & places[person], known[best], NO_ITEM)
    return reasons


def contributions(
    model: ALSModel, people: Interactions, items: NDArray[np.int32]
) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.float32]]]:
    """What each past interaction adds to the score of each listed item.

    Args:
        model: The model that made the lists.
        people: History of the people.
        items: Listed item indices, -1 for an empty place, shape (people, k).

    Yields:
        For each person with history and a list: row of the person, their items, and contributions, shape (own items, k),
        whose sum over the own items is the score. The values of an empty place mean nothing.

    With G = Y'Y + reg I, K the person's own items and D = diag(c - 1), the system is (G + K' D K). Most people have far fewer
    items than there are factors, so it is solved in the space of the items:
    (G + K' D K)^-1 K' = G^-1 K' (I + D K G^-1 K')^-1, where G^-1 is the same for everyone.

    Source: Hu, Koren and Volinsky, ICDM 2008, section 5; the identity is that of Woodbury.
    """
    history = model.confidence(people)
    factors = model.item_factors
    listed = np.flatnonzero((np.diff(history.indptr) > 0) & (items != NO_ITEM).any(axis=1))
    if not listed.size:
        return
    with threadpool_limits(limits=1, user_api="blas"):
        width = factors.shape[1]
        gram = (factors.T @ factors).astype(np.float64) + model.config.regularization * np.eye(width)
        inverse = np.linalg.inv(gram).astype(np.float32)
        for person in listed:
            own = slice(history.indptr[person], history.indptr[person + 1])
            known, confidence = history.indices[own], history.data[own]
            mine, theirs = factors[known], factors[np.maximum(items[person], 0)]
            if len(known) < width:
                bridge = mine @ inverse
                system = np.eye(len(known), dtype=np.float32) + (confidence - 1)[:, None] * (bridge @ mine.T)
                # x' M^-1 for every listed item x is the solution of M' z = x.
                solved = np.linalg.solve(system.T, bridge @ theirs.T)
            else:
                system = gram.astype(np.float32) + (mine.T * (confidence - 1)) @ mine
                solved = mine @ np.linalg.solve(system, theirs.T)
            yield int(person), known, confidence[:, None] * solved

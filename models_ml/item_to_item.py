"""Models whose score is a sum over the person's past items of a weight from item to item.

Holds scores, lists and exact reasons for any people, once a model has learned its weights. How they are learned is beside
each model (`ease`, `neighbours`).
"""

import abc
import dataclasses
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.interactions import Interactions
from models_ml.model import Arrays, check_same_items, keys_to_array
from models_ml.preference import PreferenceConfig, Scale
from models_ml.reasons import Contributions, Reasons, name_strongest
from models_ml.retrieval import BLOCK_BYTES, NO_ITEM, TopK, top_k_by_scores

Scorer = Callable[[csr_matrix], NDArray[np.float32]]


@dataclasses.dataclass(frozen=True, eq=False)
class ItemToItemModel(abc.ABC):
    """score(u, i) = sum over the past items j of x(u, j) w(j, i), with x the preference relative to the mean in training.

    Attributes:
        config: Parameters.
        item_keys: Keys of all items, also of those that the model knows nothing about.
        scale: What preferences were measured by in training.
    """

    config: PreferenceConfig
    item_keys: pa.StringArray
    scale: Scale
    names_features: ClassVar[bool] = False

    @abc.abstractmethod
    def candidates(self, columns: range) -> NDArray[np.int64]:
        """Items of the range that the model can score for somebody, ascending."""

    @abc.abstractmethod
    def scorer(self, candidates: NDArray[np.int64]) -> Scorer:
        """A function from histories (people x all items CSR) to scores, shape (people, candidates).

        The scores are -inf where no past item of the person has a weight to the item.
        """

    @abc.abstractmethod
    def weights_at(self, past: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        """w(past, items) for index arrays that broadcast; 0 where the model knows no weight."""

    def history(self, people: Interactions) -> csr_matrix:
        """Preferences x of people, people x items CSR, float32.

        Raises:
            ValueError: If the items are not those of the model.
        """
        check_same_items(self.item_keys, people)
        return self.config.relative_preference(people, self.scale)

    @cached_property
    def _scorers(self) -> dict[range, tuple[NDArray[np.int64], Scorer]]:
        """Candidates and scorer of each range that was asked for: whoever scores block by block asks for few, many times."""
        return {}

    def _prepared(self, columns: range) -> tuple[NDArray[np.int64], Scorer]:
        if columns not in self._scorers:
            candidates = self.candidates(columns)
            self._scorers[columns] = candidates, self.scorer(candidates)
        return self._scorers[columns]

    def scores(self, people: Interactions, columns: range) -> NDArray[np.float32]:
        """See `Recommender.scores`."""
        candidates, scorer = self._prepared(columns)
        if len(candidates) == len(columns):
            return scorer(self.history(people))
        scores = np.full((people.shape[0], len(columns)), -np.inf, dtype=np.float32)
        scores[:, candidates - columns.start] = scorer(self.history(people))
        return scores

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """See `Recommender.top_k`."""
        history, (candidates, scorer) = self.history(people), self._prepared(columns)

        def scores(start: int, stop: int) -> NDArray[np.float32]:
            return scorer(history[start:stop])

        return top_k_by_scores(scores, people.shape, candidates, people.consumed(), k)

    def explain(self, people: Interactions, items: NDArray[np.int32], most: int = 3) -> Reasons:
        """See `Recommender.explain`: the past items with the largest x(u, j) w(j, i), of which the score is the sum."""
        reasons = Reasons.nothing(items.shape[0], items.shape[1], most)
        for found in self.contributions(people, items):
            name_strongest(reasons, found, items[found.people])
        return reasons

    def contributions(self, people: Interactions, items: NDArray[np.int32]) -> Iterator[Contributions]:
        """See `Additive.contributions`: x(u, j) w(j, i)."""
        for rows, past, preference in histories(self.history(people), items):
            parts = self.weights_at(past[:, None, :], items[rows][:, :, None])
            parts *= preference[:, None, :]
            yield Contributions(rows, present(past, preference), parts)

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        return {
            "model": self.config.name,
            "config": self.config.to_json(),
            "items": len(self.item_keys),
            "mean_preference": self.scale.mean,
        }

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        return {"item_keys": keys_to_array(self.item_keys), **self.scale.to_arrays()}


def histories(
    history: csr_matrix, items: NDArray[np.int32], *, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]]:
    """Deals people with history and a list into blocks with past items of about the same number.

    Args:
        history: People x items CSR.
        items: Listed item indices, -1 for an empty place, shape (people, k).
        block_bytes: Memory for one float32 array (people of the block, k, longest history); one person always fits.

    Yields:
        Rows of the people, shape (block,); their past items, shape (block, longest history); and the values of these. Beyond the
        end of a history stands the person's first item with value 0, which contributes nothing.
    """
    counts = np.diff(history.indptr)
    people = np.flatnonzero((counts > 0) & (items != NO_ITEM).any(axis=1))
    people = people[np.argsort(counts[people], kind="stable")]
    start = 0
    while start < len(people):
        # Ascending, so that the last person of a block has the longest history; more than half of each block is filled.
        room = block_bytes // (4 * max(1, items.shape[1]))
        longest = np.minimum(counts[people[start:]], 2 * counts[people[start]])
        stop = start + max(1, int(np.searchsorted(np.arange(1, len(longest) + 1) * longest, room, side="right")))
        stop = min(stop, int(np.searchsorted(counts[people], 2 * counts[people[start]], side="right")))
        rows = people[start:stop]
        place = np.arange(counts[rows[-1]])
        filled = place < counts[rows][:, None]
        entry = np.where(filled, history.indptr[rows][:, None] + place, history.indptr[rows][:, None])
        yield rows, history.indices[entry], np.where(filled, history.data[entry], np.float32(0))
        start = stop


def present(past: NDArray[np.int32], values: NDArray[np.float32]) -> NDArray[np.int32]:
    """The past items of `histories`, with -1 beyond the end of a history, where the value is 0."""
    return np.where(values != 0, past, np.int32(NO_ITEM))

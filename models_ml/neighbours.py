"""Neighbours of items and of people by the angle between their preferences.

Holds the item model for catalogues that are too large for `ease`, whose weights are sparse, and the user model, which keeps
the training matrix so that people who were not in training are served as well. Scores and reasons of the item model are
those of `item_to_item`; items that are close in factors are in `related`.
"""

import dataclasses
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.preprocessing import normalize

from models_ml.content import normalised_rows
from models_ml.interactions import Interactions
from models_ml.item_to_item import ItemToItemModel, Scorer, histories, present
from models_ml.model import Arrays, check_same_items, keys_from_array, keys_to_array
from models_ml.preference import PreferenceConfig, Scale
from models_ml.reasons import Contributions, Reasons, name_strongest
from models_ml.retrieval import BLOCK_BYTES, NO_ITEM, TopK, top_k_by_scores

Similarity = Literal["cosine", "bm25"]
# Largest number of pairs of items that are compared at a time: about 100 MB.
_PAIRS = 4_000_000
_SMALLEST = np.float32(1e-12)


@dataclasses.dataclass(frozen=True)
class ItemNeighboursConfig(PreferenceConfig):
    """Parameters of item neighbours. See `PreferenceConfig` for the others.

    Attributes:
        similarity: `cosine` of the preferences, or the inner product of preferences weighted by `bm25`, in which people with
            few interactions say more and items with many people are damped.
        neighbours: Most similar items that are kept for each item, >= 1.
        shrinkage: Number of common people at which a similarity counts one half, >= 0.
        k1: `bm25`: how far a preference can raise a weight, > 0.
        b: `bm25`: how much items with many people are damped, in [0, 1].
    """

    kind: ClassVar[str] = "item_neighbours"

    similarity: Similarity = "cosine"
    neighbours: int = 100
    shrinkage: float = 5.0
    k1: float = 1.2
    b: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.similarity not in ("cosine", "bm25"):
            raise ValueError(f"similarity must be cosine or bm25, got {self.similarity!r}")
        if self.neighbours < 1 or not self.shrinkage >= 0 or not self.k1 > 0 or not 0 <= self.b <= 1:
            raise ValueError(
                "neighbours must be at least 1, shrinkage not negative, k1 positive and b in [0, 1], got "
                f"{self.neighbours}, {self.shrinkage}, {self.k1} and {self.b}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class ItemNeighboursModel(ItemToItemModel):
    """The most similar items of each item.

    w(j, i) = s(j, i) n(j, i) / (n(j, i) + shrinkage) where j is among the `neighbours` of i with the largest such value, 0
    elsewhere; s is the similarity of the columns of the preferences and n the number of people who have both.

    Source: Deshpande and Karypis, "Item-based Top-N Recommendation Algorithms", TOIS 2004; the shrinkage is that of Koren,
    "Factorization Meets the Neighborhood", KDD 2008, equation 2; BM25 is that of Robertson and Zaragoza, "The
    Probabilistic Relevance Framework: BM25 and Beyond", 2009, with the rarity of Lucene, which is never negative.

    Attributes:
        weights: w, items x items CSR float32, positive, with sorted columns.
    """

    config: ItemNeighboursConfig
    weights: csr_matrix

    def candidates(self, columns: range) -> NDArray[np.int64]:
        """See `ItemToItemModel.candidates`: the items that have a neighbour."""
        known = np.bincount(self.weights.indices, minlength=len(self.item_keys))[columns.start : columns.stop]
        return columns.start + np.flatnonzero(known)

    def scorer(self, candidates: NDArray[np.int64]) -> Scorer:
        """See `ItemToItemModel.scorer`."""
        weights = self.weights[:, candidates]

        def scores(history: csr_matrix) -> NDArray[np.float32]:
            return _positive_or_nothing(history @ weights)

        return scores

    def weights_at(self, past: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        """See `ItemToItemModel.weights_at`."""
        return _values_at(self.weights, past, np.maximum(items, 0))

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        with_neighbours = int((np.bincount(self.weights.indices, minlength=1) > 0).sum())
        return {**super().describe(), "items_with_neighbours": with_neighbours, "weights": int(self.weights.nnz)}

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        return {**super().to_arrays(), **_to_arrays("weights", self.weights)}

    @staticmethod
    def from_arrays(arrays: Arrays, config: ItemNeighboursConfig) -> "ItemNeighboursModel":
        """The model that `to_arrays` took apart."""
        item_keys = keys_from_array(arrays["item_keys"])
        return ItemNeighboursModel(
            config, item_keys, Scale.from_arrays(arrays), _from_arrays("weights", arrays, len(item_keys))
        )


def fit_item_neighbours(interactions: Interactions, config: ItemNeighboursConfig) -> ItemNeighboursModel:
    """Finds the neighbours of every item by blocks of X'X, in memory of about 100 MB besides the result.

    Args:
        interactions: What people did.
        config: Parameters; with `domain`, entries of other domains are not looked at.

    Returns:
        The model. Among equal similarities the smaller item is kept.
    """
    scale = config.scale(interactions)
    preference = config.relative_preference(interactions, scale)
    by_item = preference.T.tocsr()
    by_item = normalised_rows(by_item) if config.similarity == "cosine" else _bm25(by_item, config)
    by_item.sort_indices()
    # So that no product of two vanishes in single precision, which would drop it from the pattern.
    np.maximum(by_item.data, _SMALLEST, out=by_item.data)
    had = csr_matrix((np.ones(by_item.nnz, dtype=np.float32), by_item.indices, by_item.indptr), shape=by_item.shape)
    to_person, had_by_person = by_item.T.tocsr(), had.T.tocsr()

    pairs = np.concatenate([[0], np.cumsum(had @ np.diff(to_person.indptr))])
    targets, neighbours, weights = [], [], []
    start = 0
    while start < len(pairs) - 1:
        stop = max(start + 1, int(np.searchsorted(pairs, pairs[start] + _PAIRS, side="right")) - 1)
        block = (by_item[start:stop] @ to_person).tocsr()
        common = (had[start:stop] @ had_by_person).tocsr()
        block.sort_indices()
        common.sort_indices()
        # Both have the same pattern: the pairs with a common person.
        rows = np.repeat(np.arange(start, stop), np.diff(block.indptr))
        values = block.data * (common.data / (common.data + np.float32(config.shrinkage)))
        kept = np.flatnonzero((rows != block.indices) & (values > 0))
        # Neighbours ascend within a row, so a stable sort keeps the smaller of equals first.
        kept = kept[np.lexsort((-values[kept], rows[kept]))]
        ordered = rows[kept]
        rank = np.arange(len(kept)) - np.searchsorted(ordered, ordered)
        kept = kept[rank < config.neighbours]
        targets.append(rows[kept])
        neighbours.append(block.indices[kept])
        weights.append(values[kept])
        start = stop
    shape = (interactions.shape[1], interactions.shape[1])
    found = csr_matrix(shape, dtype=np.float32)
    if targets:
        places = (np.concatenate(neighbours), np.concatenate(targets))
        found = csr_matrix((np.concatenate(weights).astype(np.float32), places), shape=shape)
        found.sort_indices()
    return ItemNeighboursModel(config, interactions.item_keys, scale, found)


@dataclasses.dataclass(frozen=True)
class UserNeighboursConfig(PreferenceConfig):
    """Parameters of user neighbours. See `PreferenceConfig` for the others.

    Attributes:
        neighbours: Most similar people in training that are looked at, >= 1.
    """

    kind: ClassVar[str] = "user_neighbours"

    neighbours: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {self.neighbours}")

    @property
    def name(self) -> str:
        """`user_neighbours`, whether of one domain or of all."""
        return self.kind


@dataclasses.dataclass(frozen=True, eq=False)
class UserNeighboursModel:
    """What the people with the most similar preferences like.

    score(u, i) = sum over v in N(u) of cos(u, v) x(v, i) / sum over v in N(u) of cos(u, v), where N(u) are the `neighbours` people
    in training with the largest positive cosine, without u, and x(v, i) is 0 where v does not know i. It is linear in the past
    items of u, given N(u): item j adds x(u, j) / |x(u)| sum over v of x(v, j) / |x(v)| x(v, i) / sum of cosines.

    Source: Resnick et al., "GroupLens: An Open Architecture for Collaborative Filtering of Netnews", CSCW 1994, in the form for
    implicit preferences of Herlocker et al., "An Algorithmic Framework for Performing Collaborative Filtering", SIGIR 1999.

    Attributes:
        config: Parameters.
        item_keys: Keys of all items.
        user_keys: Keys of the people in training.
        scale: What preferences were measured by in training.
        preferences: Preferences x of the people in training relative to the mean, people x items CSR, float32.
    """

    config: UserNeighboursConfig
    item_keys: pa.StringArray
    user_keys: pa.StringArray
    scale: Scale
    preferences: csr_matrix
    names_features: ClassVar[bool] = False

    @cached_property
    def _directions(self) -> csr_matrix:
        """Preferences of people scaled to length 1, items x people CSR; a second copy of them that is kept."""
        return csr_matrix(_of_length_1(self.preferences).T)

    @cached_property
    def _parts(self) -> dict[range, csr_matrix]:
        """Preferences for the range that was asked for last: whoever scores block by block asks for one, many times."""
        return {}

    def _preferences_for(self, columns: range) -> csr_matrix:
        if columns not in self._parts:
            self._parts.clear()
            self._parts[columns] = self.preferences[:, columns.start : columns.stop]
        return self._parts[columns]

    def history(self, people: Interactions) -> csr_matrix:
        """Preferences of people, people x items CSR, float32.

        Raises:
            ValueError: If the items are not those of the model.
        """
        check_same_items(self.item_keys, people)
        return self.config.relative_preference(people, self.scale)

    def cosines(self, people: Interactions) -> csr_matrix:
        """Cosines of people with their neighbours, people x people in training CSR, float32, all positive.

        A person who is in training is not their own neighbour. Memory is that of `top_k_by_scores`.
        """
        history, known = self.history(people), len(self.user_keys)
        own = pc.fill_null(pc.index_in(people.user_keys, value_set=self.user_keys), -1).to_numpy(zero_copy_only=False)
        indptr = np.concatenate([[0], np.cumsum(own >= 0)])
        themselves = csr_matrix((np.ones(indptr[-1], np.bool_), own[own >= 0], indptr), shape=(len(own), known))

        own_directions = _of_length_1(history)

        def scores(start: int, stop: int) -> NDArray[np.float32]:
            return _positive_or_nothing(own_directions[start:stop] @ self._directions)

        everyone = np.arange(known, dtype=np.int64)
        lists = top_k_by_scores(scores, themselves.shape, everyone, themselves, self.config.neighbours)
        indptr = np.concatenate([[0], np.cumsum(lists.lengths)])
        found = lists.items != NO_ITEM
        return csr_matrix((lists.scores[found], lists.items[found], indptr), shape=themselves.shape)

    def scores(self, people: Interactions, columns: range) -> NDArray[np.float32]:
        """See `Recommender.scores`; -inf where no neighbour knows the item."""
        return _positive_or_nothing(_shares(self.cosines(people)) @ self._preferences_for(columns))

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """See `Recommender.top_k`."""
        shares, preferences = _shares(self.cosines(people)), self._preferences_for(columns)

        def scores(start: int, stop: int) -> NDArray[np.float32]:
            return _positive_or_nothing(shares[start:stop] @ preferences)

        candidates = np.arange(columns.start, columns.stop, dtype=np.int64)
        return top_k_by_scores(scores, people.shape, candidates, people.consumed(), k)

    def explain(self, people: Interactions, items: NDArray[np.int32], most: int = 3) -> Reasons:
        """See `Recommender.explain`: the past items through which the neighbours are similar who like the item."""
        reasons = Reasons.nothing(items.shape[0], items.shape[1], most)
        for found in self.contributions(people, items):
            name_strongest(reasons, found, items[found.people])
        return reasons

    def contributions(self, people: Interactions, items: NDArray[np.int32]) -> Iterator[Contributions]:
        """See `Additive.contributions`; the score is their sum.

        Preferences are looked up for (neighbours, past items) and (neighbours, k) of each person of a block. Memory is at most
        6 arrays of `BLOCK_BYTES`, or those of one person with a longer history, besides that of `cosines`.
        """
        cosines, own_directions = self.cosines(people), _of_length_1(self.history(people))
        totals, counts = np.asarray(cosines.sum(axis=1)).ravel(), np.diff(cosines.indptr)
        served = np.where(counts[:, None] > 0, items, NO_ITEM)
        # `histories` makes room for k x past items; with neighbours as well, none of the arrays below is larger.
        room = BLOCK_BYTES // max(1, int(counts.max(initial=0)))
        for rows, past, direction in histories(own_directions, served, block_bytes=room):
            listed = served[rows]
            place = np.arange(counts[rows].max())
            is_neighbour = place < counts[rows][:, None]
            neighbours = cosines.indices[np.where(is_neighbour, cosines.indptr[rows][:, None] + place, 0)]
            through = _values_at(self._directions, past[:, None, :], neighbours[:, :, None])
            through *= direction[:, None, :]
            through *= (is_neighbour / totals[rows][:, None]).astype(np.float32)[:, :, None]
            liked = _values_at(self.preferences, neighbours[:, :, None], np.maximum(listed, 0)[:, None, :])
            # Not by BLAS, whose rounding, and so the order of ties, would depend on who else is in the block.
            parts = np.einsum("bnk,bnp->bkp", liked, through)
            yield Contributions(rows, present(past, direction), parts)

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        return {
            "model": self.config.name,
            "config": self.config.to_json(),
            "items": len(self.item_keys),
            "people": len(self.user_keys),
            "mean_preference": self.scale.mean,
        }

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        return {
            "item_keys": keys_to_array(self.item_keys),
            "user_keys": keys_to_array(self.user_keys),
            **self.scale.to_arrays(),
            **_to_arrays("preferences", self.preferences),
        }

    @staticmethod
    def from_arrays(arrays: Arrays, config: UserNeighboursConfig) -> "UserNeighboursModel":
        """The model that `to_arrays` took apart."""
        item_keys, user_keys = (keys_from_array(arrays[name]) for name in ("item_keys", "user_keys"))
        preferences = _from_arrays("preferences", arrays, len(item_keys))
        return UserNeighboursModel(config, item_keys, user_keys, Scale.from_arrays(arrays), preferences)


def fit_user_neighbours(interactions: Interactions, config: UserNeighboursConfig) -> UserNeighboursModel:
    """Keeps the preferences of the people who have any; neighbours are found when people are served.

    Args:
        interactions: What people did.
        config: Parameters; with `domain`, entries of other domains are not looked at.
    """
    scale = config.scale(interactions)
    preferences = config.relative_preference(interactions, scale)
    people = np.flatnonzero(np.diff(preferences.indptr))
    user_keys = interactions.user_keys.take(pa.array(people))
    return UserNeighboursModel(config, interactions.item_keys, user_keys, scale, preferences[people])


def _bm25(by_item: csr_matrix, config: ItemNeighboursConfig) -> csr_matrix:
    """Preferences weighted as the terms of documents: an item is a document, and its people are the terms.

    x (k1 + 1) / (x + k1 (1 - b + b n(i) / mean n)) ln(1 + (I - n(u) + 1/2) / (n(u) + 1/2)), with n the sums of preferences of
    an item and the number of items of a person, and I the number of items that anybody has.
    """
    weighted = by_item.astype(np.float64)
    sizes = np.asarray(weighted.sum(axis=1)).ravel()
    items = np.bincount(weighted.indices, minlength=weighted.shape[1])
    present = int((np.diff(weighted.indptr) > 0).sum())
    mean = sizes.sum() / max(present, 1)
    rows = np.repeat(np.arange(weighted.shape[0]), np.diff(weighted.indptr))
    damping = config.k1 * (1 - config.b + config.b * sizes[rows] / mean)
    rarity = np.log1p((present - items + 0.5) / (items + 0.5))
    weighted.data *= (config.k1 + 1) / (weighted.data + damping) * rarity[weighted.indices]
    return weighted.astype(np.float32)


def _shares(cosines: csr_matrix) -> csr_matrix:
    """Rows of positive numbers divided by their sums."""
    totals = np.asarray(cosines.sum(axis=1)).ravel()
    rows = np.repeat(np.arange(cosines.shape[0]), np.diff(cosines.indptr))
    return csr_matrix((cosines.data / totals[rows], cosines.indices, cosines.indptr), shape=cosines.shape)


def _of_length_1(preferences: csr_matrix) -> csr_matrix:
    """Rows scaled to length 1, empty rows as they are."""
    # scikit-learn refuses a matrix without rows or columns.
    return csr_matrix(normalize(preferences)) if min(preferences.shape) else preferences


def _values_at(matrix: csr_matrix, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> NDArray[np.float32]:
    """Values of a sparse matrix for index arrays that broadcast."""
    rows, columns = np.broadcast_arrays(rows, columns)
    return np.asarray(matrix[rows.ravel(), columns.ravel()], dtype=np.float32).reshape(rows.shape)


def _positive_or_nothing(scores: csr_matrix) -> NDArray[np.float32]:
    """Sums of positive terms as a dense array; -inf where there is no term."""
    dense = np.full(scores.shape, -np.inf, dtype=np.float32)
    rows = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
    dense[rows, scores.indices] = np.where(scores.data > 0, scores.data, np.float32(-np.inf))
    return dense


def _to_arrays(name: str, matrix: csr_matrix) -> Arrays:
    return {f"{name}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}


def _from_arrays(name: str, arrays: Arrays, columns: int) -> csr_matrix:
    data, indices, indptr = (arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
    return csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, columns))

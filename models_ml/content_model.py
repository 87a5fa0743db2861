"""Content-based ranking: items like those a person likes, on the same domain or on another.

Holds the profile of a person in the features of `content`, the ranking by cosine and the exact reasons. It needs no other
people: it serves items that nobody has seen, and leads from one domain to another through shared topics, people and words.
How content helps a factor model with new items is in `cold_items`.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array

from models_ml.content import ItemContent, normalised_rows
from models_ml.interactions import Interactions
from models_ml.item_to_item import histories, present
from models_ml.model import Arrays, check_same_items, keys_from_array, keys_to_array
from models_ml.preference import PreferenceConfig, Scale
from models_ml.reasons import Contributions, Reasons
from models_ml.retrieval import NO_ITEM, TopK, top_k_by_scores

# Largest number of (past item, listed item) pairs that are explained at a time: about 50 MB.
_PAIRS = 2_000_000


@dataclasses.dataclass(frozen=True)
class ContentModelConfig(PreferenceConfig):
    """Parameters of the content-based model; see `PreferenceConfig`. How features are made and weighted is in `ContentConfig`.

    With a domain, only items of it make up the profile of a person; items of all domains are ranked in either case.
    """

    kind: ClassVar[str] = "content"

    @property
    def name(self) -> str:
        """`content`, whatever the profile is made of."""
        return self.kind


@dataclasses.dataclass(frozen=True, eq=False)
class ContentModel:
    """Cosine between a person's profile and an item.

    With f(i) the features of an item (length 1) and r(u, i) the preference, the profile is p(u) = sum over i of r(u, i) f(i),
    and score(u, i) = p(u) . f(i) / |p(u)|. The profile is that of `features.user_interest` over all features, with f(i) in
    place of 1 / topics of i. The score is linear in the past items: j adds r(u, j) f(j) . f(i) / |p(u)|. An item that shares
    nothing with the person has no score rather than 0.

    Source: Rocchio, "Relevance Feedback in Information Retrieval", 1971, with positive feedback only; Lops, de Gemmis and
    Semeraro, "Content-based Recommender Systems: State of the Art and Trends", Recommender Systems Handbook, 2011.

    Attributes:
        config: Parameters.
        item_keys: Keys of all items.
        scale: What preferences were measured by in training.
        content: Features of the items; without a column where nothing is known of any.
    """

    config: ContentModelConfig
    item_keys: pa.StringArray
    scale: Scale
    content: ItemContent
    names_features: ClassVar[bool] = True

    def profile(self, people: Interactions) -> csr_matrix:
        """Profiles of people, people x features CSR float32, rows of length 1 or empty.

        Raises:
            ValueError: If the items are not those of the model.
        """
        return normalised_rows(self._history(people) @ self.content.features)

    def scores(self, people: Interactions, columns: range) -> NDArray[np.float32]:
        """See `Recommender.scores`; in [0, 1], -inf where person and item share nothing."""
        features = self.content.features[columns.start : columns.stop]
        return _shared_or_nothing(self.profile(people) @ features.T.tocsr())

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """See `Recommender.top_k`."""
        profile, features = self.profile(people), self.content.features
        candidates = columns.start + np.flatnonzero(np.diff(features.indptr[columns.start : columns.stop + 1]))
        by_feature = features[candidates].T.tocsr()

        def scores(start: int, stop: int) -> NDArray[np.float32]:
            return _shared_or_nothing(profile[start:stop] @ by_feature)

        return top_k_by_scores(scores, people.shape, candidates, people.consumed(), k)

    def explain(self, people: Interactions, items: NDArray[np.int32], most: int = 3) -> Reasons:
        """See `Recommender.explain`; the shares of all past items of a place add up to 1."""
        return content_reasons(self.content, self._history(people), items, most)

    def contributions(self, people: Interactions, items: NDArray[np.int32]) -> Iterator[Contributions]:
        """See `Additive.contributions`: r(u, j) f(j) . f(i) / |p(u)|; the score is their sum."""
        history = self._history(people)
        for rows, past, preference in histories(history, items):
            own = history[rows]
            found = _Fit.of(self.content.features, own, items[rows])
            lengths = np.sqrt(np.asarray(found.profile.power(2).sum(axis=1)).ravel())
            place = _row_of_entry(found.contribution)
            person = found.people[place]
            parts = np.zeros((*items[rows].shape, past.shape[1]), dtype=np.float32)
            entry = found.contribution.indices - own.indptr[person]
            parts[person, found.ranks[place], entry] = found.contribution.data / lengths[person]
            yield Contributions(rows, present(past, preference), parts)

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        return {
            "model": self.config.name,
            "config": self.config.to_json(),
            "items": len(self.item_keys),
            "items_with_content": int((np.diff(self.content.features.indptr) > 0).sum()),
            "features": len(self.content.names),
        }

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        return {"item_keys": keys_to_array(self.item_keys), **self.scale.to_arrays(), **self.content.to_arrays()}

    @staticmethod
    def from_arrays(arrays: Arrays, config: ContentModelConfig) -> "ContentModel":
        """The model that `to_arrays` took apart."""
        item_keys = keys_from_array(arrays["item_keys"])
        return ContentModel(config, item_keys, Scale.from_arrays(arrays), ItemContent.from_arrays(arrays))

    def _history(self, people: Interactions) -> csr_matrix:
        """Positive preferences that count, people x items CSR float32."""
        check_same_items(self.item_keys, people)
        return self.config.relative_preference(people, self.scale)


def fit_content_model(interactions: Interactions, config: ContentModelConfig) -> ContentModel:
    """Takes the features of the items; of what people did it keeps the scale of preferences only.

    Args:
        interactions: What people did, with the content of the items; without content the model serves nobody.
        config: Parameters.
    """
    return ContentModel(config, interactions.item_keys, config.scale(interactions), content_of(interactions))


def content_of(interactions: Interactions) -> ItemContent:
    """The content of the items; where nothing is known, content without features."""
    if interactions.content is not None:
        return interactions.content
    return ItemContent(csr_matrix((interactions.shape[1], 0), dtype=np.float32), (), np.zeros(0, dtype=np.int8))


def content_reasons(content: ItemContent, history: csr_matrix, items: NDArray[np.int32], most: int) -> Reasons:
    """Past items and features that make the listed items fit the person's profile.

    Args:
        content: Features of the items, none of them negative.
        history: Preferences > 0, people x items CSR.
        items: Listed item indices, -1 for an empty place, shape (people, k).
        most: Largest number of past items and of features for each place.

    Returns:
        For each place the past items j with the largest r(u, j) f(j) . f(i), as shares of p(u) . f(i), and the features
        with the largest p(u)_f f(i)_f; the smaller index among equals. Features are topics and people; they are words of the
        texts only where person and item share neither. Memory is bounded by the pairs of a past and a listed
        item of the person with most of them, or `_PAIRS` if that is more.
    """
    features, is_named = content.features, content.is_named
    reasons = Reasons.nothing(items.shape[0], items.shape[1], most)
    for start, stop in _blocks(np.diff(history.indptr) * items.shape[1]):
        past = history[start:stop]
        found = _Fit.of(features, past, items[start:stop])
        people, ranks, listed, profile = found.people, found.ranks, found.listed, found.profile
        entries, amounts = strongest_columns(found.contribution, most)
        total = np.maximum(found.contribution.sum(axis=1).A1, np.finfo(np.float32).tiny)
        strength, shared = listed.data * profile.data[listed.indices], profile.indices[listed.indices]
        names, words = (
            strongest_columns(csr_matrix((kept, shared, listed.indptr), (len(people), features.shape[1])), most)[0]
            for kept in (strength * is_named[shared], strength * ~is_named[shared])
        )
        reasons.items[start + people, ranks] = np.where(
            entries >= 0, np.append(past.indices, NO_ITEM)[entries], NO_ITEM
        )
        reasons.shares[start + people, ranks] = amounts / total[:, None]
        reasons.features[start + people, ranks] = np.where(names[:, :1] == NO_ITEM, words, names)
    return reasons


@dataclasses.dataclass(frozen=True, eq=False)
class _Fit:
    """How the listed items of some people fit their profiles.

    Attributes:
        people: Row of the person of each filled place, shape (places,).
        ranks: Its column in the lists, shape (places,).
        profile: Profiles, people x features CSR with ascending columns.
        listed: Features of the listed items, places x entries of `profile`, CSR.
        contribution: r(u, j) f(j) . f(i), places x entries of the history, CSR.
    """

    people: NDArray[np.int64]
    ranks: NDArray[np.int64]
    profile: csr_matrix
    listed: csr_matrix
    contribution: csr_matrix

    @staticmethod
    def of(features: csr_matrix, past: csr_matrix, items: NDArray[np.int32]) -> "_Fit":
        profile = csr_matrix(past @ features)
        profile.sort_indices()
        people, ranks = np.nonzero(items != NO_ITEM)
        listed = _in_profiles(features[items[people, ranks]], people, profile)
        seen = _in_profiles(features[past.indices], _row_of_entry(past), profile)
        return _Fit(people, ranks, profile, listed, csr_matrix(listed @ (diags_array(past.data) @ seen).T))


def _in_profiles(rows: csr_matrix, people: NDArray[np.integer], profile: csr_matrix) -> csr_matrix:
    """Features of items in columns of which each is one feature of one person, so that products never mix two people.

    Args:
        rows: Features of an item in each row, CSR.
        people: The person whom each row is about, shape (rows,).
        profile: People x features CSR with ascending columns; its entries are the columns of the result.
    """
    width = np.int64(profile.shape[1])
    columns = _row_of_entry(profile) * width + profile.indices
    wanted = people[_row_of_entry(rows)] * width + rows.indices
    position = np.searchsorted(columns, wanted)
    shared = np.append(columns, -1)[position] == wanted
    indptr = np.concatenate([[0], np.cumsum(shared)])[rows.indptr]
    return csr_matrix((rows.data[shared], position[shared], indptr), shape=(rows.shape[0], len(columns)))


def strongest_columns(matrix: csr_matrix, most: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The columns with the largest positive values of each row.

    Args:
        matrix: Rows x columns CSR.
        most: Largest number of columns for a row.

    Returns:
        Columns, largest value first, the smaller column among equals, -1 for none; and their values, 0 for none; both of
        shape (rows, most).
    """
    columns = np.full((matrix.shape[0], most), NO_ITEM, dtype=np.int32)
    values = np.zeros((matrix.shape[0], most), dtype=np.float32)
    lengths = np.diff(matrix.indptr)
    filled = np.flatnonzero(lengths)
    if not filled.size:
        return columns, values
    starts, lengths = matrix.indptr[filled], lengths[filled]
    left = matrix.data.copy()
    for rank in range(most):
        largest = np.maximum.reduceat(left, starts)
        is_largest = left == np.repeat(largest, lengths)
        column = np.minimum.reduceat(np.where(is_largest, matrix.indices, np.iinfo(np.int32).max), starts)
        positive = largest > 0
        columns[filled[positive], rank] = column[positive]
        values[filled[positive], rank] = largest[positive]
        left[is_largest & (matrix.indices == np.repeat(column, lengths))] = 0
    return columns, values


def _shared_or_nothing(scores: csr_matrix) -> NDArray[np.float32]:
    """Dense scores, -inf instead of 0."""
    dense: NDArray[np.float32] = scores.toarray()
    dense[dense <= 0] = -np.inf
    return dense


def _row_of_entry(matrix: csr_matrix) -> NDArray[np.int64]:
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _blocks(cost: NDArray[np.integer]) -> Iterator[tuple[int, int]]:
    """Ranges of rows whose costs add up to about `_PAIRS`, with at least one row each."""
    block = np.cumsum(cost) // _PAIRS
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(cost)] if len(cost) else []
    yield from itertools.pairwise(edges)

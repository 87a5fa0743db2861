"""Why each place of a list is there, as indices.

Holds the one shape in which every model says what speaks for a listed item: past interactions, features shared with the
person, or a trait of the person. How a model finds them is beside the model; the sentence that a person reads is made in the
warehouse.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from models_ml.retrieval import NO_ITEM


@dataclasses.dataclass(frozen=True, eq=False)
class Contributions:
    """What each past item adds to the score of each listed item, for a block of people.

    Attributes:
        people: Rows of the people, distinct, shape (block,).
        past: Their past items ascending, -1 beyond the end of a history, int32, shape (block, longest history).
        parts: Contribution of each past item to each listed item, float32, shape (block, k, longest history); 0 where there
            is no past item. The values of an empty place mean nothing.
    """

    people: NDArray[np.int64]
    past: NDArray[np.int32]
    parts: NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Reasons:
    """Reasons for the places of lists, shape (people, k) and up to `most` of a kind for each place.

    Attributes:
        items: The person's past items that contribute most to the score, largest contribution first, -1 for none, int32,
            shape (people, k, most).
        shares: Contribution as a share of the score of the place (of a blend see `BlendModel.explain`), float32, shape
            (people, k, most); 0 where there is no item. Only positive contributions are named; where others are negative, the
            shares of a place can exceed 1.
        features: Features of `ItemContent` that the person and the item share, strongest first, -1 for none, int32,
            shape (people, k, most). Words of the texts only where they share no topic and nobody; a word says that there is a
            reason, and is not told.
        trait: Code of the trait of the person that speaks for the item, -1 for none, int32, shape (people, k).
        speaker: Position of the member of a blend that speaks for the item, 0 for a model of its own, int32, shape (people, k).
    """

    items: NDArray[np.int32]
    shares: NDArray[np.float32]
    features: NDArray[np.int32]
    trait: NDArray[np.int32]
    speaker: NDArray[np.int32]

    def __post_init__(self) -> None:
        if self.items.ndim != 3 or not self.items.shape == self.shares.shape == self.features.shape:
            raise ValueError(
                "items, shares and features must have one shape (people, k, most), got "
                f"{self.items.shape}, {self.shares.shape} and {self.features.shape}"
            )
        for name in ("trait", "speaker"):
            if getattr(self, name).shape != self.items.shape[:2]:
                raise ValueError(f"{name} must have shape {self.items.shape[:2]}, got {getattr(self, name).shape}")

    @staticmethod
    def nothing(people: int, k: int, most: int) -> "Reasons":
        """Places without any reason."""
        return Reasons(
            items=np.full((people, k, most), NO_ITEM, dtype=np.int32),
            shares=np.zeros((people, k, most), dtype=np.float32),
            features=np.full((people, k, most), NO_ITEM, dtype=np.int32),
            trait=np.full((people, k), NO_ITEM, dtype=np.int32),
            speaker=np.zeros((people, k), dtype=np.int32),
        )

    def put(self, people: NDArray[np.integer], reasons: "Reasons", where: NDArray[np.bool_] | None = None) -> None:
        """Writes the reasons of some people into these, in place.

        Args:
            people: Rows to write to, shape (others,), distinct.
            reasons: What to write, shape (others, k, most).
            where: Which places to write, shape (others, k); default all. The others stay as they are.
        """
        for field in dataclasses.fields(self):
            ours, theirs = getattr(self, field.name), getattr(reasons, field.name)
            if where is not None:
                theirs = np.where(where if theirs.ndim == 2 else where[:, :, None], theirs, ours[people])
            ours[people] = theirs

    def only(self, kept: NDArray[np.bool_], most: int) -> "Reasons":
        """With some of the past items only, moved up in their order, and at most so many of each kind.

        Args:
            kept: Which past items stay, shape (people, k, at least most).
            most: Largest number of past items and of features.
        """
        kept = kept & (self.items != NO_ITEM)
        order = np.argsort(~kept, axis=2, kind="stable")[:, :, :most]
        there = np.take_along_axis(kept, order, axis=2)
        return Reasons(
            np.where(there, np.take_along_axis(self.items, order, axis=2), NO_ITEM).astype(np.int32),
            np.where(there, np.take_along_axis(self.shares, order, axis=2), 0).astype(np.float32),
            self.features[:, :, :most],
            self.trait,
            self.speaker,
        )


def name_strongest(
    reasons: Reasons,
    found: Contributions,
    listed: NDArray[np.int32],
    prior: NDArray[np.float32] | None = None,
) -> None:
    """Writes the largest positive contributions to the places of some people; the parts are used up.

    Args:
        reasons: Where to write; the places of these people that hold no item in `listed` stay as they are.
        found: What their past items add.
        listed: Their listed items, -1 for an empty place, shape (block, k).
        prior: What no past item explains of each place's score, shape (block, k); default nothing. A score is the sum of the
            parts and the prior.

    A place whose score or whose sum of parts is not positive gets no reason: a share of it would mean nothing. Among equals the
    smaller item is first.
    """
    parts, rows = found.parts, found.people
    own = parts.sum(axis=2)
    score = own if prior is None else own + prior
    here, explained = listed != NO_ITEM, (own > 0) & (score > 0)
    for rank in range(min(reasons.items.shape[2], parts.shape[2])):
        best = parts.argmax(axis=2)
        part = np.take_along_axis(parts, best[:, :, None], axis=2)[:, :, 0]
        named = explained & (part > 0)
        item = np.where(named, np.take_along_axis(found.past, best, axis=1), NO_ITEM)
        share = np.divide(part, score, out=np.zeros_like(part), where=named)
        reasons.items[rows, :, rank] = np.where(here, item, reasons.items[rows, :, rank])
        reasons.shares[rows, :, rank] = np.where(here, share, reasons.shares[rows, :, rank])
        np.put_along_axis(parts, best[:, :, None], -np.inf, axis=2)

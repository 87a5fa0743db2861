"""Popularity: of all times, of late, on the rise.

Holds the models that rank the same items in the same order for everyone, less what a person has consumed. They are the
baseline that other models must beat, and the fallback where another model knows nothing. Popularity that depends on who
asks is in `segment_popularity`.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.interactions import Interactions
from models_ml.model import Arrays, ModelConfig, check_same_items, keys_from_array, keys_to_array
from models_ml.reasons import Reasons
from models_ml.recency import age_in_days, recency_weight
from models_ml.retrieval import TopK, top_k_by_order


@dataclasses.dataclass(frozen=True)
class PopularityConfig(ModelConfig):
    """Parameters of popularity.

    Attributes:
        half_life_days: Age at which an interaction counts one half; None counts all alike (`popularity`), a number makes
            it `recent_popularity`.
        liked_at: Counts the people whose strength for the item is at least this; None adds up the strengths instead.
        usual_half_life_days: Half-life of what is usual for an item; with it the items that have lately more than is usual
            for them come first (`rising`). Longer than `half_life_days`.
    """

    kind: ClassVar[str] = "popularity"

    half_life_days: float | None = None
    liked_at: float | None = None
    usual_half_life_days: float | None = None

    def __post_init__(self) -> None:
        if self.usual_half_life_days is not None and not (
            self.half_life_days is not None and self.usual_half_life_days > self.half_life_days
        ):
            raise ValueError(
                f"usual_half_life_days {self.usual_half_life_days} must be longer than half_life_days {self.half_life_days}"
            )

    @property
    def name(self) -> str:
        """`popularity`, `recent_popularity` or `rising`."""
        if self.usual_half_life_days is not None:
            return "rising"
        return "popularity" if self.half_life_days is None else "recent_popularity"


@dataclasses.dataclass(frozen=True, eq=False)
class PopularityModel:
    """One score for each item, in (0, 1] relative to the most popular of its domain, 0 for what nobody likes.

    Popularity is n(i, h) = sum over people u of a(u, i) * 2^(-age(u, i) / h), with a = strength, or 1 where strength >=
    liked_at.

    An item is on the rise by how far n(i, h) is above what its usual rate makes expected, e(i) = n(i, H) h / H, in standard
    deviations of a Poisson count: z = (n - e) / sqrt(e + 1). Items with z > 0 score 1/2 + z / (2 max z); the rest follow with
    half their popularity n(i, h).

    Source of the rise: Kleinberg, "Bursty and Hierarchical Structure in Streams", KDD 2002, in the plain form of a count that is
    compared with the item's own usual rate.
    """

    config: PopularityConfig
    item_keys: pa.StringArray
    item_scores: NDArray[np.float32]

    def scores(self, people: Interactions, columns: range) -> NDArray[np.float32]:
        """See `Recommender.scores`."""
        check_same_items(self.item_keys, people)
        return np.tile(self.item_scores[columns.start : columns.stop], (people.shape[0], 1))

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """See `Recommender.top_k`; no list is empty unless everything has been consumed."""
        check_same_items(self.item_keys, people)
        return top_k_by_order(self.item_scores, people.consumed(), k, columns=columns)

    def explain(self, people: Interactions, items: NDArray[np.int32], most: int = 3) -> Reasons:
        """See `Recommender.explain`; nothing of the person's own speaks for an item."""
        return Reasons.nothing(items.shape[0], items.shape[1], most)

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        return {
            "model": self.config.name,
            "config": self.config.to_json(),
            "items": len(self.item_keys),
            "items_scored": int((self.item_scores > 0).sum()),
        }

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        return {"item_keys": keys_to_array(self.item_keys), "item_scores": self.item_scores}

    @staticmethod
    def from_arrays(arrays: Arrays, config: PopularityConfig) -> "PopularityModel":
        """The model that `to_arrays` took apart."""
        return PopularityModel(config, keys_from_array(arrays["item_keys"]), arrays["item_scores"])


def fit_popularity(interactions: Interactions, config: PopularityConfig) -> PopularityModel:
    """Adds up what people think of each item.

    Args:
        interactions: What people did; times are measured back from its newest entry.
        config: Parameters.
    """
    amount = amounts(interactions, config.liked_at)
    popular = _relative(_decayed_sum(interactions, amount, config.half_life_days), interactions)
    if config.half_life_days is not None and config.usual_half_life_days is not None:
        recent = _decayed_sum(interactions, amount, config.half_life_days)
        usual = _decayed_sum(interactions, amount, config.usual_half_life_days)
        expected = usual * config.half_life_days / config.usual_half_life_days
        rise = np.maximum((recent - expected) / np.sqrt(expected + 1), 0)
        popular = np.where(rise > 0, 0.5 + 0.5 * _relative(rise, interactions), 0.5 * popular)
    return PopularityModel(config, interactions.item_keys, popular.astype(np.float32))


def amounts(interactions: Interactions, liked_at: float | None) -> NDArray[np.float64]:
    """What each entry adds to an item's popularity: its strength, or 1 if that is at least `liked_at`; shape (entries,)."""
    values = interactions.strength if liked_at is None else interactions.liked(liked_at)
    return values.astype(np.float64)


def _decayed_sum(
    interactions: Interactions, amount: NDArray[np.float64], half_life_days: float | None
) -> NDArray[np.float64]:
    """Sum of the amounts of each item, fading with age; shape (items,)."""
    if half_life_days is not None:
        amount = amount * recency_weight(age_in_days(interactions.last_at, interactions.as_of), half_life_days)
    return np.bincount(interactions.indices, weights=amount, minlength=interactions.shape[1]).astype(np.float64)


def _relative(total: NDArray[np.float64], interactions: Interactions) -> NDArray[np.float64]:
    """Relative to the largest of the item's domain."""
    relative = total.copy()
    for domain in interactions.domains:
        columns = interactions.domain_range(domain)
        part = total[columns.start : columns.stop]
        if part.size and part.max() > 0:
            relative[columns.start : columns.stop] = part / part.max()
    return relative

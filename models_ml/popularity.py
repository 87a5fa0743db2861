"""Popularity, with and without recency.

Holds the models that rank the same items in the same order for everyone, less what a person has consumed. They are the
baseline that other models must beat, and the fallback where another model knows nothing.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.interactions import Interactions
from models_ml.model import Arrays, ModelConfig, check_same_items, keys_to_array
from models_ml.recency import age_in_days, recency_weight
from models_ml.retrieval import TopK, top_k_by_order


@dataclasses.dataclass(frozen=True)
class PopularityConfig(ModelConfig):
    """Parameters of popularity.

    Attributes:
        half_life_days: Age at which an interaction counts one half; None counts all alike (`popularity`), a number makes
            it `recent_popularity`.
        liked_at: Counts the people whose strength for the item is at least this; None adds up the strengths instead.
    """

    kind: ClassVar[str] = "popularity"

    half_life_days: float | None = None
    liked_at: float | None = None

    @property
    def name(self) -> str:
        """`popularity` or `recent_popularity`."""
        return "popularity" if self.half_life_days is None else "recent_popularity"


@dataclasses.dataclass(frozen=True, eq=False)
class PopularityModel:
    """One score for each item, in (0, 1] relative to the most popular of its domain, 0 for what nobody likes.

    score(i) = sum over people u of a(u, i) * 2^(-age(u, i) / half_life), with a = strength, or 1 where strength >= liked_at.
    """

    config: PopularityConfig
    item_keys: pa.StringArray
    item_scores: NDArray[np.float32]

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """See `Recommender.top_k`; no list is empty unless everything has been consumed."""
        check_same_items(self.item_keys, people)
        return top_k_by_order(self.item_scores, people.consumed(), k, columns=columns)

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
        return PopularityModel(config, pa.array(arrays["item_keys"].tolist(), pa.string()), arrays["item_scores"])


def fit_popularity(interactions: Interactions, config: PopularityConfig) -> PopularityModel:
    """Adds up what people think of each item.

    Args:
        interactions: What people did; times are measured back from its newest entry.
        config: Parameters.
    """
    if config.liked_at is None:
        amount = interactions.strength.astype(np.float64)
    else:
        amount = interactions.liked(config.liked_at).astype(np.float64)
    if config.half_life_days is not None:
        age = age_in_days(interactions.last_at, interactions.as_of)
        amount = amount * recency_weight(age, config.half_life_days)
    total: NDArray[np.float64] = np.bincount(
        interactions.indices, weights=amount, minlength=interactions.shape[1]
    ).astype(np.float64)
    for domain in interactions.domains:
        columns = interactions.domain_range(domain)
        part = total[columns.start : columns.stop]
        if part.size and part.max() > 0:
            total[columns.start : columns.stop] = part / part.max()
    return PopularityModel(config, interactions.item_keys, total.astype(np.float32))

"""Popularity among people like the one who asks: same country, region, device, and the like.

Holds the model for people of whom nothing is known but their traits. What is popular with everyone is in `popularity`.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.interactions import Interactions
from models_ml.model import Arrays, ModelConfig, check_same_items, keys_from_array, keys_to_array, top_k_by_model
from models_ml.popularity import amounts
from models_ml.reasons import Reasons
from models_ml.recency import age_in_days, recency_weight
from models_ml.retrieval import NO_ITEM, TopK
from models_ml.traits import UNKNOWN

# Traits whose values are names of places. The values of the others, such as `phone` or `1990`, are codes and no words for people.
_PLACES = ("country", "region")


@dataclasses.dataclass(frozen=True)
class SegmentPopularityConfig(ModelConfig):
    """Parameters of popularity by segment.

    Attributes:
        traits: Names of the traits that make a segment; those that the people do not have are left out.
        prior: Number of imaginary interactions with the common distribution of items that are added to each value of a
            trait, > 0: a value with few interactions differs little from everybody.
        half_life_days: Age at which an interaction counts one half; None counts all alike.
        liked_at: Counts the people whose strength for the item is at least this; None adds up the strengths instead.
        most_values: Values of a trait with the most people that are kept; the others count as unknown. It bounds memory at
            4 bytes x values x items.
    """

    kind: ClassVar[str] = "segment_popularity"

    traits: tuple[str, ...] = ("country", "region", "device", "gender", "birth_decade")
    prior: float = 200.0
    half_life_days: float | None = None
    liked_at: float | None = None
    most_values: int = 50

    def __post_init__(self) -> None:
        object.__setattr__(self, "traits", tuple(self.traits))
        if not self.prior > 0 or self.most_values < 1:
            raise ValueError(
                f"prior must be positive and most_values at least 1, got {self.prior} and {self.most_values}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentPopularityModel:
    """Naive Bayes over the traits of a person.

    score(i | v) = ln p(i) + sum over known traits t of ln(p(i | v_t) / p(i)), with p(i | v) = (n(i, v) + m p(i)) / (n(v) + m):
    n counts the (decayed) interactions of the item's domain by people with the value v, m is the prior, and p(i) is smoothed by
    one imaginary interaction spread over the domain, so that an item that nobody knows is finite.

    Source: Manning, Raghavan and Schütze, "Introduction to Information Retrieval", 2008, chapter 13; the m-estimate is that of
    Cestnik, ECAI 1990.

    Attributes:
        config: Parameters.
        item_keys: Keys of all items.
        log_popularity: ln p(i), shape (items,), float32.
        value_trait: Position in `config.traits` of each kept value, shape (values,).
        value_texts: The values as texts, shape (values,).
        log_lift: ln(p(i | v) / p(i)) for each kept value, shape (values, items), float32.
    """

    config: SegmentPopularityConfig
    item_keys: pa.StringArray
    log_popularity: NDArray[np.float32]
    value_trait: NDArray[np.int32]
    value_texts: NDArray[np.str_]
    log_lift: NDArray[np.float32]

    @property
    def places(self) -> NDArray[np.object_]:
        """What a sentence may call each kept value: the name of a place, None for the value of any other trait, shape (values,)."""
        names = self.value_texts.astype(np.object_)
        names[~np.isin(np.array(self.config.traits)[self.value_trait], _PLACES)] = None
        return names

    def segments(self, people: Interactions) -> NDArray[np.int32]:
        """Kept value of each trait of each person, -1 where it is unknown; shape (people, traits of the config)."""
        found = np.full((people.shape[0], len(self.config.traits)), UNKNOWN, dtype=np.int32)
        if people.traits is None:
            return found
        for position, name in enumerate(self.config.traits):
            if name not in people.traits.names:
                continue
            column = people.traits.names.index(name)
            places = {
                str(self.value_texts[place]): place for place in np.flatnonzero(self.value_trait == position).tolist()
            }
            kept = np.array([*(places.get(text, UNKNOWN) for text in people.traits.values[column]), UNKNOWN])
            found[:, position] = kept[people.traits.codes[:, column]]
        return found

    def scores(self, people: Interactions, columns: range) -> NDArray[np.float32]:
        """See `Recommender.scores`; people with the same traits are scored once."""
        check_same_items(self.item_keys, people)
        distinct, inverse = np.unique(self.segments(people), axis=0, return_inverse=True)
        part = slice(columns.start, columns.stop)
        scores = np.tile(self.log_popularity[part], (len(distinct), 1))
        for row, values in enumerate(distinct):
            scores[row] += self.log_lift[values[values != UNKNOWN], part].sum(axis=0)
        return scores[inverse.reshape(-1)]

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """See `Recommender.top_k`."""
        return top_k_by_model(self, people, columns, k)

    def explain(self, people: Interactions, items: NDArray[np.int32], most: int = 3) -> Reasons:
        """See `Recommender.explain`: the value that raises the item most, if any does."""
        reasons = Reasons.nothing(items.shape[0], items.shape[1], most)
        segments = self.segments(people)
        best = np.zeros(items.shape, dtype=np.float32)
        for values in segments.T:
            lift = np.where(
                (values[:, None] != UNKNOWN) & (items != NO_ITEM),
                self.log_lift[values[:, None], items] if len(self.log_lift) else np.float32(0),
                np.float32(0),
            )
            better = lift > best
            best[better] = lift[better]
            reasons.trait[better] = np.broadcast_to(values[:, None], items.shape)[better]
        return reasons

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        return {
            "model": self.config.name,
            "config": self.config.to_json(),
            "items": len(self.item_keys),
            "values": [
                f"{self.config.traits[trait]}: {text}"
                for trait, text in zip(self.value_trait, self.value_texts, strict=True)
            ],
        }

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        return {
            "item_keys": keys_to_array(self.item_keys),
            "log_popularity": self.log_popularity,
            "value_trait": self.value_trait,
            "value_texts": self.value_texts,
            "log_lift": self.log_lift,
        }

    @staticmethod
    def from_arrays(arrays: Arrays, config: SegmentPopularityConfig) -> "SegmentPopularityModel":
        """The model that `to_arrays` took apart."""
        return SegmentPopularityModel(
            config,
            keys_from_array(arrays["item_keys"]),
            arrays["log_popularity"],
            arrays["value_trait"],
            arrays["value_texts"],
            arrays["log_lift"],
        )


def fit_segment_popularity(interactions: Interactions, config: SegmentPopularityConfig) -> SegmentPopularityModel:
    """Counts what people with each trait like.

    Args:
        interactions: What people did, with their traits; without traits everybody gets what is popular with everyone.
        config: Parameters.
    """
    amount = amounts(interactions, config.liked_at)
    if config.half_life_days is not None:
        amount *= recency_weight(age_in_days(interactions.last_at, interactions.as_of), config.half_life_days)
    items = interactions.shape[1]
    counts = np.bincount(interactions.indices, weights=amount, minlength=items)
    share = _share_of_domain(counts + _spread(interactions), interactions)

    trait, texts, lifts = [], [], []
    for position, name in enumerate(config.traits):
        if interactions.traits is None or name not in interactions.traits.names:
            continue
        column = interactions.traits.names.index(name)
        codes = interactions.traits.codes[:, column]
        people = np.bincount(codes[codes != UNKNOWN], minlength=len(interactions.traits.values[column]))
        for code in np.sort(np.argsort(-people, kind="stable")[: config.most_values]):
            members = csr_matrix((codes == code).astype(np.float64))
            own = (
                members @ csr_matrix((amount, interactions.indices, interactions.indptr), interactions.shape)
            ).toarray()[0]
            totals = _domain_totals(own, interactions)
            lifts.append(np.log((own + config.prior * share) / (totals + config.prior) / share))
            trait.append(position)
            texts.append(interactions.traits.values[column][code])
    return SegmentPopularityModel(
        config,
        interactions.item_keys,
        np.log(share).astype(np.float32),
        np.array(trait, dtype=np.int32),
        np.array(texts, dtype=np.str_),
        np.array(lifts, dtype=np.float32).reshape(len(lifts), items),
    )


def _spread(interactions: Interactions) -> NDArray[np.float64]:
    """One interaction for each domain, spread evenly over its items."""
    sizes = np.diff(interactions.domain_offsets)
    return 1 / sizes[interactions.item_domain]


def _domain_totals(values: NDArray[np.float64], interactions: Interactions) -> NDArray[np.float64]:
    """For each item the sum over all items of its domain."""
    sums = np.bincount(interactions.item_domain, weights=values, minlength=len(interactions.domains))
    return np.asarray(sums[interactions.item_domain], dtype=np.float64)


def _share_of_domain(values: NDArray[np.float64], interactions: Interactions) -> NDArray[np.float64]:
    return values / _domain_totals(values, interactions)

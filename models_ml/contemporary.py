"""Popularity at the times at which a person was active.

Holds the model for people who tell little about their taste and something about when they came: whoever was active in one
month wants what others took up around that month, on every platform. Popularity that is the same for everyone is in
`popularity`, popularity by traits in `segment_popularity`.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.blas import BLAS
from models_ml.interactions import Interactions
from models_ml.model import Arrays, ModelConfig, check_same_items, keys_from_array, keys_to_array
from models_ml.popularity import amounts
from models_ml.reasons import Reasons
from models_ml.retrieval import TopK, top_k_by_factors

_DAY = 86_400_000_000


@dataclasses.dataclass(frozen=True)
class ContemporaryPopularityConfig(ModelConfig):
    """Parameters of contemporary popularity.

    Attributes:
        domain: The only domain that is looked at (`contemporary_popularity_single`); None also lets what a person did on
            other domains say when they were active.
        half_life_days: Distance in time at which an interaction of others counts one half for a moment, > 0.
        own_half_life_days: How much before a person's latest moment an earlier one counts one half, > 0; None counts all
            alike. Short for people who will go on from where they are, None for those whose whole other side is unknown.
        prior: Interactions of all times that are added to what was popular around a moment, >= 0; it carries a moment of
            which little is known.
        breadth: An interaction counts (number of the person's entries on other domains)^breadth, >= 0. 0 counts everyone
            alike; with more, only people who are on several platforms are asked.
        liked_at: Counts people whose strength for the item is at least this; None adds up the strengths instead.
        period_days: Length of the periods in which time is counted, > 0.
        most_periods: Largest number of periods; they are made longer where there would be more. Memory is 4 bytes x
            periods x items.
    """

    kind: ClassVar[str] = "contemporary_popularity"

    domain: str | None = None
    half_life_days: float = 45.0
    own_half_life_days: float | None = None
    prior: float = 10.0
    breadth: float = 0.0
    liked_at: float | None = None
    period_days: float = 30.0
    most_periods: int = 64

    def __post_init__(self) -> None:
        if not self.half_life_days > 0 or not (self.own_half_life_days is None or self.own_half_life_days > 0):
            raise ValueError(
                f"half-lives must be positive, got {self.half_life_days} and own {self.own_half_life_days}"
            )
        if not self.prior >= 0 or not self.breadth >= 0:
            raise ValueError(f"prior and breadth must not be negative, got {self.prior} and {self.breadth}")
        if not self.period_days > 0 or self.most_periods < 1:
            raise ValueError(
                f"period_days must be positive and most_periods at least 1, got {self.period_days} and {self.most_periods}"
            )

    @property
    def name(self) -> str:
        """`contemporary_popularity`, or `contemporary_popularity_single` for one domain."""
        return self.kind if self.domain is None else f"{self.kind}_single"


@dataclasses.dataclass(frozen=True, eq=False)
class ContemporaryPopularityModel:
    """What share of a domain's interactions went to each item around each period.

    score(u, i) = sum over the person's entries j of w(u, j) s(t(j), i), with w(u, j) in proportion to
    2^(-(t(latest) - t(j)) / own_half_life) and of sum 1, and

    s(t, i) = (sum over t' of 2^(-|t - t'| / half_life) a(t', i) + prior p(i)) / (the same, summed over the items of the domain),

    where a(t', i) is what people did with the item in period t' (its strength, or 1 if liked, times breadth) and p(i) the
    item's share of the domain over all times. It is the probability of an item if a person's next interaction happens at one
    of their own moments, so scores are in [0, 1].

    Source: popularity in a window around the moment of the request is the strongest unpersonalised baseline in Ji, Sun, Zhang and
    Li, "A Re-visit of the Popularity Baseline in Recommender Systems", SIGIR 2020; here the kernel replaces the window and the
    person's own moments the request. The prior is the Dirichlet smoothing of Zhai and Lafferty, TOIS 2004.

    Attributes:
        config: Parameters.
        item_keys: Keys of all items.
        start: Start of the first period in microseconds since 1970 UTC.
        period: Length of a period in microseconds.
        shares: s, float32, shape (periods, items); a column of zeros for an item without an amount.
    """

    config: ContemporaryPopularityConfig
    item_keys: pa.StringArray
    start: int
    period: int
    shares: NDArray[np.float32]

    def periods_of(self, last_at: NDArray[np.int64]) -> NDArray[np.int64]:
        """Period of each time, the first or the last one for times outside of training."""
        return np.clip((last_at - self.start) // self.period, 0, len(self.shares) - 1)

    def moments(self, people: Interactions) -> csr_matrix:
        """The weight w of each entry that is looked at, people x items CSR, float32."""
        check_same_items(self.item_keys, people)
        seen = _looked_at(people, self.config)
        weight = np.ones(seen.entries)
        if self.config.own_half_life_days is not None and seen.entries:
            latest = np.full(seen.shape[0], np.iinfo(np.int64).min)
            np.maximum.at(latest, seen.rows, seen.last_at)
            weight = np.exp2(-(latest[seen.rows] - seen.last_at) / (self.config.own_half_life_days * _DAY))
        total = np.bincount(seen.rows, weights=weight, minlength=seen.shape[0])
        return seen.csr((weight / total[seen.rows]).astype(np.float32))

    def activity(self, people: Interactions) -> NDArray[np.float32]:
        """Share of a person's weight that is in each period, shape (people, periods); zeros for who did nothing."""
        moments = self.moments(people)
        period = self.periods_of(_looked_at(people, self.config).last_at)
        return np.asarray(
            csr_matrix((moments.data, period, moments.indptr), shape=(people.shape[0], len(self.shares))).toarray(),
            dtype=np.float32,
        )

    def scores(self, people: Interactions, columns: range) -> NDArray[np.float32]:
        """See `Recommender.scores`."""
        activity, shares = self.activity(people), self.shares[:, columns.start : columns.stop]
        # One BLAS thread, so that the sums do not depend on the number of threads.
        with BLAS.limit(limits=1):
            scores: NDArray[np.float32] = activity @ shares
        scores[~activity.any(axis=1)] = -np.inf
        scores += np.where(shares.any(axis=0), np.float32(0), np.float32(-np.inf))
        return scores

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """See `Recommender.top_k`."""
        return top_k_by_factors(self.activity(people), self.shares.T, people.consumed(), k, columns=columns)

    def explain(self, people: Interactions, items: NDArray[np.int32], most: int = 3) -> Reasons:
        """See `Recommender.explain`; when the person was active speaks for an item, and no past item of that time does."""
        return Reasons.nothing(items.shape[0], items.shape[1], most)

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        return {
            "model": self.config.name,
            "config": self.config.to_json(),
            "items": len(self.item_keys),
            "items_scored": int(self.shares.any(axis=0).sum()),
            "periods": len(self.shares),
            "period_days": self.period / _DAY,
        }

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        return {
            "item_keys": keys_to_array(self.item_keys),
            "start": np.array(self.start, dtype=np.int64),
            "period": np.array(self.period, dtype=np.int64),
            "shares": self.shares,
        }

    @staticmethod
    def from_arrays(arrays: Arrays, config: ContemporaryPopularityConfig) -> "ContemporaryPopularityModel":
        """The model that `to_arrays` took apart."""
        return ContemporaryPopularityModel(
            config,
            keys_from_array(arrays["item_keys"]),
            int(arrays["start"]),
            int(arrays["period"]),
            arrays["shares"],
        )


def fit_contemporary_popularity(
    interactions: Interactions, config: ContemporaryPopularityConfig
) -> ContemporaryPopularityModel:
    """Counts what was taken up around each period.

    Args:
        interactions: What people did.
        config: Parameters; with `domain`, entries of other domains are not looked at.

    Returns:
        The model. Without any entry it serves nobody.
    """
    seen = _looked_at(interactions, config)
    start = int(seen.last_at.min()) if seen.entries else 0
    span = seen.as_of - start + 1 if seen.entries else 1
    period = max(round(config.period_days * _DAY), -(-span // config.most_periods))
    periods, items = -(-span // period), seen.shape[1]

    when = (seen.last_at - start) // period
    amount = amounts(seen, config.liked_at) * _elsewhere(seen) ** config.breadth
    counts = np.bincount(when * items + seen.indices, weights=amount, minlength=periods * items).reshape(periods, items)
    distance = np.abs(np.subtract.outer(np.arange(periods), np.arange(periods))) * (period / _DAY)
    overall = counts.sum(axis=0)
    with BLAS.limit(limits=1):
        around = np.exp2(-distance / config.half_life_days) @ counts
    for domain in seen.domains:
        columns = seen.domain_range(domain)
        part = slice(columns.start, columns.stop)
        total = overall[part].sum()
        if total > 0:
            around[:, part] += config.prior * overall[part] / total
            mass = around[:, part].sum(axis=1, keepdims=True)
            around[:, part] = np.divide(around[:, part], mass, out=np.zeros_like(around[:, part]), where=mass > 0)
    return ContemporaryPopularityModel(config, interactions.item_keys, start, period, around.astype(np.float32))


def _looked_at(interactions: Interactions, config: ContemporaryPopularityConfig) -> Interactions:
    return interactions if config.domain is None else interactions.where(interactions.domain_mask(config.domain))


def _elsewhere(interactions: Interactions) -> NDArray[np.float64]:
    """For each entry the number of the same person's entries on other domains, shape (entries,)."""
    domain = interactions.item_domain[interactions.indices].astype(np.int64)
    group = interactions.rows * np.int64(len(interactions.domains)) + domain
    own = np.bincount(group)[group] if len(group) else group
    return np.asarray(np.diff(interactions.indptr)[interactions.rows] - own, dtype=np.float64)

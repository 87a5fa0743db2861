"""Factors on one domain from factors on the others.

Holds the map that is learned from people who are on both sides, and the model that serves people whose history is elsewhere
only. The factors on each side are those of `als`; the way from item to item without factors is in `bridge`, one space for all
domains is `als_joint`.
"""

import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models_ml.als import ALSConfig, ALSModel, fit_als
from models_ml.fold_in import ItemBasis, contributions
from models_ml.interactions import Interactions
from models_ml.model import Arrays, ModelConfig, check_same_items, keys_from_array, keys_to_array, top_k_by_model
from models_ml.preference import Scale, Weighting
from models_ml.reasons import Contributions, Reasons, name_strongest
from models_ml.retrieval import TopK, top_k_by_factors


@dataclasses.dataclass(frozen=True)
class MappedConfig(ModelConfig):
    """Parameters of the map and of the ALS on each side.

    Attributes:
        factors: Length of the factors on both sides, >= 1.
        regularization: As in `ALSConfig`.
        alpha: As in `ALSConfig`.
        iterations: As in `ALSConfig`.
        weighting: As in `ALSConfig`.
        ridge: Squared length of the map, relative to the mean squared length of a source factor times the number of people,
            > 0. The larger it is, the closer everyone is to the mean person of the target.
        emphasis: A person with n interactions on the smaller of their sides counts n^emphasis, in [0, 1].
        seed: Seed of the initial factors.
    """

    kind: ClassVar[str] = "mapped"

    factors: int = 64
    regularization: float = 200.0
    alpha: float = 40.0
    iterations: int = 15
    weighting: Weighting = "strength"
    ridge: float = 0.3
    emphasis: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        self.side(None)
        if not self.ridge > 0 or not 0 <= self.emphasis <= 1:
            raise ValueError(f"ridge must be positive and emphasis in [0, 1], got {self.ridge} and {self.emphasis}")

    def side(self, domain: str | None) -> ALSConfig:
        """Parameters of the ALS on one domain, or on all that it is given."""
        return ALSConfig(
            domain=domain,
            factors=self.factors,
            weighting=self.weighting,
            seed=self.seed,
            regularization=self.regularization,
            alpha=self.alpha,
            iterations=self.iterations,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class MappedModel:
    """score(u, i) = y(i) . (W x(u) + b), with x(u) the person's factor on all other domains.

    W and b minimise sum over the people on both sides of n(u) |z(u) - W x(u) - b|^2 + ridge' |W|^2, with z(u) the person's
    factor on the target, n(u) = (the smaller number of interactions)^emphasis relative to its mean, and ridge' = ridge sum n(u)
    |x(u)|^2 / factors, x less its mean. It is kept as factors W' y(i) and offsets y(i) . b of the target's items in the space of
    the source.

    Source: Man, Shen, Jin and Cheng, "Cross-Domain Recommendation: An Embedding and Mapping Approach", IJCAI 2017 (EMCDR), with the
    linear map; the intercept is added, so that who is hardly known gets what the mean person likes.

    Attributes:
        config: Parameters.
        item_keys: Keys of all items.
        domain_offsets: Items of domain d are `domain_offsets[d]:domain_offsets[d + 1]`.
        source_factors: For each target domain the item factors on all others, float32, shape (domains, items, factors); zeros
            for the items of the target.
        source_scale: Mean of the positive preferences on the others, float64, shape (domains,).
        mapped_factors: W' y(i), float32, shape (items, factors).
        offsets: y(i) . b, float32, shape (items,).
    """

    config: MappedConfig
    item_keys: pa.StringArray
    domain_offsets: NDArray[np.int64]
    source_factors: NDArray[np.float32]
    source_scale: NDArray[np.float64]
    mapped_factors: NDArray[np.float32]
    offsets: NDArray[np.float32]
    names_features: ClassVar[bool] = False

    def source(self, domain: int) -> ALSModel:
        """The ALS of everything but one domain."""
        # Without a half-life, it does not matter what ages are measured from.
        scale = Scale(float(self.source_scale[domain]), as_of=0)
        return ALSModel(self.config.side(None), self.item_keys, self.source_factors[domain], scale)

    def scores(self, people: Interactions, columns: range) -> NDArray[np.float32]:
        """See `Recommender.scores`; -inf for people without history on other domains."""
        check_same_items(self.item_keys, people)
        scores = np.full((people.shape[0], len(columns)), -np.inf, dtype=np.float32)
        for domain, first, stop in self._parts(columns):
            users, items = self._factors(people, domain, first, stop)
            # One BLAS thread, so that the sums do not depend on the number of threads.
            with threadpool_limits(limits=1, user_api="blas"):
                block = users @ items.T
            block[~users.any(axis=1)] = -np.inf
            block[:, ~items.any(axis=1)] = -np.inf
            scores[:, first - columns.start : stop - columns.start] = block
        return scores

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """See `Recommender.top_k`; over several domains by dense scores, since each has its own factors of people."""
        parts = self._parts(columns)
        if len(parts) != 1:
            return top_k_by_model(self, people, columns, k)
        domain, first, stop = parts[0]
        users, _ = self._factors(people, domain, first, stop)
        items = np.column_stack([self.mapped_factors, self.offsets])
        return top_k_by_factors(users, items, people.consumed(), k, columns=columns)

    def explain(self, people: Interactions, items: NDArray[np.int32], most: int = 3) -> Reasons:
        """See `Recommender.explain`: the past items that add most. The offset is part of the score and of no share."""
        reasons = Reasons.nothing(len(items), items.shape[1], most)
        for found in self.contributions(people, items):
            listed = items[found.people]
            name_strongest(reasons, found, listed, self.offsets[listed])
        return reasons

    def contributions(self, people: Interactions, items: NDArray[np.int32]) -> Iterator[Contributions]:
        """See `Additive.contributions`; the offset is added by no past item."""
        check_same_items(self.item_keys, people)
        for domain, first, stop in self._parts(range(len(self.item_keys))):
            source = self.source(domain)
            is_here = (items >= first) & (items < stop)
            # A contribution to a listed item is one in the source model, with the item's mapped factor for its own.
            rotated = source.basis.rotated.copy()
            rotated[first:stop] = self.mapped_factors[first:stop] @ source.basis.rotation
            basis = ItemBasis(rotated, source.basis.spectrum, source.basis.rotation)
            listed_here = np.where(is_here, items, -1).astype(np.int32)
            for found in contributions(basis, source.systems(_elsewhere(people, domain)), listed_here):
                found.parts[~is_here[found.people]] = 0
                yield found

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        return {
            "model": self.config.name,
            "config": self.config.to_json(),
            "items": len(self.item_keys),
            "items_mapped": int(self.mapped_factors.any(axis=1).sum()),
        }

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        return {
            "item_keys": keys_to_array(self.item_keys),
            "domain_offsets": self.domain_offsets,
            "source_factors": self.source_factors,
            "source_scale": self.source_scale,
            "mapped_factors": self.mapped_factors,
            "offsets": self.offsets,
        }

    @staticmethod
    def from_arrays(arrays: Arrays, config: MappedConfig) -> "MappedModel":
        """The model that `to_arrays` took apart."""
        names = ("domain_offsets", "source_factors", "source_scale", "mapped_factors", "offsets")
        return MappedModel(config, keys_from_array(arrays["item_keys"]), *(arrays[name] for name in names))

    def _parts(self, columns: range) -> list[tuple[int, int, int]]:
        """Domain, first and stop of the items of each domain in a range, without empty ones."""
        edges = np.clip(self.domain_offsets, columns.start, columns.stop).tolist()
        return [(domain, first, stop) for domain, (first, stop) in enumerate(pairwise(edges)) if stop > first]

    def _factors(
        self, people: Interactions, domain: int, first: int, stop: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Factors of people and of items, with a last one for the offset; zeros for people who are nowhere else."""
        users = self.source(domain).fold_in(_elsewhere(people, domain))
        is_known = users.any(axis=1).astype(np.float32)
        items = np.column_stack([self.mapped_factors[first:stop], self.offsets[first:stop]])
        return np.column_stack([users, is_known]), items


def fit_mapped(interactions: Interactions, config: MappedConfig) -> MappedModel:
    """Trains ALS on each domain and on all others, and the map between the two.

    Args:
        interactions: What people did.
        config: Parameters.

    Returns:
        The model. Domains without anyone who is also elsewhere get no factors, and nobody a list of them.

    Raises:
        ValueError: If an ALS has no finite solution with these parameters.
    """
    domains, items = interactions.domains, interactions.shape[1]
    own = [fit_als(interactions, config.side(domain)) for domain in domains]
    source_factors = np.zeros((len(domains), items, config.factors), dtype=np.float32)
    source_scale = np.ones(len(domains))
    mapped_factors = np.zeros((items, config.factors), dtype=np.float32)
    offsets = np.zeros(items, dtype=np.float32)
    for position, target in enumerate(own):
        elsewhere = _elsewhere(interactions, position)
        # Of two domains, the one is everything but the other.
        source = own[1 - position] if len(domains) == 2 else fit_als(elsewhere, config.side(None))
        source_factors[position], source_scale[position] = source.item_factors, source.scale.mean
        x, z = source.fold_in(interactions), target.fold_in(interactions)
        both = np.flatnonzero(x.any(axis=1) & z.any(axis=1))
        if not both.size:
            continue
        away = np.diff(elsewhere.indptr)[both]
        smaller = np.minimum(away, np.diff(interactions.indptr)[both] - away)
        matrix, intercept = _map(x[both], z[both], smaller.astype(np.float64) ** config.emphasis, config.ridge)
        columns = interactions.domain_range(domains[position])
        factors = target.item_factors[columns.start : columns.stop].astype(np.float64)
        with threadpool_limits(limits=1, user_api="blas"):
            mapped_factors[columns.start : columns.stop] = factors @ matrix
            offsets[columns.start : columns.stop] = factors @ intercept
    return MappedModel(
        config,
        interactions.item_keys,
        interactions.domain_offsets,
        source_factors,
        source_scale,
        mapped_factors,
        offsets,
    )


def _elsewhere(interactions: Interactions, domain: int) -> Interactions:
    """Only the entries of other domains."""
    return interactions.where(interactions.item_domain[interactions.indices] != domain)


def _map(
    x: NDArray[np.float32], z: NDArray[np.float32], weight: NDArray[np.float64], ridge: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """W, shape (factors, factors), and b, shape (factors,); see `MappedModel`."""
    weight = (weight / weight.sum())[:, None]
    x_mean, z_mean = (weight * x).sum(axis=0), (weight * z).sum(axis=0)
    x_centred, z_centred = x - x_mean, z - z_mean
    with threadpool_limits(limits=1, user_api="blas"):
        gram = (weight * x_centred).T @ x_centred
        level = ridge * np.trace(gram) / len(gram)
        # One person, or all alike: nothing to tell people apart by.
        matrix = (
            np.linalg.solve(gram + level * np.eye(len(gram)), (weight * x_centred).T @ z_centred).T
            if level > 0
            else np.zeros((z.shape[1], x.shape[1]))
        )
    return matrix, z_mean - matrix @ x_mean

"""A bridge of co-occurrence from what people took up on other domains to the items of one.

Holds a linear model from past items on one side to items on the other, learned from the people who are on both. It serves
people whose history is elsewhere only, and says which past items speak for an item. The way through factors instead of items
is in `mapped`; weights within a domain are in `ease` and `neighbours`.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from models_ml.interactions import Interactions
from models_ml.item_to_item import histories, present
from models_ml.model import Arrays, ModelConfig, check_same_items, keys_from_array, keys_to_array, top_k_by_model
from models_ml.popularity import amounts
from models_ml.reasons import Contributions, Reasons, name_strongest
from models_ml.retrieval import TopK

_BLOCK = 1024


@dataclasses.dataclass(frozen=True)
class BridgeConfig(ModelConfig):
    """Parameters of the bridge.

    Attributes:
        regularization: Squared length of the weights, in people, > 0. The larger it is, the closer the scores are to
            popularity among people who are on both sides.
        activity_discount: A person who took up n items of the target counts n^-activity_discount, in [0, 1].
        liked_at: What is predicted is whether a person's strength for an item is at least this; None predicts the strength.
        most_sources: Past items that are looked at, those with the most people, >= 1. Fitting takes 16 most_sources^2 bytes.
        most_targets: Items of a target that are predicted, those with the most people, >= 1. The model takes
            4 most_sources x most_targets bytes for each target.
    """

    kind: ClassVar[str] = "bridge"

    regularization: float = 500.0
    activity_discount: float = 0.0
    liked_at: float | None = None
    most_sources: int = 2000
    most_targets: int = 4000

    def __post_init__(self) -> None:
        if not self.regularization > 0 or not 0 <= self.activity_discount <= 1:
            raise ValueError(
                "regularization must be positive and activity_discount in [0, 1], got "
                f"{self.regularization} and {self.activity_discount}"
            )
        if self.most_sources < 1 or self.most_targets < 1:
            raise ValueError(
                f"most_sources and most_targets must be at least 1, got {self.most_sources} and {self.most_targets}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Span:
    """The bridge to one domain from all others.

    Attributes:
        sources: Past items that are looked at, ascending, shape (sources,).
        targets: Items that are predicted, ascending, shape (targets,).
        prior: Score of each target for a person with none of the sources, float32, shape (targets,).
        weights: What each source adds to it, float32, shape (sources, targets).
    """

    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    prior: NDArray[np.float32]
    weights: NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class BridgeModel:
    """score(u, i) = prior(i) + sum over the person's past items j of other domains of w(j, i).

    Over the people L who are on both sides, with x(u, j) = 1 for what they took up elsewhere and
    y(u, i) = a(u, i) / n(u)^activity_discount for what they did on the target, it minimises

    sum over u in L of |y(u) - prior - x(u) W|^2 + regularization |W|^2,

    so W = (X'X + regularization I)^-1 X'Y with X and Y less their means, and prior = mean(y) - mean(x) W. Whoever took up nothing
    that counts gets about the popularity among L; a past item moves it only as far as the people who have it bear it out.

    It was chosen by measurement on Epinions over sums of shrunk cosines from item to item, which fall behind popularity there: they
    count past items that say the same over and over, where a ridge weighs them once.

    Source: ridge regression of Hoerl and Kennard, Technometrics 1970, from items to items as in Steck, "Embarrassingly Shallow
    Autoencoders for Sparse Data", WWW 2019; source and target are disjoint here, so no diagonal needs to be zero.

    Attributes:
        config: Parameters.
        item_keys: Keys of all items.
        domain_offsets: Items of domain d are `domain_offsets[d]:domain_offsets[d + 1]`.
        spans: The bridge to each domain.
    """

    config: BridgeConfig
    item_keys: pa.StringArray
    domain_offsets: NDArray[np.int64]
    spans: tuple[Span, ...]
    names_features: ClassVar[bool] = False

    def scores(self, people: Interactions, columns: range) -> NDArray[np.float32]:
        """See `Recommender.scores`; -inf for people without history on other domains."""
        taken = self._taken(people)
        scores = np.full((people.shape[0], len(columns)), -np.inf, dtype=np.float32)
        for domain, span in self._spans_of(columns):
            served = np.flatnonzero(self._is_elsewhere(people, domain))
            part = slice(*np.searchsorted(span.targets, [columns.start, columns.stop]).tolist())
            history = taken[served][:, span.sources]
            block = history @ np.ascontiguousarray(span.weights[:, part]) + span.prior[part]
            scores[np.ix_(served, span.targets[part] - columns.start)] = block
        return scores

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """See `Recommender.top_k`."""
        return top_k_by_model(self, people, columns, k)

    def explain(self, people: Interactions, items: NDArray[np.int32], most: int = 3) -> Reasons:
        """See `Recommender.explain`: the past items that add most. The prior is part of the score and of no share."""
        reasons = Reasons.nothing(len(items), items.shape[1], most)
        prior = np.zeros(len(self.item_keys), dtype=np.float32)
        for span in self.spans:
            prior[span.targets] = span.prior
        for found in self.contributions(people, items):
            listed = items[found.people]
            name_strongest(reasons, found, listed, prior[listed])
        return reasons

    def contributions(self, people: Interactions, items: NDArray[np.int32]) -> Iterator[Contributions]:
        """See `Additive.contributions`: w(j, i); the prior is added by no past item."""
        taken = self._taken(people)
        for domain, span in self._spans_of(range(len(self.item_keys))):
            first, stop = self.domain_offsets[domain : domain + 2]
            target, source = (np.full(len(self.item_keys) + 1, -1, dtype=np.int64) for _ in range(2))
            target[span.targets] = np.arange(len(span.targets))
            source[span.sources] = np.arange(len(span.sources))
            listed_here = np.where((items >= first) & (items < stop) & (target[items] >= 0), items, -1).astype(np.int32)
            history = taken.copy()
            history.data *= source[history.indices] >= 0
            history.eliminate_zeros()
            for rows, past, is_there in histories(history, listed_here):
                place = target[listed_here[rows]]
                parts = span.weights[source[past][:, None, :], place[:, :, None]]
                parts *= is_there[:, None, :]
                parts *= (place >= 0)[:, :, None]
                yield Contributions(rows, present(past, is_there), parts)

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        return {
            "model": self.config.name,
            "config": self.config.to_json(),
            "items": len(self.item_keys),
            "sources": [len(span.sources) for span in self.spans],
            "targets": [len(span.targets) for span in self.spans],
        }

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        arrays: Arrays = {"item_keys": keys_to_array(self.item_keys), "domain_offsets": self.domain_offsets}
        for position, span in enumerate(self.spans):
            for field in dataclasses.fields(span):
                arrays[f"{field.name}_{position}"] = getattr(span, field.name)
        return arrays

    @staticmethod
    def from_arrays(arrays: Arrays, config: BridgeConfig) -> "BridgeModel":
        """The model that `to_arrays` took apart."""
        names = [field.name for field in dataclasses.fields(Span)]
        spans = tuple(
            Span(*(arrays[f"{name}_{position}"] for name in names))
            for position in range(len(arrays["domain_offsets"]) - 1)
        )
        return BridgeModel(config, keys_from_array(arrays["item_keys"]), arrays["domain_offsets"], spans)

    def _taken(self, people: Interactions) -> csr_matrix:
        """What people took up, over the items of the model; see `_presence`."""
        check_same_items(self.item_keys, people)
        return _presence(people)

    def _spans_of(self, columns: range) -> Iterator[tuple[int, Span]]:
        """The domains that have items in the range and a bridge."""
        for domain, span in enumerate(self.spans):
            first, stop = self.domain_offsets[domain : domain + 2]
            if len(span.targets) and first < columns.stop and stop > columns.start:
                yield domain, span

    def _is_elsewhere(self, people: Interactions, domain: int) -> NDArray[np.bool_]:
        """Who took up anything outside of a domain, shape (people,)."""
        outside = (people.strength > 0) & (people.item_domain[people.indices] != domain)
        return np.bincount(people.rows[outside], minlength=people.shape[0]) > 0


def fit_bridge(interactions: Interactions, config: BridgeConfig) -> BridgeModel:
    """Fits the bridge to each domain in closed form, in double precision.

    Args:
        interactions: What people did.
        config: Parameters.

    Returns:
        The model; the same bits whatever the number of threads. A domain without people who are also elsewhere has no bridge.
    """
    spans = tuple(_span(interactions, domain, config) for domain in range(len(interactions.domains)))
    return BridgeModel(config, interactions.item_keys, interactions.domain_offsets, spans)


def _presence(people: Interactions) -> csr_matrix:
    """1 for everything that people took up, people x items CSR, float32."""
    taken = people.where(people.strength > 0)
    return taken.csr(np.ones(taken.entries, dtype=np.float32))


def _span(interactions: Interactions, domain: int, config: BridgeConfig) -> Span:
    is_target = interactions.item_domain[interactions.indices] == domain
    here, elsewhere = interactions.where(is_target), _presence(interactions.where(~is_target))
    amount = here.csr(amounts(here, config.liked_at))
    amount.eliminate_zeros()
    both = np.flatnonzero((np.diff(amount.indptr) > 0) & (np.diff(elsewhere.indptr) > 0))
    taken, past = amount[both], elsewhere[both].astype(np.float64)
    each = np.diff(taken.indptr)
    taken.data *= np.repeat(each.astype(np.float64) ** -config.activity_discount, each)
    sources, targets = _most_taken(past, config.most_sources), _most_taken(taken, config.most_targets)
    past, taken = past[:, sources], taken[:, targets]

    weights = np.zeros((len(sources), len(targets)), dtype=np.float32)
    if not len(both):
        return Span(sources, targets, np.zeros(len(targets), dtype=np.float32), weights)
    past_mean, taken_mean = np.asarray(past.mean(axis=0)).ravel(), np.asarray(taken.mean(axis=0)).ravel()
    prior = np.empty(len(targets))
    with threadpool_limits(limits=1, user_api="blas"):
        gram = (past.T @ past).toarray() - len(both) * np.outer(past_mean, past_mean)
        gram[np.diag_indices_from(gram)] += config.regularization
        factor = cho_factor(gram, lower=True, overwrite_a=True)
        for start in range(0, len(targets), _BLOCK):
            part = slice(start, start + _BLOCK)
            moment = (past.T @ taken[:, part]).toarray() - len(both) * np.outer(past_mean, taken_mean[part])
            solved = cho_solve(factor, moment, overwrite_b=True)
            weights[:, part] = solved
            prior[part] = taken_mean[part] - past_mean @ solved
    return Span(sources, targets, prior.astype(np.float32), weights)


def _most_taken(matrix: csr_matrix, most: int) -> NDArray[np.int64]:
    """Columns with the most stored entries, at most `most` and those with any, ascending."""
    people = np.bincount(matrix.indices, minlength=matrix.shape[1])
    first = np.argsort(-people, kind="stable")[:most]
    return np.sort(first[people[first] > 0]).astype(np.int64)

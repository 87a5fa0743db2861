"""Factors for items that few people or nobody have had to do with, from what they are about.

Holds the regression from content to the item factors of another model, and the mixture of the two. Training of the factors is in
`als` and `ials`, what follows from them in `factors`, features in `content`. Which places of a list are given to new items
regardless of their score is decided in `exploration`.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from models_ml.als import ALSConfig, ALSModel, fit_als
from models_ml.content import ItemContent
from models_ml.content_model import content_of, content_reasons
from models_ml.ials import IALSConfig, IALSModel, fit_ials
from models_ml.interactions import Interactions
from models_ml.model import Arrays, ModelConfig
from models_ml.reasons import Contributions, Reasons
from models_ml.retrieval import TopK

_BASES: dict[str, type[ALSConfig] | type[IALSConfig]] = {config.kind: config for config in (ALSConfig, IALSConfig)}


@dataclasses.dataclass(frozen=True)
class ColdItemsConfig(ModelConfig):
    """Parameters of factors from content.

    Attributes:
        base: The model whose item factors are learned, or its parameters as JSON values.
        ridge: Regularisation of the regression relative to the mean weight of an item, > 0.
        emphasis: An item with n positive interactions weighs n^emphasis in the regression, in [0, 1]. The larger it is, the
            more the factor of a new item is like those of popular ones in length: at 0 new items are all but never
            listed, at 1 they take so many places that lists suffer.
        shrinkage: Number of positive interactions at which an item's own factor and the predicted one count the same, >= 0.
    """

    kind: ClassVar[str] = "als_content"

    base: ALSConfig | IALSConfig = dataclasses.field(default_factory=ALSConfig)
    ridge: float = 1.0
    emphasis: float = 0.5
    shrinkage: float = 20.0

    def __post_init__(self) -> None:
        if isinstance(self.base, Mapping):
            object.__setattr__(self, "base", _base_from_json(self.base))
        if not self.ridge > 0 or not 0 <= self.emphasis <= 1 or not self.shrinkage >= 0:
            raise ValueError(
                "ridge must be positive, emphasis in [0, 1] and shrinkage not negative, got "
                f"{self.ridge}, {self.emphasis} and {self.shrinkage}"
            )

    def to_json(self) -> dict[str, Any]:
        """The parameters with `kind`, those of the base nested."""
        return {**super().to_json(), "base": self.base.to_json()}


def _base_from_json(values: Mapping[str, Any]) -> ALSConfig | IALSConfig:
    kind = values.get("kind")
    if kind not in _BASES:
        raise ValueError(f"the base of als_content is one of {', '.join(_BASES)}, got {kind!r}")
    return _BASES[kind](**{name: value for name, value in values.items() if name != "kind"})


@dataclasses.dataclass(frozen=True, eq=False)
class ColdItemsModel:
    """A factor model whose item factors lean on content where there is little else.

    The factor of an item with n positive interactions, learned factor y and features f is
    n / (n + shrinkage) y + shrinkage / (n + shrinkage) g(f), with g(f) = B f + b the minimum of
    sum over items with n > 0 of w(i) |y(i) - B f(i) - b|^2 + ridge |B|^2, w = n^emphasis / (mean of n^emphasis). An item
    without features keeps its own factor. People are folded in by the mixed factors, so new items count in their
    history too, and scores, lists and contributions are those of the base model with other item factors.

    Sources: Gantner et al., "Learning Attribute-to-Feature Mappings for Cold-Start Recommendations", ICDM 2010 (the
    regression); Agarwal and Chen, "Regression-based Latent Factor Models", KDD 2009 (shrinking towards it by what is known).

    Attributes:
        config: Parameters.
        base: The base model with the mixed factors.
        interactions_of: Number of positive interactions in training of each item, int32, shape (items,).
        content: Features of the items.
    """

    config: ColdItemsConfig
    base: ALSModel | IALSModel
    interactions_of: NDArray[np.int32]
    content: ItemContent
    names_features: ClassVar[bool] = True

    @property
    def item_factors(self) -> NDArray[np.float32]:
        """The mixed factors, shape (items, factors)."""
        return self.base.item_factors

    def scores(self, people: Interactions, columns: range) -> NDArray[np.float32]:
        """See `Recommender.scores`."""
        return self.base.scores(people, columns)

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """See `Recommender.top_k`."""
        return self.base.top_k(people, columns, k)

    def explain(self, people: Interactions, items: NDArray[np.int32], most: int = 3) -> Reasons:
        """See `Recommender.explain`.

        Past items as in the base model; for the items whose factor is more than half predicted also the features that
        they share with the person's positive history.
        """
        reasons = self.base.explain(people, items, most)
        leaning = self.interactions_of < self.config.shrinkage
        leaning |= self.interactions_of == 0
        predicted = np.where((items >= 0) & leaning[items], items, -1).astype(np.int32)
        history = self.base.relative_preference(people)
        return dataclasses.replace(reasons, features=content_reasons(self.content, history, predicted, most).features)

    def contributions(self, people: Interactions, items: NDArray[np.int32]) -> Iterator[Contributions]:
        """See `Additive.contributions`: those of the base model."""
        return self.base.contributions(people, items)

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        has_factor = self.base.item_factors.any(axis=1)
        return {
            "model": self.config.name,
            "config": self.config.to_json(),
            "items": len(self.interactions_of),
            "items_with_factors": int(has_factor.sum()),
            "new_items_with_factors": int((has_factor & (self.interactions_of == 0)).sum()),
            "mean_preference": self.base.scale.mean,
        }

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        return {**self.base.to_arrays(), **self.content.to_arrays(), "interactions_of": self.interactions_of}

    @staticmethod
    def from_arrays(arrays: Arrays, config: ColdItemsConfig) -> "ColdItemsModel":
        """The model that `to_arrays` took apart."""
        base = (
            ALSModel.from_arrays(arrays, config.base)
            if isinstance(config.base, ALSConfig)
            else IALSModel.from_arrays(arrays, config.base)
        )
        return ColdItemsModel(config, base, arrays["interactions_of"], ItemContent.from_arrays(arrays))


def fit_cold_items(interactions: Interactions, config: ColdItemsConfig) -> ColdItemsModel:
    """Trains the base model and the regression from content to its item factors.

    The same interactions and configuration give the same factors, bit for bit, whatever the number of threads. The
    regression runs on the sparse features, one conjugate gradient for each factor; memory is that of the factors twice.

    Args:
        interactions: What people did, with the content of the items. Without content it is the base model.
        config: Parameters.

    Raises:
        ValueError: If the base model has no finite solution with these parameters.
    """
    base = (
        fit_als(interactions, config.base)
        if isinstance(config.base, ALSConfig)
        else fit_ials(interactions, config.base)
    )
    content = content_of(interactions)
    positive = config.base.relative_preference(interactions, base.scale).indices
    count = np.bincount(positive, minlength=interactions.shape[1]).astype(np.int32)
    # A domain that the base does not look at has no factor to learn, and none to predict.
    looked_at = np.ones(interactions.shape[1], dtype=np.bool_)
    if config.base.domain is not None:
        looked_at = interactions.item_domain == interactions.domains.index(config.base.domain)
    known = np.flatnonzero(looked_at & (np.diff(content.features.indptr) > 0))
    mixed = base.item_factors.copy()
    mixed[known] = _mixed_factors(mixed[known], content.features[known], count[known], config)
    return ColdItemsModel(config, dataclasses.replace(base, item_factors=mixed), count, content)


def _mixed_factors(
    learned: NDArray[np.float32], features: csr_matrix, count: NDArray[np.int32], config: ColdItemsConfig
) -> NDArray[np.float32]:
    """Learned factors shrunk towards those predicted from features, for items with features; see `ColdItemsModel`."""
    taught = np.flatnonzero(count)
    if not taught.size:
        return learned
    weight = count[taught].astype(np.float64) ** config.emphasis
    regression = Ridge(alpha=config.ridge, solver="sparse_cg", tol=1e-6)
    values = features.astype(np.float64)
    with threadpool_limits(limits=1, user_api="blas"):
        regression.fit(values[taught], learned[taught].astype(np.float64), sample_weight=weight / weight.mean())
        predicted = regression.predict(values).reshape(learned.shape)
    own = np.divide(count, count + config.shrinkage, out=np.zeros(len(count)), where=count > 0)[:, None]
    return np.asarray(own * learned + (1 - own) * predicted, dtype=np.float32)

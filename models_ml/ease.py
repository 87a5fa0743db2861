"""EASE: a linear autoencoder of items in closed form, on one domain or jointly on several.

Holds the fit. It needs an inverse of items x items, so it looks at the items with the most people only; scores, lists and
reasons are those of `item_to_item`, and catalogues that do not fit are left to `neighbours`.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from models_ml.interactions import Interactions
from models_ml.item_to_item import ItemToItemModel, Scorer
from models_ml.model import Arrays, keys_from_array
from models_ml.preference import PreferenceConfig, Scale, Weighting


@dataclasses.dataclass(frozen=True)
class EASEConfig(PreferenceConfig):
    """Parameters of EASE. See `PreferenceConfig` for the domain.

    Attributes:
        regularization: Squared length of the weights, in interactions, > 0.
        dropout: Share of a person's interactions that is hidden at random in the (expected) training, in [0, 1). It
            regularises an item by how many people have it. 0 is plain EASE.
        max_items: Items with the most people that are looked at, >= 1. Fitting takes 8 max_items^2 bytes of memory besides
            the result of 4 max_items^2, and time in proportion to max_items^3.
        weighting: As in `PreferenceConfig`; the method as published is `binary`.
    """

    kind: ClassVar[str] = "ease"

    weighting: Weighting = "binary"
    regularization: float = 500.0
    dropout: float = 0.0
    max_items: int = 6000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.regularization > 0 or not 0 <= self.dropout < 1 or self.max_items < 1:
            raise ValueError(
                "regularization must be positive, dropout in [0, 1) and max_items at least 1, got "
                f"{self.regularization}, {self.dropout} and {self.max_items}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class EASEModel(ItemToItemModel):
    """Weights B from item to item.

    Minimises |X - X B|^2 + sum over i, j of ridge(i) B(i, j)^2 with the diagonal of B zero, where X are the preferences relative to
    their mean and ridge(i) = regularization + dropout / (1 - dropout) sum over u of X(u, i)^2. With
    P = (X'X + diag(ridge))^-1, B(i, j) = -P(i, j) / P(j, j).

    Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, equation 8; the dropout, in expectation, is from
    Steck, "Autoencoders that don't overfit towards the Identity", NeurIPS 2020, section 3.

    Attributes:
        kept: Items that are looked at, ascending, shape (kept,).
        weights: B of the kept items, float32, shape (kept, kept).
    """

    config: EASEConfig
    kept: NDArray[np.int64]
    weights: NDArray[np.float32]

    def candidates(self, columns: range) -> NDArray[np.int64]:
        """See `ItemToItemModel.candidates`: the kept items."""
        return self.kept[self._part(columns.start, columns.stop)]

    def scorer(self, candidates: NDArray[np.int64]) -> Scorer:
        """See `ItemToItemModel.scorer`: every kept item has a score for whoever has a kept item."""
        first = int(np.searchsorted(self.kept, candidates[0])) if len(candidates) else 0
        # All rows of a range of columns: a copy, but for a model of one domain, whose whole matrix it is.
        weights = np.ascontiguousarray(self.weights[:, first : first + len(candidates)])

        def scores(history: csr_matrix) -> NDArray[np.float32]:
            known = history[:, self.kept]
            scores: NDArray[np.float32] = known @ weights
            scores[np.diff(known.indptr) == 0] = -np.inf
            return scores

        return scores

    def weights_at(self, past: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        """See `ItemToItemModel.weights_at`."""
        position = np.full(len(self.item_keys), -1, dtype=np.int64)
        position[self.kept] = np.arange(len(self.kept))
        rows, columns = position[past], position[items]
        if not len(self.kept):
            return np.zeros(np.broadcast_shapes(rows.shape, columns.shape), dtype=np.float32)
        weights: NDArray[np.float32] = self.weights[rows, columns]
        weights[np.broadcast_to((rows < 0) | (columns < 0), weights.shape)] = 0
        return weights

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        return {**super().describe(), "items_kept": len(self.kept)}

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        return {**super().to_arrays(), "kept": self.kept, "weights": self.weights}

    @staticmethod
    def from_arrays(arrays: Arrays, config: EASEConfig) -> "EASEModel":
        """The model that `to_arrays` took apart."""
        item_keys = keys_from_array(arrays["item_keys"])
        return EASEModel(config, item_keys, Scale.from_arrays(arrays), arrays["kept"], arrays["weights"])

    def _part(self, start: int, stop: int) -> slice:
        return slice(*np.searchsorted(self.kept, [start, stop]).tolist())


def fit_ease(interactions: Interactions, config: EASEConfig) -> EASEModel:
    """Fits EASE by one Cholesky inverse in double precision.

    Args:
        interactions: What people did.
        config: Parameters; with `domain`, entries of other domains are not looked at.

    Returns:
        The model; the same bits whatever the number of threads. Without any positive preference it keeps no item and serves
        nobody.

    Raises:
        ValueError: If the regularisation is too small for the system to be solved.
    """
    scale = config.scale(interactions)
    preference = config.relative_preference(interactions, scale)
    people = np.bincount(preference.indices, minlength=interactions.shape[1])
    most = np.argsort(-people, kind="stable")[: config.max_items]
    kept = np.sort(most[people[most] > 0])
    weights = _closed_form(preference[:, kept].astype(np.float64), config)
    return EASEModel(config, interactions.item_keys, scale, kept, weights)


def _closed_form(preference: csr_matrix, config: EASEConfig) -> NDArray[np.float32]:
    """B of all columns, shape (items, items)."""
    items = preference.shape[1]
    if not items:
        return np.zeros((0, 0), dtype=np.float32)
    # In the order in which LAPACK works in place; X'X is symmetric.
    gram = (preference.T @ preference).toarray(order="F")
    diagonal = np.arange(items)
    dropped = config.dropout / (1 - config.dropout)
    gram[diagonal, diagonal] += config.regularization + dropped * gram[diagonal, diagonal]
    with threadpool_limits(limits=1, user_api="blas"):
        factor, failed = lapack.dpotrf(gram, lower=1, overwrite_a=1)
        if not failed:
            inverse, failed = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise ValueError(f"{config.name} has no solution with regularization {config.regularization}; raise it")
    # The upper triangle of the result still holds the upper triangle of X'X: row i of P is column i of the lower one.
    weights: NDArray[np.float32] = np.tril(inverse).astype(np.float32)
    weights += np.tril(weights, -1).T
    weights /= -weights[diagonal, diagonal].copy()
    weights[diagonal, diagonal] = 0
    return weights

"""Implicit alternating least squares, on one domain or jointly on several.

Holds the training by `implicit` and what a person's least squares problem is. The same model with regularisation scaled by
frequency is in `ials`; what follows from item factors (people who were not in training, or who have history on the other domain
only, are served in the same way as everyone else) is in `factors`, the choice of parameters in `search`.
"""

import dataclasses
import warnings
from typing import ClassVar

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.recommender_base import ModelFitError
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from models_ml.factors import FactorConfig, FactorModel, learned, unsolvable
from models_ml.fold_in import Systems
from models_ml.interactions import Interactions
from models_ml.model import Arrays, keys_from_array
from models_ml.preference import Scale


@dataclasses.dataclass(frozen=True)
class ALSConfig(FactorConfig):
    """Parameters of ALS. See `FactorConfig` for the others.

    Attributes:
        regularization: Weight of the squared length of the factors, > 0. The library's default of 0.01 is too small: it
            barely beats popularity.
        alpha: How much more than an unseen item an average interaction weighs, >= 0.
        iterations: Alternations, >= 1.
    """

    kind: ClassVar[str] = "als"

    regularization: float = 50.0
    alpha: float = 10.0
    iterations: int = 15

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {self.iterations}")
        if not self.regularization > 0 or not self.alpha >= 0:
            raise ValueError(
                f"regularization must be positive and alpha not negative, got {self.regularization} and {self.alpha}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class ALSModel(FactorModel):
    """Item factors y, from which every person's factor x follows.

    Minimises sum over all pairs of c(u, i) (p(u, i) - x(u) . y(i))^2 + regularization (sum |x|^2 + sum |y|^2), with p = 1
    where the preference r is positive and 0 elsewhere, and c = 1 + alpha r / (mean of the positive r), 1 where p = 0.

    Source: Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008.
    """

    config: ALSConfig

    def systems(self, people: Interactions) -> Systems:
        """See `FactorModel.systems`."""
        history = self.relative_preference(people)
        history.data *= np.float32(self.config.alpha)
        ridge = np.full(history.shape[0], self.config.regularization)
        return Systems(history, 1 + history.data, ridge, 1.0)

    @staticmethod
    def from_arrays(arrays: Arrays, config: ALSConfig) -> "ALSModel":
        """The model that `to_arrays` took apart."""
        item_keys = keys_from_array(arrays["item_keys"])
        return ALSModel(config, item_keys, arrays["item_factors"], Scale.from_arrays(arrays))


def fit_als(interactions: Interactions, config: ALSConfig) -> ALSModel:
    """Trains ALS with `implicit`.

    The same interactions and configuration give the same factors, bit for bit, whatever the number of threads: rows are
    solved one by one, and BLAS runs on one thread, which is also what makes training fast (OpenBLAS 0.3 under `implicit`
    0.7.3 is several times slower with its own threads).

    Args:
        interactions: What people did.
        config: Parameters; with `domain`, entries of other domains are not looked at.

    Returns:
        The model. Without any positive preference it has zero factors only and serves nobody.

    Raises:
        ValueError: If the factors do not stay finite, or the system cannot be solved: regularization is too small.
    """
    item_factors = np.zeros((interactions.shape[1], config.factors), dtype=np.float32)
    scale = config.scale(interactions)
    confidence = _confidence(interactions, config, scale)
    people, items = np.flatnonzero(np.diff(confidence.indptr)), np.unique(confidence.indices)
    if len(items):
        with threadpool_limits(limits=1, user_api="blas"):
            solver = _solver(config)
            try:
                solver.fit(confidence[people][:, items].tocsr(), show_progress=False)
            except (ValueError, ModelFitError) as error:
                raise unsolvable(config) from error
        if not np.isfinite(solver.item_factors).all():
            raise unsolvable(config)
        item_factors[items] = learned(solver.item_factors)
    return ALSModel(config, interactions.item_keys, item_factors, scale)


def _solver(config: ALSConfig) -> AlternatingLeastSquares:
    """The library's trainer. Confidence comes with the matrix, so its own alpha stays 1."""
    with warnings.catch_warnings():
        # It warns about BLAS threads by the state at its first use in the process; callers here have set them to one.
        warnings.simplefilter("ignore", RuntimeWarning)
        return AlternatingLeastSquares(
            factors=config.factors,
            regularization=config.regularization,
            alpha=1.0,
            iterations=config.iterations,
            random_state=config.seed,
        )


def _confidence(interactions: Interactions, config: ALSConfig, scale: Scale) -> csr_matrix:
    """Confidence c of each positive preference, people x items CSR float32.

    `implicit` reads the stored value as c itself: a value below 1 would weigh less than an unseen item, which is why 1 is added.
    """
    confidence = config.relative_preference(interactions, scale)
    confidence.data = 1 + np.float32(config.alpha) * confidence.data
    return confidence

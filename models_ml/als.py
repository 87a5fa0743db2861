"""Implicit alternating least squares, on one domain or jointly on several.

Holds the training by `implicit` and the fold-in that turns any history into a factor, so that people who were not in
training, or who have history on the other domain only, are served in the same way as everyone else. Retrieval from factors is
in `retrieval`, the choice of parameters in `search`.
"""

import dataclasses
import warnings
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from implicit.cpu.als import AlternatingLeastSquares
from implicit.recommender_base import ModelFitError
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from models_ml.interactions import Interactions
from models_ml.model import Arrays, ModelConfig, check_same_items, keys_to_array
from models_ml.retrieval import TopK, top_k_by_factors

Weighting = Literal["weight", "strength", "binary"]


@dataclasses.dataclass(frozen=True)
class ALSConfig(ModelConfig):
    """Parameters of ALS.

    Attributes:
        domain: The only domain that is looked at (`als`); None trains one model on the items of all (`als_joint`).
        factors: Length of the factors, >= 1.
        regularization: Weight of the squared length of the factors, > 0. The library's default of 0.01 is too small: it
            barely beats popularity.
        alpha: How much more than an unseen item an average interaction weighs, >= 0.
        iterations: Alternations, >= 1.
        weighting: `weight` uses the preference with recency decay, `strength` the one without, `binary` 1 for each
            positive one.
        seed: Seed of the initial factors.
    """

    kind: ClassVar[str] = "als"

    domain: str | None = None
    factors: int = 64
    regularization: float = 50.0
    alpha: float = 10.0
    iterations: int = 15
    weighting: Weighting = "weight"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.factors < 1 or self.iterations < 1:
            raise ValueError(f"factors and iterations must be at least 1, got {self.factors} and {self.iterations}")
        if not self.regularization > 0 or not self.alpha >= 0:
            raise ValueError(
                f"regularization must be positive and alpha not negative, got {self.regularization} and {self.alpha}"
            )
        if self.weighting not in ("weight", "strength", "binary"):
            raise ValueError(f"weighting must be weight, strength or binary, got {self.weighting!r}")

    @property
    def name(self) -> str:
        """`als` or `als_joint`."""
        return "als_joint" if self.domain is None else "als"


@dataclasses.dataclass(frozen=True, eq=False)
class ALSModel:
    """Item factors y, from which every person's factor x follows.

    Minimises sum over all pairs of c(u, i) (p(u, i) - x(u) . y(i))^2 + regularization (sum |x|^2 + sum |y|^2), with p = 1
    where the preference r is positive and 0 elsewhere, and c = 1 + alpha r / (mean of the positive r), 1 where p = 0.

    A person's factor is always the exact solution for their history given the item factors, also for those who were in
    training (whose factor of the last alternation belongs to older item factors).

    Source: Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008.

    Attributes:
        config: Parameters.
        item_keys: Keys of all items, also of those without a factor.
        item_factors: Shape (items, factors), float32; a row of zeros for an item without a positive preference.
        scale: Mean of the positive preferences in training.
    """

    config: ALSConfig
    item_keys: pa.StringArray
    item_factors: NDArray[np.float32]
    scale: float

    def confidence(self, people: Interactions) -> csr_matrix:
        """Confidence c of the positive preferences of people, people x items CSR, float32."""
        check_same_items(self.item_keys, people)
        return _confidence(people, self.config, self.scale)

    def fold_in(self, people: Interactions) -> NDArray[np.float32]:
        """Factors of people from their history.

        Returns:
            Shape (people, factors), float32; a row of zeros for a person without a positive preference that the model knows.

        Raises:
            ValueError: If the items are not those of the model, or the system cannot be solved.
        """
        history = self.confidence(people)
        with threadpool_limits(limits=1, user_api="blas"):
            solver = _solver(self.config)
            solver.item_factors = self.item_factors
            try:
                factors: NDArray[np.float32] = solver.recalculate_user(np.arange(history.shape[0]), history)
            except ValueError as error:
                raise _unsolvable(self.config) from error
        return factors

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """See `Recommender.top_k`."""
        return top_k_by_factors(self.fold_in(people), self.item_factors, people.consumed(), k, columns=columns)

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        return {
            "model": self.config.name,
            "config": self.config.to_json(),
            "items": len(self.item_keys),
            "items_with_factors": int(self.item_factors.any(axis=1).sum()),
            "mean_preference": self.scale,
        }

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        return {
            "item_keys": keys_to_array(self.item_keys),
            "item_factors": self.item_factors,
            "scale": np.array(self.scale, dtype=np.float64),
        }

    @staticmethod
    def from_arrays(arrays: Arrays, config: ALSConfig) -> "ALSModel":
        """The model that `to_arrays` took apart."""
        item_keys = pa.array(arrays["item_keys"].tolist(), pa.string())
        return ALSModel(config, item_keys, arrays["item_factors"], float(arrays["scale"]))


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
    scale = _mean_preference(interactions, config)
    confidence = _confidence(interactions, config, scale)
    people, items = np.flatnonzero(np.diff(confidence.indptr)), np.unique(confidence.indices)
    if len(items):
        with threadpool_limits(limits=1, user_api="blas"):
            solver = _solver(config)
            try:
                solver.fit(confidence[people][:, items].tocsr(), show_progress=False)
            except (ValueError, ModelFitError) as error:
                raise _unsolvable(config) from error
        item_factors[items] = solver.item_factors
        if not np.isfinite(item_factors).all():
            raise _unsolvable(config)
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


def _unsolvable(config: ALSConfig) -> ValueError:
    return ValueError(
        f"ALS has no finite solution in single precision with regularization {config.regularization} and alpha "
        f"{config.alpha}; raise the first or lower the second"
    )


def _preference(interactions: Interactions, config: ALSConfig) -> NDArray[np.float32]:
    """Preference r of each entry, 0 where it is of a domain that the model does not look at."""
    if config.weighting == "binary":
        preference = (interactions.strength > 0).astype(np.float32)
    else:
        preference = interactions.weight if config.weighting == "weight" else interactions.strength
    if config.domain is None:
        return preference
    return np.where(interactions.domain_mask(config.domain), preference, np.float32(0))


def _mean_preference(interactions: Interactions, config: ALSConfig) -> float:
    preference = _preference(interactions, config)
    positive = preference[preference > 0]
    return float(positive.mean(dtype=np.float64)) if positive.size else 1.0


def _confidence(interactions: Interactions, config: ALSConfig, scale: float) -> csr_matrix:
    """Confidence c of each positive preference, people x items CSR float32.

    `implicit` reads the stored value as c itself: a value below 1 would weigh less than an unseen item, which is why 1 is added.
    """
    preference = _preference(interactions, config)
    kept = preference > 0
    positive = interactions.where(kept)
    return positive.csr((1 + config.alpha * (preference[kept] / np.float32(scale))).astype(np.float32))

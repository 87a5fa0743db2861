"""What models with item factors have in common.

Holds everything that follows from item factors once a model has said what a person's least squares problem is: factors, scores,
lists and reasons of any people. What an interaction is worth is in `preference`, training beside each model (`als`, `ials`), the
solution of the problems in `fold_in`, retrieval in `retrieval`.
"""

import abc
import dataclasses
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.blas import BLAS
from models_ml.fold_in import ItemBasis, Systems, contributions, fold_in, strongest_contributions
from models_ml.interactions import Interactions
from models_ml.model import Arrays, check_same_items, keys_to_array
from models_ml.preference import PreferenceConfig, Scale
from models_ml.reasons import Contributions, Reasons
from models_ml.retrieval import TopK, top_k_by_factors

# Length of a factor, relative to the longest, below which nothing has been learned.
_VANISHED = 1e-6


@dataclasses.dataclass(frozen=True)
class FactorConfig(PreferenceConfig):
    """Parameters that every model with item factors has. See `PreferenceConfig` for the others.

    Attributes:
        factors: Length of the factors, >= 1.
        seed: Seed of the initial factors.
    """

    factors: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factors < 1:
            raise ValueError(f"factors must be at least 1, got {self.factors}")


@dataclasses.dataclass(frozen=True, eq=False)
class FactorModel(abc.ABC):
    """Item factors y, from which every person's factor x and every score x . y follows.

    A person's factor is always the exact solution for their history given the item factors, also for those who were in
    training (whose factor of the last alternation belongs to older item factors).

    Attributes:
        config: Parameters.
        item_keys: Keys of all items, also of those without a factor.
        item_factors: Shape (items, factors), float32; a row of zeros for an item without a positive preference, or of which
            nothing was learned.
        scale: What preferences were measured by in training.
    """

    config: FactorConfig
    item_keys: pa.StringArray
    item_factors: NDArray[np.float32]
    scale: Scale
    names_features: ClassVar[bool] = False

    @abc.abstractmethod
    def systems(self, people: Interactions) -> Systems:
        """The least squares problems whose solutions are the factors of people.

        Raises:
            ValueError: If the items are not those of the model.
        """

    @cached_property
    def basis(self) -> ItemBasis:
        """The item factors in the form in which people are solved, a second copy of them that is kept."""
        return ItemBasis.of(self.item_factors)

    def fold_in(self, people: Interactions) -> NDArray[np.float32]:
        """Factors of people from their history.

        Returns:
            Shape (people, factors), float32; a row of zeros for a person without a positive preference that the model knows.

        Raises:
            ValueError: If the items are not those of the model, or the system cannot be solved.
        """
        try:
            return fold_in(self.basis, self.systems(people))
        except np.linalg.LinAlgError as error:
            raise unsolvable(self.config) from error

    def scores(self, people: Interactions, columns: range) -> NDArray[np.float32]:
        """See `Recommender.scores`."""
        user_factors, item_factors = self.fold_in(people), self.item_factors[columns.start : columns.stop]
        # One BLAS thread, so that the sums do not depend on the number of threads.
        with BLAS.limit(limits=1):
            scores: NDArray[np.float32] = user_factors @ item_factors.T
        scores[~user_factors.any(axis=1)] = -np.inf
        scores[:, ~item_factors.any(axis=1)] = -np.inf
        return scores

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """See `Recommender.top_k`."""
        return top_k_by_factors(self.fold_in(people), self.item_factors, people.consumed(), k, columns=columns)

    def explain(self, people: Interactions, items: NDArray[np.int32], most: int = 3) -> Reasons:
        """See `Recommender.explain`: the past items that contribute most to a score, which is the sum over all of them."""
        try:
            return strongest_contributions(self.basis, self.systems(people), items, most)
        except np.linalg.LinAlgError as error:
            raise unsolvable(self.config) from error

    def contributions(self, people: Interactions, items: NDArray[np.int32]) -> Iterator[Contributions]:
        """See `Additive.contributions`; the score is their sum."""
        try:
            yield from contributions(self.basis, self.systems(people), items)
        except np.linalg.LinAlgError as error:
            raise unsolvable(self.config) from error

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        return {
            "model": self.config.name,
            "config": self.config.to_json(),
            "items": len(self.item_keys),
            "items_with_factors": int(self.item_factors.any(axis=1).sum()),
            "mean_preference": self.scale.mean,
        }

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        return {
            "item_keys": keys_to_array(self.item_keys),
            "item_factors": self.item_factors,
            **self.scale.to_arrays(),
        }

    def relative_preference(self, people: Interactions) -> csr_matrix:
        """Preferences of people relative to the mean in training, people x items CSR, float32.

        Raises:
            ValueError: If the items are not those of the model.
        """
        check_same_items(self.item_keys, people)
        return self.config.relative_preference(people, self.scale)


def learned(item_factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Item factors, with zeros in place of those that have vanished in training.

    Where a few people and items have to do with nobody else, every alternation shrinks their factors by a constant ratio. What
    is left after some of them is the random start times 1e-10 or less, and a ranking by it would be arbitrary; with zeros, the
    items are in no list and the people are served by the fallback.
    """
    length = np.linalg.norm(item_factors, axis=1, keepdims=True)
    return np.where(length > _VANISHED * length.max(initial=0), item_factors, np.float32(0))


def unsolvable(config: FactorConfig) -> ValueError:
    """What is raised where the parameters leave no finite solution."""
    return ValueError(
        f"{config.name} has no finite solution in single precision with {config.to_json()}; regularise it more or weigh the "
        "interactions less"
    )

"""Implicit alternating least squares with frequency-scaled regularisation, on one domain or jointly on several.

Holds the training and what a person's least squares problem is. The same model with one regularisation for everyone is in
`als`; what follows from item factors is in `factors`, the solution of the problems in `fold_in`.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.factors import FactorConfig, FactorModel, learned, unsolvable
from models_ml.fold_in import ItemBasis, Systems, fold_in
from models_ml.interactions import Interactions
from models_ml.model import Arrays, keys_from_array
from models_ml.preference import Scale

# Length of the random factors that training starts from, as in the paper.
_START = 0.1


@dataclasses.dataclass(frozen=True)
class IALSConfig(FactorConfig):
    """Parameters of iALS. See `FactorConfig` for the others.

    Attributes:
        alpha0: Weight of a pair whether observed or not, where an average interaction weighs 1 more, > 0.
        reg: Mean of the regularisation over all people and items, > 0. So it means the same whatever alpha0, nu and the size of
            the data are, and the three can be searched independently; `ALSConfig.regularization / ALSConfig.alpha` compares.
        nu: How much more people and items with many interactions are regularised, >= 0; 0 is the same for all.
        epochs: Alternations, >= 1.
    """

    kind: ClassVar[str] = "ials"

    alpha0: float = 0.03
    reg: float = 5.0
    nu: float = 1.0
    epochs: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")
        if not self.alpha0 > 0 or not self.reg > 0 or not self.nu >= 0:
            raise ValueError(
                f"alpha0 and reg must be positive and nu not negative, got {self.alpha0}, {self.reg} and {self.nu}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class IALSModel(FactorModel):
    """Item factors y, from which every person's factor x follows.

    Minimises sum over the observed pairs (u, i) of r(u, i) (x(u) . y(i) - 1)^2
    + alpha0 sum over all pairs of (x(u) . y(i))^2
    + sum over u of ridge(u) |x(u)|^2 + sum over i of ridge(i) |y(i)|^2,
    ridge(u) = reg' (n(u) + alpha0 I)^nu, ridge(i) = reg' (n(i) + alpha0 U)^nu,
    with r the preference divided by the mean of the positive ones, n the numbers of observed pairs, U people and I items that
    have any, and reg' such that the mean of all ridges is reg.

    Source: Rendle, Krichene, Zhang and Koren, "Revisiting the Performance of iALS on Item Recommendation Benchmarks", RecSys
    2022 (arXiv:2110.14037). Their lambda is reg' at nu* = 0 in their rescaling of lambda over nu.

    Attributes:
        trained_items: I.
        scaled_reg: reg'.
    """

    config: IALSConfig
    trained_items: int
    scaled_reg: float

    def systems(self, people: Interactions) -> Systems:
        """See `FactorModel.systems`."""
        history = self.relative_preference(people)
        ridge = self.scaled_reg * _frequency(history, self.trained_items, self.config)
        return Systems(history, history.data, ridge, self.config.alpha0)

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        return {**super().describe(), "scaled_reg": self.scaled_reg}

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`."""
        return {
            **super().to_arrays(),
            "trained_items": np.array(self.trained_items, dtype=np.int64),
            "scaled_reg": np.array(self.scaled_reg, dtype=np.float64),
        }

    @staticmethod
    def from_arrays(arrays: Arrays, config: IALSConfig) -> "IALSModel":
        """The model that `to_arrays` took apart."""
        return IALSModel(
            config,
            keys_from_array(arrays["item_keys"]),
            arrays["item_factors"],
            Scale.from_arrays(arrays),
            int(arrays["trained_items"]),
            float(arrays["scaled_reg"]),
        )


def fit_ials(interactions: Interactions, config: IALSConfig) -> IALSModel:
    """Trains iALS by exact alternations, people first.

    The same interactions and configuration give the same factors, bit for bit, whatever the number of threads. (`irspack`
    0.5.2 trains the same model, but with more than one thread adds up Y'Y in the order in which threads come by.)

    Args:
        interactions: What people did.
        config: Parameters; with `domain`, entries of other domains are not looked at.

    Returns:
        The model. Without any positive preference it has zero factors only and serves nobody.

    Raises:
        ValueError: If a system cannot be solved: reg is too small.
    """
    item_factors = np.zeros((interactions.shape[1], config.factors), dtype=np.float32)
    scale = config.scale(interactions)
    observed = config.relative_preference(interactions, scale)
    people, items = np.flatnonzero(np.diff(observed.indptr)), np.unique(observed.indices)
    if not len(items):
        return IALSModel(config, interactions.item_keys, item_factors, scale, 0, config.reg)
    by_person = observed[people][:, items].tocsr()
    by_item = by_person.T.tocsr()
    frequencies = _frequency(by_person, len(items), config), _frequency(by_item, len(people), config)
    scaled_reg = config.reg / float(np.concatenate(frequencies).mean())
    of_people, of_items = (
        Systems(history, history.data, scaled_reg * frequency, config.alpha0)
        for history, frequency in zip((by_person, by_item), frequencies, strict=True)
    )
    start = np.random.default_rng(config.seed).standard_normal((len(items), config.factors), dtype=np.float32)
    trained = start * np.float32(_START / np.sqrt(config.factors))
    try:
        for _ in range(config.epochs):
            trained = fold_in(ItemBasis.of(fold_in(ItemBasis.of(trained), of_people)), of_items)
    except np.linalg.LinAlgError as error:
        raise unsolvable(config) from error
    item_factors[items] = learned(trained)
    return IALSModel(config, interactions.item_keys, item_factors, scale, len(items), scaled_reg)


def _frequency(history: csr_matrix, others: int, config: IALSConfig) -> NDArray[np.float64]:
    """(n + alpha0 N)^nu for each row of a matrix, with N on its other side."""
    return np.asarray((np.diff(history.indptr) + config.alpha0 * others) ** config.nu, dtype=np.float64)

"""What a person's interactions are worth to a model that trains on them.

Holds the configuration that such models share: which domain they look at and how an entry becomes a preference. What a model
makes of preferences is beside the model.
"""

import dataclasses
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.interactions import Interactions
from models_ml.model import ModelConfig

Weighting = Literal["weight", "strength", "binary"]


@dataclasses.dataclass(frozen=True)
class PreferenceConfig(ModelConfig):
    """Parameters of every model that trains on preferences.

    Attributes:
        domain: The only domain that is looked at; None trains one model on the items of all.
        weighting: `weight` uses the preference with recency decay, `strength` the one without, `binary` 1 for each
            positive one.
    """

    domain: str | None = None
    weighting: Weighting = "weight"

    def __post_init__(self) -> None:
        if self.weighting not in get_args(Weighting):
            raise ValueError(f"weighting must be weight, strength or binary, got {self.weighting!r}")

    @property
    def name(self) -> str:
        """The kind, with `_joint` for a model of all domains."""
        return f"{self.kind}_joint" if self.domain is None else self.kind

    def preference(self, interactions: Interactions) -> NDArray[np.float32]:
        """Preference r of each entry, 0 where it is of a domain that the model does not look at, shape (entries,)."""
        if self.weighting == "binary":
            preference = (interactions.strength > 0).astype(np.float32)
        else:
            preference = interactions.weight if self.weighting == "weight" else interactions.strength
        if self.domain is None:
            return preference
        return np.where(interactions.domain_mask(self.domain), preference, np.float32(0))

    def mean_preference(self, interactions: Interactions) -> float:
        """Mean of the positive preferences; 1 where there is none."""
        preference = self.preference(interactions)
        positive = preference[preference > 0]
        return float(positive.mean(dtype=np.float64)) if positive.size else 1.0

    def relative_preference(self, interactions: Interactions, scale: float) -> csr_matrix:
        """The positive preferences divided by `scale`, people x items CSR, float32, without stored zeros."""
        preference = self.preference(interactions)
        kept = preference > 0
        return interactions.where(kept).csr(preference[kept] / np.float32(scale))

"""What a person's interactions are worth to a model that trains on them.

Holds the configuration that such models share: which domain they look at and how an entry becomes a preference; and the scale of
training, by which the preferences of anyone who is asked about later are measured. What a model makes of preferences is beside
the model.
"""

import dataclasses
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.interactions import Interactions
from models_ml.model import Arrays, ModelConfig
from models_ml.recency import age_in_days, events_since, recency_weight

Weighting = Literal["weight", "strength", "binary"]


@dataclasses.dataclass(frozen=True)
class Scale:
    """What preferences are measured by: the same for whoever is asked about as in training.

    Attributes:
        mean: Mean of the positive preferences in training, 1 where there was none.
        as_of: Time of the newest entry that counted in training, in microseconds since 1970: ages are measured from it, and
            later entries have age 0. The newest entry of those who are asked about is another with every block of them.
    """

    mean: float
    as_of: int

    def to_arrays(self) -> Arrays:
        """The scale as arrays among those of a model."""
        return {"scale": np.array(self.mean, dtype=np.float64), "as_of": np.array(self.as_of, dtype=np.int64)}

    @staticmethod
    def from_arrays(arrays: Arrays) -> "Scale":
        """The scale that `to_arrays` took apart; other arrays are ignored."""
        return Scale(float(arrays["scale"]), int(arrays["as_of"]))


@dataclasses.dataclass(frozen=True)
class PreferenceConfig(ModelConfig):
    """Parameters of every model that trains on preferences.

    Attributes:
        domain: The only domain that is looked at; None trains one model on the items of all.
        weighting: `weight` uses the preference with recency decay, `strength` the one without, `binary` 1 for each
            positive one.
        half_life_days: Age at which an interaction counts half as much as one of the newest day of training; None counts all
            ages alike. Not with `weight`, which has faded already.
        half_life_events: Number of later interactions of the same person after which an interaction counts half as much as
            the newest one; None counts all alike. What people did last says most about what they do next, and how long ago
            that was matters less than in which order. Interactions of one time share their mean place. Together with
            `weight` both kinds of recency count.
        least_recency: What an interaction of long ago still counts, in [0, 1]; only with `half_life_events`.

    Source: Ding and Li, "Time Weight Collaborative Filtering", CIKM 2005, with the order of a person's interactions for age.
    """

    domain: str | None = None
    weighting: Weighting = "weight"
    half_life_days: float | None = None
    half_life_events: float | None = None
    least_recency: float = 0.05

    def __post_init__(self) -> None:
        if self.weighting not in get_args(Weighting):
            raise ValueError(f"weighting must be weight, strength or binary, got {self.weighting!r}")
        if self.half_life_days is not None and not self.half_life_days > 0:
            raise ValueError(f"half_life_days must be positive, got {self.half_life_days}")
        if self.half_life_days is not None and self.weighting == "weight":
            raise ValueError(
                f"half_life_days {self.half_life_days} together with weighting weight, which has faded already, would make "
                "preferences fade twice; use weighting strength or binary"
            )
        if self.half_life_events is not None and not self.half_life_events > 0:
            raise ValueError(f"half_life_events must be positive, got {self.half_life_events}")
        if not 0 <= self.least_recency <= 1:
            raise ValueError(f"least_recency must be from 0 to 1, got {self.least_recency}")

    @property
    def name(self) -> str:
        """The kind, with `_joint` for a model of all domains."""
        return f"{self.kind}_joint" if self.domain is None else self.kind

    def preference(self, interactions: Interactions, as_of: int) -> NDArray[np.float32]:
        """Preference r of each entry, 0 where it is of a domain that the model does not look at, shape (entries,).

        Args:
            interactions: What people did.
            as_of: Time that ages are measured from, in microseconds since 1970; see `Scale`.
        """
        preference = self._unfaded(interactions)
        if self.half_life_days is not None:
            preference = preference * recency_weight(age_in_days(interactions.last_at, as_of), self.half_life_days)
        return preference if self.half_life_events is None else self._by_order(preference, interactions)

    def _unfaded(self, interactions: Interactions) -> NDArray[np.float32]:
        """Preferences before any half-life of this configuration."""
        if self.weighting == "binary":
            preference = (interactions.strength > 0).astype(np.float32)
        else:
            preference = interactions.weight if self.weighting == "weight" else interactions.strength
        if self.domain is None:
            return preference
        return np.where(interactions.domain_mask(self.domain), preference, np.float32(0))

    def _by_order(self, preference: NDArray[np.float32], interactions: Interactions) -> NDArray[np.float32]:
        """Preferences times the recency of each in the order of those of its person that count at all."""
        assert self.half_life_events is not None
        counted = np.flatnonzero(preference > 0)
        since = events_since(interactions.rows[counted], interactions.last_at[counted])
        recency = self.least_recency + (1 - self.least_recency) * recency_weight(since, self.half_life_events)
        faded = preference.copy()
        faded[counted] *= recency.astype(np.float32)
        return faded

    def scale(self, training: Interactions) -> Scale:
        """The scale of preferences that a model is trained on."""
        # Of the entries that count: were another domain much newer, all preferences of this one could vanish.
        as_of = training.where(self._unfaded(training) > 0).as_of
        preference = self.preference(training, as_of)
        positive = preference[preference > 0]
        return Scale(float(positive.mean(dtype=np.float64)) if positive.size else 1.0, as_of)

    def relative_preference(self, interactions: Interactions, scale: Scale) -> csr_matrix:
        """The positive preferences relative to the mean in training, people x items CSR, float32, without stored zeros."""
        preference = self.preference(interactions, scale.as_of)
        kept = preference > 0
        return interactions.where(kept).csr(preference[kept] / np.float32(scale.mean))

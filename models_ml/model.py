"""What every recommender model has in common.

Holds the shape that models share: a typed configuration that knows its fingerprint, and a fitted model that ranks items for
a block of people, describes itself and turns into arrays and back. Fitting is a function beside each model (`fit_als`,
`fit_popularity`); which model is used for whom is decided in `selection`.
"""

import dataclasses
import hashlib
import json
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.interactions import Interactions
from models_ml.retrieval import TopK

Arrays = dict[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Parameters of a model, all of them JSON values.

    Attributes:
        kind: Which family of models the configuration belongs to.
    """

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """Name of the model in lists and tables (`strategy`)."""
        return self.kind

    def to_json(self) -> dict[str, Any]:
        """The parameters with `kind`, as JSON values."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def fingerprint(self) -> str:
        """SHA-256 of the parameters as 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


class Recommender(Protocol):
    """A fitted model."""

    @property
    def config(self) -> ModelConfig:
        """The parameters that it was fitted with."""
        ...

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """Ranks items for people by their history, without what they have consumed.

        Args:
            people: History of the people, over the items that the model was fitted on.
            columns: Range of items to choose from.
            k: Length of the lists.

        Returns:
            Lists, shape (people, k); empty for people whom the model knows nothing about.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What a person would ask first about the model, as JSON values."""
        ...

    def to_arrays(self) -> Arrays:
        """Everything that the model has learned, with its item keys, as plain arrays."""
        ...


def model_version(config: ModelConfig, interactions_fingerprint: str) -> str:
    """Address of a model: the same configuration on the same interactions has the same one.

    Returns:
        The name of the model and 12 hexadecimal digits, such as `als_joint-0f3c5a7e9b1d`.
    """
    digest = hashlib.sha256(f"{config.fingerprint()}:{interactions_fingerprint}".encode()).hexdigest()
    return f"{config.name}-{digest[:12]}"


def keys_to_array(keys: pa.StringArray) -> NDArray[np.str_]:
    """Arrow keys as a fixed-width text array that needs no pickle."""
    return np.array(keys.to_pylist(), dtype=np.str_)


def check_same_items(item_keys: pa.StringArray, people: Interactions) -> None:
    """Raise unless the columns of the people's history are the items that the model was fitted on.

    Raises:
        ValueError: If the number of items or a key differs.
    """
    if len(item_keys) != len(people.item_keys):
        raise ValueError(
            f"the model was fitted on {len(item_keys)} items and is asked about {len(people.item_keys)}; "
            "is the history items x people, or of another catalogue?"
        )
    if not item_keys.equals(people.item_keys):
        raise ValueError(
            "the model was fitted on other item keys than it is asked about; refit it or use its own index"
        )

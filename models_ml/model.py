"""What every recommender model has in common.

Holds the shape that models share: a typed configuration that knows its fingerprint, and a fitted model that scores and ranks
items for a block of people, says why, describes itself and turns into arrays and back. Fitting is a function beside each
model (`fit_als`, `fit_popularity`); all of them are listed in `registry`, and which is used for whom is decided in `selection`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.interactions import Interactions
from models_ml.reasons import Contributions, Reasons
from models_ml.retrieval import TopK, top_k_by_scores

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

    def scores(self, people: Interactions, columns: range) -> NDArray[np.float32]:
        """Scores every item of a range for a block of people; what they have consumed is scored like the rest.

        Args:
            people: History of the people, over the items that the model was fitted on.
            columns: Range of items to score.

        Returns:
            A fresh array, shape (people, items of the range); -inf where the model knows nothing.
        """
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

    def explain(self, people: Interactions, items: NDArray[np.int32], most: int = 3) -> Reasons:
        """Why each listed item is there.

        Args:
            people: History of the people, as it was ranked by.
            items: Listed item indices, -1 for an empty place, shape (people, k).
            most: Largest number of past items and of shared features that are named.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What a person would ask first about the model, as JSON values."""
        ...

    def to_arrays(self) -> Arrays:
        """Everything that the model has learned, with its item keys, as plain arrays."""
        ...


@runtime_checkable
class Additive(Recommender, Protocol):
    """A model whose score is a sum over the person's past items, and of something that none of them adds where it says so.

    Attributes:
        names_features: Whether its reasons can hold features beside past items.
    """

    names_features: ClassVar[bool]

    def contributions(self, people: Interactions, items: NDArray[np.int32]) -> Iterator[Contributions]:
        """What each past item adds to the score of each listed item.

        Args:
            people: History of the people, as it was ranked by.
            items: Listed item indices, -1 for an empty place, shape (people, k).

        Yields:
            Blocks of bounded memory of the people who have history and a list. A place of which the model knows nothing has
            parts of 0.
        """
        ...


def model_version(config: ModelConfig, interactions_fingerprint: str, code: str = "") -> str:
    """What a model is known by: the same configuration fitted on the same interactions by the same code has the same one.

    Args:
        config: Parameters.
        interactions_fingerprint: What it is fitted on.
        code: Version of the code that fits it, a text of the caller's.

    Returns:
        The name of the model and 12 hexadecimal digits, such as `als_joint-0f3c5a7e9b1d`.
    """
    digest = hashlib.sha256(f"{config.fingerprint()}:{interactions_fingerprint}:{code}".encode()).hexdigest()
    return f"{config.name}-{digest[:12]}"


def top_k_by_model(model: Recommender, people: Interactions, columns: range, k: int) -> TopK:
    """The k best items of a model for each person by its dense scores, block by block, without what is consumed.

    Memory is that of `top_k_by_scores` for each worker, besides what the model needs to score a block.
    """
    everyone = np.arange(people.shape[0])

    def scores(start: int, stop: int) -> NDArray[np.float32]:
        return model.scores(people.take(everyone[start:stop]), columns)

    candidates = np.arange(columns.start, columns.stop, dtype=np.int64)
    return top_k_by_scores(scores, people.shape, candidates, people.consumed(), k)


def keys_to_array(keys: pa.StringArray) -> NDArray[np.str_]:
    """Arrow keys as a fixed-width text array that needs no pickle."""
    return np.array(keys.to_pylist(), dtype=np.str_)


def keys_from_array(keys: NDArray[np.str_]) -> pa.StringArray:
    """The Arrow keys of `keys_to_array`."""
    return pa.array(keys.tolist(), pa.string())


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

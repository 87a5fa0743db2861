"""What is known of people besides what they did: country, region, device, and the like.

Holds the codes of such traits in the order of the people. Which traits there are is decided by whoever made the table; which of
them speak for an item is decided in `segment_popularity`.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

UNKNOWN = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Traits:
    """Codes of traits, one row for each person.

    Attributes:
        names: Names of the traits.
        values: For each trait its known values in sorted order; a code is a position in them.
        codes: Shape (people, traits), int32; -1 where the value is not known.
    """

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    codes: NDArray[np.int32]

    def __post_init__(self) -> None:
        if self.codes.ndim != 2 or self.codes.shape[1] != len(self.names) or len(self.values) != len(self.names):
            raise ValueError(
                f"codes have shape {self.codes.shape} and there are {len(self.values)} lists of values for {len(self.names)} "
                "traits; one column and one list for each trait expected"
            )
        self.codes.flags.writeable = False

    def take(self, people: NDArray[np.integer]) -> "Traits":
        """The rows of some people, in the order asked for; -1 stands for a person of whom nothing is known."""
        people = np.asarray(people, dtype=np.int64)
        codes = np.full((len(people), len(self.names)), UNKNOWN, dtype=np.int32)
        known = people >= 0
        codes[known] = self.codes[people[known]]
        return dataclasses.replace(self, codes=codes)

    def fingerprint(self) -> str:
        """SHA-256 of names, values and codes as 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for texts in (self.names, *self.values):
            digest.update(f"{len(texts)}:".encode() + "\x1f".join(texts).encode() + b"\x1e")
        digest.update(np.ascontiguousarray(self.codes).tobytes())
        return digest.hexdigest()


def traits_from_arrow(table: pa.Table, user_keys: pa.StringArray, names: Sequence[str]) -> Traits:
    """Traits from one Arrow row per person.

    Args:
        table: Columns user_key and one for each name; values of any type that can be cast to text.
        user_keys: The people in the order wanted; whoever has no row is unknown throughout.
        names: Columns to take.

    Raises:
        ValueError: If a column is missing or a person has two rows.
    """
    missing = [name for name in ("user_key", *names) if name not in table.column_names]
    if missing:
        raise ValueError(f"the table of people lacks the column(s) {', '.join(missing)}")
    keys = table.column("user_key").combine_chunks().cast(pa.string())
    if len(pc.unique(keys)) != len(keys):
        raise ValueError("the table of people has two rows for one user_key; one row for each person expected")
    rows = pc.index_in(user_keys, value_set=keys)
    codes = np.full((len(user_keys), len(names)), UNKNOWN, dtype=np.int32)
    values: list[tuple[str, ...]] = []
    for position, name in enumerate(names):
        texts = pc.take(table.column(name).cast(pa.string()).combine_chunks(), rows)
        known = pa.array(sorted(value for value in pc.unique(texts).to_pylist() if value is not None), pa.string())
        codes[:, position] = pc.fill_null(pc.index_in(texts, value_set=known), UNKNOWN).to_numpy(zero_copy_only=False)
        values.append(tuple(known.to_pylist()))
    return Traits(tuple(names), tuple(values), codes)

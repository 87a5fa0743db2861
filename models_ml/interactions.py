"""Interactions as a sparse matrix with its key index.

Holds the way from an Arrow table (one row per person x item) to one CSR pattern of people x items with the columns of the
table as aligned arrays. Rows never become Python objects. Which interactions train and which are held out is decided in
`split`; what a weight means is decided by whoever made the table.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.content import ItemContent
from models_ml.recency import age_in_days, recency_weight
from models_ml.traits import Traits

# Share of a strength by which a comparison with a threshold may be off.
_ROUNDING = 1e-5
REQUIRED_COLUMNS = ("user_key", "item_key", "domain", "weight", "is_consumed", "last_at")


@dataclasses.dataclass(frozen=True, eq=False)
class Interactions:
    """People x items, with everything known about each pair.

    Items are ordered by (domain, item_key), so each domain is one contiguous range of columns; people by user_key. People and
    items without any entry may be among them: whoever is new, and what is new. The entries of all aligned arrays are in CSR
    order (by person, then item). An entry can have weight 0: the person has consumed the item and did not like it. All arrays
    are read-only.

    Attributes:
        user_keys: Sorted keys of the people, Arrow string array, length `users`.
        item_keys: Keys of the items ordered by (domain, key), Arrow string array, length `items`.
        domains: Names of the domains in sorted order; one may have no items.
        domain_offsets: Items of domain d are `domain_offsets[d]:domain_offsets[d + 1]`, shape (domains + 1,).
        indptr: CSR row pointer, shape (users + 1,).
        indices: Item index of each entry, ascending within a person, shape (entries,).
        weight: Preference with recency decay, >= 0 and finite, float32, shape (entries,).
        strength: Preference without recency decay, float32, shape (entries,).
        is_consumed: Whether the pair may never be recommended again, shape (entries,).
        last_at: Time of the last event in microseconds since 1970 UTC, int64, shape (entries,).
        traits: What else is known of the people, in the order of `user_keys`; None if nothing is.
        content: What the items are about, in the order of `item_keys`; None if nothing is known.
    """

    user_keys: pa.StringArray
    item_keys: pa.StringArray
    domains: tuple[str, ...]
    domain_offsets: NDArray[np.int64]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weight: NDArray[np.float32]
    strength: NDArray[np.float32]
    is_consumed: NDArray[np.bool_]
    last_at: NDArray[np.int64]
    traits: Traits | None = None
    content: ItemContent | None = None

    def __post_init__(self) -> None:
        users, items, entries = len(self.user_keys), len(self.item_keys), len(self.indices)
        if len(self.indptr) != users + 1 or (entries and int(self.indices.max()) >= items):
            raise ValueError(
                f"the matrix does not fit its key index: {len(self.indptr) - 1} rows for {users} user keys and largest "
                f"item index {int(self.indices.max()) if entries else None} for {items} item keys; "
                "is it items x people instead of people x items?"
            )
        if len(self.domain_offsets) != len(self.domains) + 1 or int(self.domain_offsets[-1]) != items:
            raise ValueError(f"domain_offsets {self.domain_offsets.tolist()} do not span the {items} items")
        for name in ("weight", "strength", "is_consumed", "last_at"):
            if len(getattr(self, name)) != entries:
                raise ValueError(f"{name} has {len(getattr(self, name))} values for {entries} entries")
        if self.traits is not None and len(self.traits.codes) != users:
            raise ValueError(f"there are traits of {len(self.traits.codes)} people for {users} user keys")
        if self.content is not None and self.content.features.shape[0] != items:
            raise ValueError(f"there is content of {self.content.features.shape[0]} items for {items} item keys")
        for name in ("domain_offsets", "indptr", "indices", "weight", "strength", "is_consumed", "last_at"):
            getattr(self, name).flags.writeable = False

    @property
    def shape(self) -> tuple[int, int]:
        """Number of people and number of items."""
        return len(self.user_keys), len(self.item_keys)

    @property
    def entries(self) -> int:
        """Number of person x item pairs."""
        return len(self.indices)

    @cached_property
    def rows(self) -> NDArray[np.int32]:
        """Person index of each entry, shape (entries,)."""
        return np.repeat(np.arange(self.shape[0], dtype=np.int32), np.diff(self.indptr))

    @cached_property
    def item_domain(self) -> NDArray[np.int8]:
        """Domain index of each item, shape (items,)."""
        return np.repeat(np.arange(len(self.domains), dtype=np.int8), np.diff(self.domain_offsets))

    @property
    def as_of(self) -> int:
        """Time of the newest entry in microseconds since 1970; 0 where there is none."""
        return int(self.last_at.max()) if self.entries else 0

    def domain_range(self, domain: str) -> range:
        """Columns of one domain.

        Raises:
            ValueError: If the domain is not one of `domains`.
        """
        if domain not in self.domains:
            raise ValueError(f"unknown domain {domain!r}, known are {', '.join(self.domains)}")
        position = self.domains.index(domain)
        return range(int(self.domain_offsets[position]), int(self.domain_offsets[position + 1]))

    def domain_mask(self, domain: str) -> NDArray[np.bool_]:
        """Which entries are items of one domain, shape (entries,)."""
        columns = self.domain_range(domain)
        return (self.indices >= columns.start) & (self.indices < columns.stop)

    def people_with_history(self, domain: str) -> NDArray[np.bool_]:
        """Which people have at least one entry in the domain, shape (users,)."""
        present = np.zeros(self.shape[0], dtype=np.bool_)
        present[self.rows[self.domain_mask(domain)]] = True
        return present

    def liked(self, threshold: float) -> NDArray[np.bool_]:
        """Which entries have a strength of at least the threshold, but for rounding, shape (entries,).

        A strength that was worked back from a decayed weight is off by up to about 1e-6 of itself: without the allowance,
        old ratings of exactly the threshold would not count.
        """
        return np.asarray(self.strength >= np.float32(threshold * (1 - _ROUNDING)), dtype=np.bool_)

    def where(self, mask: NDArray[np.bool_]) -> "Interactions":
        """The same people and items with only the entries that the mask keeps.

        Args:
            mask: True for each entry to keep, shape (entries,).
        """
        kept = np.concatenate([[0], np.cumsum(mask, dtype=np.int64)])
        return dataclasses.replace(
            self,
            indptr=kept[self.indptr],
            indices=self.indices[mask],
            weight=self.weight[mask],
            strength=self.strength[mask],
            is_consumed=self.is_consumed[mask],
            last_at=self.last_at[mask],
        )

    def take(self, people: NDArray[np.integer]) -> "Interactions":
        """The rows of some people, in the order asked for.

        Args:
            people: Person indices, shape (people,); -1 stands for a person without any entry, whose key is then empty.
        """
        people = np.asarray(people, dtype=np.int64)
        known = people >= 0
        counts = np.zeros(len(people), dtype=np.int64)
        counts[known] = np.diff(self.indptr)[people[known]]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        starts = np.zeros(len(people), dtype=np.int64)
        starts[known] = self.indptr[people[known]]
        entry = np.arange(indptr[-1], dtype=np.int64) + np.repeat(starts - indptr[:-1], counts)
        keys = self.user_keys.take(pa.array(people, mask=~known)).fill_null("")
        return dataclasses.replace(
            self,
            user_keys=keys,
            indptr=indptr,
            indices=self.indices[entry],
            weight=self.weight[entry],
            strength=self.strength[entry],
            is_consumed=self.is_consumed[entry],
            last_at=self.last_at[entry],
            traits=None if self.traits is None else self.traits.take(people),
        )

    def with_traits(self, traits: Traits) -> "Interactions":
        """The same with what else is known of the people."""
        return dataclasses.replace(self, traits=traits)

    def with_content(self, content: ItemContent) -> "Interactions":
        """The same with what the items are about."""
        return dataclasses.replace(self, content=content)

    def csr(self, values: NDArray[np.generic]) -> csr_matrix:
        """A people x items CSR matrix of values aligned with the entries.

        The pattern is copied: methods such as `eliminate_zeros` change it in place, past the read-only flag of an array.

        Args:
            values: One value for each entry, shape (entries,). Explicit zeros stay stored.
        """
        return csr_matrix((values, self.indices.copy(), self.indptr.copy()), shape=self.shape)

    def consumed(self) -> csr_matrix:
        """The people x items mask of what may not be recommended again, bool CSR without stored zeros."""
        kept = self.where(self.is_consumed)
        return kept.csr(kept.is_consumed)

    def positions_of_users(self, user_keys: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
        """Row of each key, -1 for people who are not in the index, shape (keys,)."""
        found = pc.index_in(user_keys, value_set=self.user_keys)
        return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), dtype=np.int64)

    def fingerprint(self) -> str:
        """SHA-256 of keys, pattern, values, traits and content as 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for keys in (self.user_keys, self.item_keys, pa.array(self.domains, pa.string())):
            digest.update(f"{len(keys)}:".encode() + "\x1f".join(keys.to_pylist()).encode() + b"\x1e")
        for values in (
            self.domain_offsets,
            self.indptr,
            self.indices,
            self.weight,
            self.strength,
            self.is_consumed,
            self.last_at,
        ):
            digest.update(f"{values.dtype.str}:{len(values)}\x1e".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        for known in (self.traits, self.content):
            digest.update(b"\x1e" + (known.fingerprint().encode() if known is not None else b""))
        return digest.hexdigest()


def interactions_from_arrow(
    table: pa.Table,
    *,
    domains: Sequence[str] = (),
    users: pa.Array | pa.ChunkedArray | None = None,
    items: pa.Table | None = None,
    half_life_days: float | None = None,
) -> Interactions:
    """Interactions from one Arrow row per person x item.

    Args:
        table: Columns user_key, item_key, domain (text), weight (number >= 0), is_consumed (bool), last_at (timestamp).
            Others are ignored, except `strength` (number >= 0): the preference without recency decay.
        domains: Domains that must exist even if no row has them, so that an empty platform is an empty range.
        users: Keys of people who must be in the index even without a row, in any order.
        items: Columns item_key and domain of items that must be in the index even without a row, in any order.
        half_life_days: Half-life with which `weight` was decayed, used to undo the decay where there is no column
            `strength`; None means that the weight has no decay.

    Returns:
        The interactions, the same for every order of the rows. A row with weight 0 that is not consumed (an impression)
        adds its person and its item to the key index and no entry to the matrix.

    Raises:
        ValueError: If a column is missing, a value is NULL, a weight is negative, infinite or NaN, a pair occurs twice
            or an item has two domains. The message names the column and the first row.
    """
    missing = [name for name in REQUIRED_COLUMNS if name not in table.column_names]
    if missing:
        raise ValueError(f"interactions lack the column(s) {', '.join(missing)}; found {', '.join(table.column_names)}")
    for name in REQUIRED_COLUMNS:
        if table.column(name).null_count:
            row = int(np.argmax(_numpy(pc.is_null(table.column(name)))))
            raise ValueError(f"interactions: {name} is NULL in row {row}; every column must have a value")
    weight = _number(table, "weight")
    last_at = _numpy(pc.cast(pc.cast(table.column("last_at"), pa.timestamp("us")), pa.int64())).astype(np.int64)

    rows_of_table = table.num_rows
    user_keys, user_index = _sorted_index(_chained(table.column("user_key"), users))
    user_index = user_index[:rows_of_table]
    item_keys, item_index = _sorted_index(
        _chained(table.column("item_key"), None if items is None else items.column("item_key"))
    )
    domain_keys, domain_index = _sorted_index(
        _chained(table.column("domain"), None if items is None else items.column("domain"))
    )
    all_domains = tuple(sorted({*domain_keys.to_pylist(), *domains}))
    domain_code = np.array([all_domains.index(name) for name in domain_keys.to_pylist()], dtype=np.int64)[domain_index]

    item_domain = np.zeros(len(item_keys), dtype=np.int64)
    item_domain[item_index] = domain_code
    conflict = item_domain[item_index] != domain_code
    if conflict.any():
        key = item_keys[int(item_index[np.argmax(conflict)])].as_py()
        raise ValueError(f"interactions: item {key!r} occurs in two domains; an item key belongs to one domain")
    item_index = item_index[:rows_of_table]

    # The keys are sorted already, so a stable sort by domain gives the order (domain, key).
    order = np.argsort(item_domain, kind="stable")
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    columns = position[item_index]

    entry = np.lexsort((columns, user_index))
    rows, columns = user_index[entry], columns[entry]
    twice = (rows[1:] == rows[:-1]) & (columns[1:] == columns[:-1])
    if twice.any():
        row = int(entry[1:][np.argmax(twice)])
        raise ValueError(
            f"interactions: the pair of user and item in row {row} occurs twice; one row per pair expected"
        )

    if "strength" in table.column_names:
        strength = _number(table, "strength")
    elif half_life_days is None or not len(last_at):
        strength = weight
    else:
        decay = recency_weight(age_in_days(last_at, int(last_at.max())), half_life_days).astype(np.float64)
        strength = np.divide(weight, decay, out=np.zeros_like(weight), where=decay > 0)

    is_consumed = _numpy(table.column("is_consumed")).astype(np.bool_)
    kept = (is_consumed | (weight > 0))[entry]
    entry, rows, columns = entry[kept], rows[kept], columns[kept]
    return Interactions(
        user_keys=user_keys,
        item_keys=item_keys.take(pa.array(order)),
        domains=all_domains,
        domain_offsets=np.concatenate([[0], np.cumsum(np.bincount(item_domain, minlength=len(all_domains)))]),
        indptr=np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(user_keys)))]).astype(np.int64),
        indices=columns.astype(np.int32),
        weight=weight[entry].astype(np.float32),
        strength=strength[entry].astype(np.float32),
        is_consumed=is_consumed[entry],
        last_at=last_at[entry],
    )


def _chained(column: pa.ChunkedArray, more: pa.Array | pa.ChunkedArray | None) -> pa.ChunkedArray:
    """The keys of the rows, then those that must be there without a row."""
    chunks = column.cast(pa.string()).chunks
    if more is None:
        return pa.chunked_array(chunks, pa.string())
    others = more.cast(pa.string())
    return pa.chunked_array(
        [*chunks, *(others.chunks if isinstance(others, pa.ChunkedArray) else [others])], pa.string()
    )


def _numpy(column: pa.ChunkedArray) -> NDArray[np.generic]:
    values: NDArray[np.generic] = column.to_numpy()
    return values


def _number(table: pa.Table, name: str) -> NDArray[np.float64]:
    values = _numpy(pc.cast(table.column(name), pa.float64())).astype(np.float64)
    refused = ~(np.isfinite(values) & (values >= 0) & (values <= np.finfo(np.float32).max))
    if refused.any():
        row = int(np.argmax(refused))
        raise ValueError(f"interactions: {name} is {values[row]} in row {row}; a finite number >= 0 is expected")
    return values


def _sorted_index(column: pa.ChunkedArray) -> tuple[pa.StringArray, NDArray[np.int64]]:
    """Distinct keys in sorted order, and the position of each row's key in them."""
    encoded = pc.cast(column, pa.string()).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    order = pc.sort_indices(encoded.dictionary)
    position = np.empty(len(order), dtype=np.int64)
    position[order.to_numpy()] = np.arange(len(order))
    return encoded.dictionary.take(order), position[encoded.indices.to_numpy()]

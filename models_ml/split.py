"""Splits of interactions into what trains and what is held out.

Holds the split by time within each person and the split that hides one whole side of linked people. Both depend on the keys
and not on the position of rows, so that a new person does not change how others are split. What counts as relevant among
the held out is decided in `evaluation`.
"""

import dataclasses
import hashlib

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.interactions import Interactions

NOT_HIDDEN = -1


@dataclasses.dataclass(frozen=True)
class SplitConfig:
    """Parameters of a split.

    Attributes:
        holdout_share: Share of each person's interactions with a domain that is held out, the latest ones; at least one
            and never all. In (0, 1).
        min_history: People with fewer interactions with a domain keep all of them in training, >= 2.
        hidden_share: Share of the people with history on more than one domain who lose one whole side, the same number for
            each domain. In [0, 1].
        seed: Seed of the order among equal times and of who is hidden.
    """

    holdout_share: float = 0.2
    min_history: int = 3
    hidden_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.holdout_share < 1 or not 0 <= self.hidden_share <= 1 or self.min_history < 2:
            raise ValueError(
                "holdout_share must be in (0, 1), hidden_share in [0, 1] and min_history at least 2, got "
                f"{self.holdout_share}, {self.hidden_share} and {self.min_history}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Interactions in two parts over the same people and items.

    Attributes:
        train: What models may see.
        held_out: What they are asked for.
        hidden_domain: For each person the index of the domain that is wholly held out, -1 for none, shape (users,).
    """

    train: Interactions
    held_out: Interactions
    hidden_domain: NDArray[np.int8]

    def is_cold(self, domain: str) -> NDArray[np.bool_]:
        """Which people have their whole side of the domain held out, shape (users,)."""
        cold: NDArray[np.bool_] = self.hidden_domain == self.train.domains.index(domain)
        return cold

    def is_warm(self, domain: str) -> NDArray[np.bool_]:
        """Which people have training history with the domain, shape (users,)."""
        return self.train.people_with_history(domain)


def split_interactions(interactions: Interactions, config: SplitConfig) -> Split:
    """Holds out the latest interactions of each person, and one whole side of some.

    For each person and domain with n >= min_history interactions the latest max(1, floor(holdout_share n)) are held out;
    equal times are ordered by a hash of seed, person and item. Independently, a share of the people with history on two or
    more domains, chosen by a hash of seed and person, has all interactions with one domain held out and all others in training.

    Args:
        interactions: Everything.
        config: Parameters.
    """
    domains = len(interactions.domains)
    user_hash = _key_hash(interactions.user_keys, config.seed)
    item_hash = _key_hash(interactions.item_keys, config.seed)
    rows, domain = interactions.rows.astype(np.int64), interactions.item_domain[interactions.indices]

    group = rows * domains + domain
    tie = _mix(user_hash[rows] ^ item_hash[interactions.indices])
    order = np.lexsort((tie, interactions.last_at, group))
    size = np.bincount(group, minlength=interactions.shape[0] * domains)
    start = np.cumsum(size) - size
    held_size = np.where(
        size >= config.min_history, np.maximum(1, np.floor(size * config.holdout_share + 1e-9)), 0
    ).astype(np.int64)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - start[group[order]]
    latest = place >= size[group] - held_size[group]

    hidden = _hidden_domain(size.reshape(-1, domains) > 0, user_hash, config.hidden_share)
    is_hidden_person = hidden[rows] != NOT_HIDDEN
    held = np.where(is_hidden_person, hidden[rows] == domain, latest)
    return Split(interactions.where(~held), interactions.where(held), hidden)


def _hidden_domain(has_history: NDArray[np.bool_], user_hash: NDArray[np.uint64], share: float) -> NDArray[np.int8]:
    """Which domain of each person is hidden, by the position of the person's hash in the unit interval."""
    domains = has_history.shape[1]
    hidden = np.full(len(has_history), NOT_HIDDEN, dtype=np.int8)
    if domains < 2 or not share:
        return hidden
    position = _mix(user_hash + np.uint64(0x9E3779B97F4A7C15)).astype(np.float64) / 2.0**64
    drawn = (has_history.sum(axis=1) >= 2) & (position < share)
    side = np.minimum((position / share * domains).astype(np.int64), domains - 1)[drawn]
    people = np.flatnonzero(drawn)
    usable = has_history[people, side]
    hidden[people[usable]] = side[usable]
    return hidden


def _key_hash(keys: pa.StringArray, seed: int) -> NDArray[np.uint64]:
    """64 bits from each key and the seed."""
    salt = seed.to_bytes(8, "little", signed=True)
    digests = b"".join(hashlib.blake2b(key.encode(), digest_size=8, salt=salt).digest() for key in keys.to_pylist())
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatters 64-bit values (the finaliser of SplitMix64)."""
    mixed = values ^ (values >> np.uint64(30))
    mixed = mixed * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed = mixed * np.uint64(0x94D049BB133111EB)
    scattered: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return scattered

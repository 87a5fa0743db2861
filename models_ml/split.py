"""Splits of interactions into what trains and what is held out.

Holds the two ways to divide by time, and what is hidden besides: one whole side of linked people, everything of a few people
and everything of a few items. All draws depend on the keys and not on the position of rows, so that a newcomer does not change
how others are split. What counts as relevant among the held out is decided in `evaluation`.
"""

import dataclasses
import hashlib
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.interactions import Interactions

SplitKind = Literal["time_per_user", "global_time"]
NOT_HIDDEN = -1
ALL_HIDDEN = -2

# Added to a hash before it is mixed, so that the draws do not depend on each other.
_SIDE_DRAW, _PERSON_DRAW, _ITEM_DRAW = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9


@dataclasses.dataclass(frozen=True)
class SplitConfig:
    """Parameters of a split.

    Attributes:
        kind: `time_per_user` holds out the latest interactions of each person, and hides sides, people and items besides;
            `global_time` holds out everything after one point in time and hides nothing, since people and items that are new
            after it come by themselves.
        holdout_share: Share that is held out, in (0, 1). `time_per_user`: of each person's interactions with a domain, at
            least one and never all. `global_time`: of all interactions, at most.
        split_at: Point in time of `global_time` in microseconds since 1970 UTC; None finds it by `holdout_share`.
        min_history: `time_per_user`: people with fewer interactions with a domain keep all of them in training, >= 2.
        hidden_share: `time_per_user`: share of the people with history on more than one domain who lose one whole side, the
            same number for each domain. In [0, 1].
        new_share: `time_per_user`: share of the people who lose everything; only their traits are left. In [0, 1).
        cold_item_share: `time_per_user`: share of the items that nobody has in training. In [0, 1).
        seed: Seed of the order among equal times and of who and what is hidden.
    """

    kind: SplitKind = "time_per_user"
    holdout_share: float = 0.2
    split_at: int | None = None
    min_history: int = 3
    hidden_share: float = 0.2
    new_share: float = 0.05
    cold_item_share: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("time_per_user", "global_time"):
            raise ValueError(f"kind must be time_per_user or global_time, got {self.kind!r}")
        if not 0 < self.holdout_share < 1 or not 0 <= self.hidden_share <= 1 or self.min_history < 2:
            raise ValueError(
                "holdout_share must be in (0, 1), hidden_share in [0, 1] and min_history at least 2, got "
                f"{self.holdout_share}, {self.hidden_share} and {self.min_history}"
            )
        if not 0 <= self.new_share < 1 or not 0 <= self.cold_item_share < 1:
            raise ValueError(
                f"new_share and cold_item_share must be in [0, 1), got {self.new_share} and {self.cold_item_share}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Interactions in two parts over the same people and items.

    Attributes:
        kind: How they were divided.
        train: What models may see.
        held_out: What they are asked for.
        hidden_domain: For each person the index of the domain that is wholly held out, -1 for none, -2 for all of them,
            shape (users,).
        hidden_items: Items that were drawn to have no interactions in training, shape (items,).
        split_at: Newest time that training may hold in microseconds since 1970 UTC; None for `time_per_user`.
    """

    kind: SplitKind
    train: Interactions
    held_out: Interactions
    hidden_domain: NDArray[np.int8]
    hidden_items: NDArray[np.bool_]
    split_at: int | None = None

    def cold_items(self) -> NDArray[np.bool_]:
        """Items that are asked for and that training knows nothing of, shape (items,).

        Those drawn in `time_per_user`; in `global_time` those whose interactions are all held out.
        """
        if self.kind == "time_per_user":
            return self.hidden_items
        items = self.train.shape[1]
        trained = np.bincount(self.train.indices, minlength=items) > 0
        cold: NDArray[np.bool_] = (np.bincount(self.held_out.indices, minlength=items) > 0) & ~trained
        return cold


def split_interactions(interactions: Interactions, config: SplitConfig) -> Split:
    """Divides interactions into training and held out.

    `time_per_user`: a draw of items goes first, and all their interactions are held out. For each person and domain with
    n >= min_history of the others, the latest max(1, floor(holdout_share n)) are held out; equal times are ordered by a hash of
    seed, person and item. Some people have everything held out instead, and some of the people with history on two or more
    domains all interactions with one domain, with all others in training. A model may have seen what *other* people did later.

    `global_time`: training is what a model trained as of T would have had. An entry adds up all events of a person with an
    item, so one that has an event after T is held out whole. The recency decay of the weights is wound back to T (see
    `weight_as_of`).

    Args:
        interactions: Everything.
        config: Parameters.
    """
    users, items = interactions.shape
    if config.kind == "global_time":
        time = _time_of_share(interactions, config.holdout_share) if config.split_at is None else config.split_at
        known = interactions.last_at <= time
        as_of = dataclasses.replace(interactions, weight=weight_as_of(interactions, time))
        nobody, nothing = np.full(users, NOT_HIDDEN, dtype=np.int8), np.zeros(items, dtype=np.bool_)
        return Split(config.kind, as_of.where(known), interactions.where(~known), nobody, nothing, time)

    user_hash = _key_hash(interactions.user_keys, config.seed)
    item_hash = _key_hash(interactions.item_keys, config.seed)
    hidden_items = _position(item_hash, _ITEM_DRAW) < config.cold_item_share
    rows, domain = interactions.rows, interactions.item_domain[interactions.indices]
    is_hidden_item = hidden_items[interactions.indices]
    has_history = np.zeros((users, len(interactions.domains)), dtype=np.bool_)
    has_history[rows, domain] = True
    hidden = _hidden_domain(has_history, user_hash, config)

    held = np.where(
        hidden[rows] == NOT_HIDDEN,
        _latest(interactions, ~is_hidden_item, user_hash, item_hash, config),
        (hidden[rows] == ALL_HIDDEN) | (hidden[rows] == domain),
    )
    held |= is_hidden_item
    return Split(config.kind, interactions.where(~held), interactions.where(held), hidden, hidden_items)


def weight_as_of(interactions: Interactions, time: int) -> NDArray[np.float32]:
    """Weights with the recency decay that they would have had at an earlier time.

    An entry of strength s has decayed to w over its age a since its last event, that is, by 2^(-a / h) with its own half-life h;
    at the age a' that it had at that time it weighed s (w / s)^(a' / a). Exact for an entry of one event, whose half-life
    need not be known; an approximation for one that adds up events of several ages or half-lives. An entry without decay
    keeps its weight. Ages are measured from the newest entry.

    Args:
        interactions: Entries with weights as of the newest one.
        time: Microseconds since 1970 UTC.

    Returns:
        Shape (entries,); the weights as they are for entries after that time, and for all if nothing is.
    """
    age = (interactions.as_of - interactions.last_at).astype(np.float64)
    earlier = (time - interactions.last_at).astype(np.float64)
    strength, weight = interactions.strength.astype(np.float64), interactions.weight.astype(np.float64)
    decayed = (time < interactions.as_of) & (earlier >= 0) & (weight > 0) & (strength > 0)
    wound = strength[decayed] * (weight[decayed] / strength[decayed]) ** (earlier[decayed] / age[decayed])
    weight[decayed] = wound
    return weight.astype(np.float32)


def _time_of_share(interactions: Interactions, share: float) -> int:
    """Earliest time of an entry after which at most the share of all entries happened; 0 where there is none."""
    entries = interactions.entries
    if not entries:
        return 0
    place = entries - 1 - int(np.floor(share * entries + 1e-9))
    return int(np.partition(interactions.last_at, place)[place])


def _latest(
    interactions: Interactions,
    counted: NDArray[np.bool_],
    user_hash: NDArray[np.uint64],
    item_hash: NDArray[np.uint64],
    config: SplitConfig,
) -> NDArray[np.bool_]:
    """Which entries are the latest of their person and domain among those that count, shape (entries,)."""
    domains = len(interactions.domains)
    rows, columns = interactions.rows[counted].astype(np.int64), interactions.indices[counted]
    group = rows * domains + interactions.item_domain[columns]
    tie = _mix(user_hash[rows] ^ item_hash[columns])
    order = np.lexsort((tie, interactions.last_at[counted], group))
    size = np.bincount(group, minlength=interactions.shape[0] * domains)
    start = np.cumsum(size) - size
    held_size = np.where(
        size >= config.min_history, np.maximum(1, np.floor(size * config.holdout_share + 1e-9)), 0
    ).astype(np.int64)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - start[group[order]]
    latest = np.zeros(interactions.entries, dtype=np.bool_)
    latest[counted] = place >= size[group] - held_size[group]
    return latest


def _hidden_domain(
    has_history: NDArray[np.bool_], user_hash: NDArray[np.uint64], config: SplitConfig
) -> NDArray[np.int8]:
    """What is hidden of each person, by the position of the person's hash in the unit interval."""
    domains, share = has_history.shape[1], config.hidden_share
    hidden = np.full(len(has_history), NOT_HIDDEN, dtype=np.int8)
    if domains >= 2 and share:
        position = _position(user_hash, _SIDE_DRAW)
        drawn = (has_history.sum(axis=1) >= 2) & (position < share)
        side = np.minimum((position / share * domains).astype(np.int64), domains - 1)[drawn]
        people = np.flatnonzero(drawn)
        usable = has_history[people, side]
        hidden[people[usable]] = side[usable]
    hidden[_position(user_hash, _PERSON_DRAW) < config.new_share] = ALL_HIDDEN
    return hidden


def _position(hashes: NDArray[np.uint64], draw: int) -> NDArray[np.float64]:
    """Place of each hash in [0, 1], another one for each draw."""
    place: NDArray[np.float64] = _mix(hashes + np.uint64(draw)).astype(np.float64) / 2.0**64
    return place


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

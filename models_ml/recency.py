"""Weights that fade with age.

Holds the one formula by which an old event counts less than a new one, and the two ages that it is used with: days, and how much
a person has done since. Which events there are and what an event of today is worth is decided by the caller.
"""

import numpy as np
from numpy.typing import NDArray

MICROSECONDS_PER_DAY = 86_400_000_000


def recency_weight(age: NDArray[np.floating], half_life: float) -> NDArray[np.float32]:
    """Exponential recency weight, 1 at age 0.

    Args:
        age: Age of each event, shape (events,), >= 0.
        half_life: Age at which the weight is one half, in the unit of the ages, > 0; infinity means that nothing fades.

    Returns:
        Weights in (0, 1], shape (events,), float32. An age of many half-lives underflows to 0.

    Raises:
        ValueError: If an age is negative or not finite, or the half-life is not positive.

    Source: Ding and Li, "Time Weight Collaborative Filtering", CIKM 2005.
    """
    if not half_life > 0:
        raise ValueError(f"half_life must be positive, got {half_life}")
    ages = np.asarray(age, dtype=np.float64)
    if ages.size and not (np.isfinite(ages).all() and ages.min() >= 0):
        raise ValueError("age must be finite and not negative: is an event later than the time of reference?")
    return np.exp2(-ages / half_life).astype(np.float32)


def age_in_days(last_at: NDArray[np.int64], as_of: int) -> NDArray[np.float64]:
    """Age of events in days at a time of reference.

    Args:
        last_at: Times in microseconds since 1970, shape (events,).
        as_of: Time of reference in microseconds since 1970. Events after it have age 0.

    Returns:
        Ages in days, >= 0, shape (events,).
    """
    return np.maximum(as_of - last_at, 0) / MICROSECONDS_PER_DAY


def events_since(groups: NDArray[np.integer], last_at: NDArray[np.int64]) -> NDArray[np.float64]:
    """How many events of the same group came after each event.

    Args:
        groups: Group of each event, for instance the person, shape (events,).
        last_at: Time of each event, shape (events,).

    Returns:
        Number of later events, >= 0, shape (events,). Events of one time share the mean of their places: which of them came
        last is not known.
    """
    order = np.lexsort((last_at, groups))
    groups, times = groups[order], last_at[order]
    place = np.arange(len(order))
    end = np.searchsorted(groups, groups, side="right")
    is_new = np.ones(len(order), dtype=np.bool_)
    is_new[1:] = (groups[1:] != groups[:-1]) | (times[1:] != times[:-1])
    tie = np.cumsum(is_new) - 1
    later = (end - 1 - place).astype(np.float64)
    since = np.empty(len(order))
    since[order] = (np.bincount(tie, weights=later) / np.bincount(tie))[tie]
    return since

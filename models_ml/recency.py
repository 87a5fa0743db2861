"""Weights that fade with age.

Holds the one formula by which an old event counts less than a new one. Which events there are and what an event of today
is worth is decided by the caller.
"""

import numpy as np
from numpy.typing import NDArray

MICROSECONDS_PER_DAY = 86_400_000_000


def recency_weight(age_days: NDArray[np.floating], half_life_days: float) -> NDArray[np.float32]:
    """Exponential recency weight, 1 for an event of today.

    Args:
        age_days: Age of each event in days, shape (events,), >= 0.
        half_life_days: Age at which the weight is one half, > 0; infinity means that nothing fades.

    Returns:
        Weights in (0, 1], shape (events,), float32. An age of many half-lives underflows to 0.

    Raises:
        ValueError: If an age is negative or not finite, or the half-life is not positive.

    Source: Ding and Li, "Time Weight Collaborative Filtering", CIKM 2005.
    """
    if not half_life_days > 0:
        raise ValueError(f"half_life_days must be positive, got {half_life_days}")
    ages = np.asarray(age_days, dtype=np.float64)
    if ages.size and not (np.isfinite(ages).all() and ages.min() >= 0):
        raise ValueError("age_days must be finite and not negative: is an event later than the time of reference?")
    return np.exp2(-ages / half_life_days).astype(np.float32)


def age_in_days(last_at: NDArray[np.int64], as_of: int) -> NDArray[np.float64]:
    """Age of events in days at a time of reference.

    Args:
        last_at: Times in microseconds since 1970, shape (events,).
        as_of: Time of reference in microseconds since 1970. Events after it have age 0.

    Returns:
        Ages in days, >= 0, shape (events,).
    """
    return np.maximum(as_of - last_at, 0) / MICROSECONDS_PER_DAY

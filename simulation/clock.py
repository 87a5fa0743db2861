"""The time of the demo world: real days of MovieTweetings, as unix seconds in UTC."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa

from simulation.seeding import Floats, Ints

DAY_SECONDS = 86_400
FIRST_DAY = dt.date(2013, 2, 28)
LAST_DAY = dt.date(2013, 8, 29)
"""Last day that the demo landing zone holds."""

NEXT_DAYS = (dt.date(2013, 8, 30), dt.date(2013, 8, 31), dt.date(2013, 9, 1))
"""Days with real ratings that are kept back, to be delivered one at a time."""

# Share of visits per hour of the day (UTC): quiet at night, a lunch bump, an evening peak.
_HOUR_WEIGHTS = np.array([2, 1, 1, 1, 1, 2, 4, 6, 7, 6, 6, 7, 9, 8, 6, 6, 7, 9, 12, 15, 16, 14, 9, 5], dtype=np.float64)


def midnight(day: dt.date) -> int:
    """Unix seconds at which a day starts in UTC."""
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp())


WORLD_START = midnight(FIRST_DAY)
WORLD_END = midnight(NEXT_DAYS[-1]) + DAY_SECONDS


def at_usual_hours(rng: np.random.Generator, moments: Floats) -> Ints:
    """Keeps the day of each moment and draws its time of day from the usual visiting hours.

    Args:
        rng: Random generator.
        moments: Unix seconds, shape (moments,).

    Returns:
        Unix seconds, whole, shape (moments,).
    """
    day = np.floor(moments / DAY_SECONDS).astype(np.int64) * DAY_SECONDS
    hour = rng.choice(24, size=moments.size, p=_HOUR_WEIGHTS / _HOUR_WEIGHTS.sum())
    return day + hour * 3600 + rng.integers(0, 3600, size=moments.size)


def as_timestamps(seconds: Ints) -> pa.Array:
    """Unix seconds as timestamps in UTC without a zone (microseconds)."""
    return pa.array(seconds.astype(np.int64) * 1_000_000, type=pa.int64()).cast(pa.timestamp("us"))

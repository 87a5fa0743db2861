"""Confidence intervals by drawing people again.

Holds the percentile bootstrap over people for means and for paired differences of means. The people are the unit: what one
person contributes is one row, drawn with replacement.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

_CHUNK = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Interval:
    """Mean with its interval, one entry for each column of the values; NaN throughout where there are no people."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def bootstrap_mean(values: NDArray[np.float64], *, draws: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """Percentile interval of the mean over people.

    All columns are drawn with the same people, and the same seed and number of people give the same draws in every call; so
    the difference of two models is `bootstrap_mean(a - b)`, which is the paired bootstrap.

    Args:
        values: One row for each person, shape (people, columns).
        draws: Number of resamples, >= 1.
        level: Confidence level in (0, 1).
        seed: Seed of the draws.

    Returns:
        Means and bounds, shape (columns,). The interval of a single person is that person.

    Raises:
        ValueError: If values is not two-dimensional or not finite, or a parameter is out of range.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    if values.ndim != 2:
        raise ValueError(f"values must have one row per person and one column per measure, got shape {values.shape}")
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"draws must be at least 1 and level in (0, 1), got {draws} and {level}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite: leave out people without a value")
    people, columns = values.shape
    if not people:
        nothing = np.full(columns, np.nan)
        return Interval(nothing, nothing, nothing)
    means = np.empty((draws, columns))
    random = np.random.default_rng(seed)
    for start in range(0, draws, _CHUNK):
        rows = min(_CHUNK, draws - start)
        drawn = random.integers(0, people, size=(rows, people)) + np.arange(rows)[:, None] * people
        counts = np.bincount(drawn.ravel(), minlength=rows * people).reshape(rows, people)
        means[start : start + rows] = counts @ values / people
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    value = values.mean(axis=0)
    # The sums behind the draws are rounded in another order than the mean: equal values must not fall outside.
    return Interval(value, np.minimum(low, value), np.maximum(high, value))


def paired_difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of mean(first) - mean(second) over the same people.

    Args:
        first: Shape (people, columns).
        second: Values of the same people, same shape.
        draws: As in `bootstrap_mean`.
        level: As in `bootstrap_mean`.
        seed: As in `bootstrap_mean`.

    Raises:
        ValueError: If the shapes differ; otherwise as in `bootstrap_mean`.
    """
    if first.shape != second.shape:
        raise ValueError(f"the two must be about the same people: shapes {first.shape} and {second.shape}")
    return bootstrap_mean(first - second, draws=draws, level=level, seed=seed)

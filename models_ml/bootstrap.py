"""Confidence intervals by drawing people again.

Holds the percentile bootstrap over people for means and for paired differences of means, and the adjustment of many tests at
once. The people are the unit: what one person contributes is one row, drawn with replacement. The draws do not depend on
the columns, so the columns of many models in one call cost hardly more than those of one.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

_CHUNK = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Interval:
    """Mean with its interval, one entry for each column of the values; NaN throughout where there are no people."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Difference(Interval):
    """Mean difference with its interval, and how well it is told from zero.

    Attributes:
        p_value: The smallest 1 - level whose percentile interval leaves out zero, two-sided, in (0, 1].
    """

    p_value: NDArray[np.float64]


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
    return _interval(values, _drawn_means(values, draws, level, seed), level)


def paired_difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Percentile interval and p-value of mean(first) - mean(second) over the same people.

    Args:
        first: Shape (people, columns).
        second: Values of the same people, same shape.
        draws: As in `bootstrap_mean`.
        level: As in `bootstrap_mean`.
        seed: As in `bootstrap_mean`.

    Raises:
        ValueError: If the shapes differ; otherwise as in `bootstrap_mean`.

    Source of the p-value: Davison and Hinkley, "Bootstrap Methods and their Application", 1997, equation 4.11, on the
    smaller side and doubled; with 1000 draws it is never below 0.002.
    """
    if first.shape != second.shape:
        raise ValueError(f"the two must be about the same people: shapes {first.shape} and {second.shape}")
    values = first - second
    means = _drawn_means(values, draws, level, seed)
    found = _interval(values, means, level)
    smaller = np.minimum((means <= 0).sum(axis=0), (means >= 0).sum(axis=0))
    p_value = np.minimum(1.0, 2 * (1 + smaller) / (draws + 1)) if len(values) else np.full(values.shape[1], np.nan)
    return Difference(found.value, found.low, found.high, p_value)


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values adjusted for the number of tests made at once: rejecting those below a keeps the chance of any false one below a.

    Args:
        p_values: Shape (tests, families); each column is adjusted for itself.

    Returns:
        Shape (tests, families), each at least what it was and at most 1.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 1979.
    """
    tests = len(p_values)
    order = np.argsort(p_values, axis=0, kind="stable")
    stepped = np.take_along_axis(p_values, order, axis=0) * np.arange(tests, 0, -1)[:, None]
    adjusted = np.empty_like(p_values, dtype=np.float64)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(stepped, axis=0), 1.0), axis=0)
    return adjusted


def _drawn_means(values: NDArray[np.float64], draws: int, level: float, seed: int) -> NDArray[np.float64]:
    """Mean of each column over each resample of the people, shape (draws, columns); without people, no resamples."""
    if values.ndim != 2:
        raise ValueError(f"values must have one row per person and one column per measure, got shape {values.shape}")
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"draws must be at least 1 and level in (0, 1), got {draws} and {level}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite: leave out people without a value")
    people, columns = values.shape
    if not people:
        return np.empty((0, columns))
    means = np.empty((draws, columns))
    random = np.random.default_rng(seed)
    # One BLAS thread: the bits of a sum must not depend on the machine's number of processors.
    with threadpool_limits(limits=1, user_api="blas"):
        for start in range(0, draws, _CHUNK):
            rows = min(_CHUNK, draws - start)
            drawn = random.integers(0, people, size=(rows, people)) + np.arange(rows)[:, None] * people
            counts = np.bincount(drawn.ravel(), minlength=rows * people).reshape(rows, people)
            means[start : start + rows] = counts.astype(np.float64) @ values / people
    return means


def _interval(values: NDArray[np.float64], means: NDArray[np.float64], level: float) -> Interval:
    """The percentile interval from the means of the resamples."""
    if not len(values):
        nothing = np.full(values.shape[1], np.nan)
        return Interval(nothing, nothing, nothing)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    value = values.mean(axis=0)
    # The sums behind the draws are rounded in another order than the mean: equal values must not fall outside.
    return Interval(value, np.minimum(low, value), np.maximum(high, value))

"""Whether probabilities come true.

Holds the reliability table, the expected calibration error and the Brier score. The probabilities must be of rows that the
model did not learn from (`response.cross_fitted_probabilities`).
"""

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models_ml.campaigns.learners import Flags, Floats, check_flags
from models_ml.campaigns.proportions import share


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """Predicted against observed, one entry a bin; bins without rows are left out.

    Attributes:
        predicted: Mean probability, shape (bins,), ascending.
        observed: Share with an answer, shape (bins,).
        low: Lower bound of the Wilson interval of the share.
        high: Upper bound.
        rows: Rows of each bin, int64.
        expected_calibration_error: Mean over rows of |observed - predicted| of their bin.
        error_by_chance: What the expected calibration error would be on average if every probability were right, by normal
            approximation; an error of that size says nothing against a model.
        brier_score: Mean squared difference of probability and answer; smaller is better.
        brier_skill: 1 - Brier score / that of the mean rate for everybody; None where all or none answered.
    """

    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    rows: NDArray[np.int64]
    expected_calibration_error: float
    error_by_chance: float
    brier_score: float
    brier_skill: float | None


def reliability(
    probabilities: Floats,
    responded: Flags,
    *,
    bins: int = 10,
    binning: Literal["rows", "width"] = "rows",
    level: float = 0.95,
) -> Reliability:
    """Reliability table and scores.

    Args:
        probabilities: In [0, 1], shape (rows,).
        responded: What happened, bool, shape (rows,), at least one row.
        bins: Largest number of bins, >= 1.
        binning: `rows` makes bins of as equal size as equal probabilities allow, which suits low rates; `width` cuts [0, 1]
            evenly.
        level: Confidence level.

    Source: Murphy and Winkler, "Reliability of Subjective Probability Forecasts", 1977; Naeini, Cooper and Hauskrecht,
    "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015 (expected calibration error); Brier, Monthly
    Weather Review 1950.
    """
    if probabilities.ndim != 1 or not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities must be one number in [0, 1] a row")
    check_flags(len(probabilities), responded=responded)
    if not len(probabilities):
        raise ValueError("there are no rows to judge")
    if bins < 1:
        raise ValueError(f"at least one bin is needed, got {bins}")
    if binning == "rows":
        edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, bins + 1)[1:-1]))
        # Equal probabilities are in one bin: the one that they are the upper edge of.
        number = np.searchsorted(edges, probabilities, side="left")
    else:
        number = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    _, number = np.unique(number, return_inverse=True)
    rows = np.bincount(number)
    predicted = np.bincount(number, weights=probabilities) / rows
    answers = np.bincount(number, weights=responded).astype(np.int64)
    found = share(answers, rows, level=level)
    brier = float(((probabilities - responded) ** 2).mean())
    rate = float(responded.mean())
    return Reliability(
        predicted=predicted,
        observed=found.value,
        low=found.low,
        high=found.high,
        rows=rows.astype(np.int64),
        # The mean of the absolute value of a normal distribution is its standard deviation times the square root of 2 / pi.
        error_by_chance=float(rows @ np.sqrt(2 / np.pi * predicted * (1 - predicted) / rows) / len(probabilities)),
        expected_calibration_error=float(rows @ np.abs(found.value - predicted) / len(probabilities)),
        brier_score=brier,
        brier_skill=None if rate in (0.0, 1.0) else 1 - brier / (rate * (1 - rate)),
    )

"""Shares of people who did something, and the difference of two shares.

Holds the intervals for what each person does or does not do (clicked, converted, unsubscribed), over many cells at once. The
unit is a person who was randomised, also where a share is of their rows; amounts and ratios are in `means`, looking more than once
in `sequential`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint, test_proportions_2indep

from models_ml.bootstrap import Interval
from models_ml.campaigns.lift import Lift, check_level
from models_ml.campaigns.means import PairMoments, ratio_of_sums

NOBODY = "nobody in an arm"


def share(successes: ArrayLike, people: ArrayLike, *, level: float = 0.95) -> Interval:
    """Share of people with its Wilson interval.

    Args:
        successes: Number of people who did it, any shape.
        people: Number of people, a shape that broadcasts with `successes`.
        level: Confidence level.

    Returns:
        Share and bounds in [0, 1], the common shape; NaN throughout where there are no people.

    Raises:
        ValueError: If a count is not whole, is negative, or there are more successes than people.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927.
    """
    check_level(level)
    done, asked = counts(successes, people)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = done / asked
        low, high = proportion_confint(done, asked, alpha=1 - level, method="wilson")
    # At 0 and at everybody the bound is the share itself, up to rounding.
    return Interval(value, np.minimum(np.asarray(low), value), np.maximum(np.asarray(high), value))


def share_of_rows(rows: PairMoments, *, level: float = 0.95) -> Interval:
    """Share of rows, of which a person may have several, with Wilson's interval at the number of rows that would say as much.

    That number is share (1 - share) over the error variance by the delta method with people as clusters, less what the variance of
    few people is not known by (z^2 / t^2 with people - 1 degrees of freedom), and at most the rows there are. Where the variance
    says nothing (no success, no failure, one person) it is the number of people, as if all rows of a person were one. With one row
    a person it is Wilson's interval of `share`.

    Args:
        rows: Moments over people of successes y and rows x, 0 <= y <= x.
        level: Confidence level.

    Returns:
        Share and bounds in [0, 1], shape (cells,); NaN throughout without rows.

    Source: Korn and Graubard, "Confidence Intervals for Proportions with Small Expected Number of Positive Counts Estimated from
    Survey Data", Survey Methodology 1998 (the effective number); Dean and Pagano, "Evaluating Confidence Interval Methods for
    Binomial Proportions in Clustered Surveys", Journal of Survey Statistics and Methodology 2015 (Wilson's interval at it).
    """
    check_level(level)
    value, error = ratio_of_sums(rows)
    people = rows.x.people.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        number = people * rows.x.mean
        sure = (stats.norm.ppf((1 + level) / 2) / stats.t.ppf((1 + level) / 2, people - 1)) ** 2
        effective = np.where(error > 0, np.minimum(sure * value * (1 - value) / error, number), people)
        effective = np.where((rows.x.variance == 0) & (rows.x.mean == 1), number, effective)
        low, high = proportion_confint(value * effective, effective, alpha=1 - level, method="wilson")
    return Interval(value, np.minimum(np.asarray(low), value), np.maximum(np.asarray(high), value))


def difference_of_shares(
    successes_control: ArrayLike,
    people_control: ArrayLike,
    successes_treatment: ArrayLike,
    people_treatment: ArrayLike,
    *,
    level: float = 0.95,
) -> Lift:
    """Difference of two independent shares with Newcombe's interval and the score test.

    The interval is made of the Wilson intervals of both arms (method 10 of Newcombe), so it stays within [-1, 1] and is right
    when few or no people converted. The p-value is that of Pearson's chi-square test without continuity correction; with a
    lift just on the edge the two may disagree in the third digit. Where nobody or everybody in both arms did it, it is 1.

    Args:
        successes_control: Number of people in control who did it; the four counts broadcast.
        people_control: Number of people in control.
        successes_treatment: Number of people in treatment who did it.
        people_treatment: Number of people in treatment.
        level: Confidence level.

    Returns:
        One lift per cell, in shares (0.01 is one percentage point).

    Raises:
        ValueError: As in `share`.

    Source: Newcombe, "Interval Estimation for the Difference between Independent Proportions: Comparison of Eleven Methods",
    Statistics in Medicine 1998.
    """
    check_level(level)
    done_c, n_c = counts(successes_control, people_control)
    done_t, n_t = counts(successes_treatment, people_treatment)
    done_c, n_c, done_t, n_t = np.broadcast_arrays(done_c, n_c, done_t, n_t)
    with np.errstate(invalid="ignore", divide="ignore"):
        control, treatment = done_c / n_c, done_t / n_t
        low, high = confint_proportions_2indep(done_t, n_t, done_c, n_c, method="newcomb", alpha=1 - level)
        p_value = test_proportions_2indep(
            done_t, n_t, done_c, n_c, method="score", correction=False, return_results=False
        )[1]
    unanimous = (done_c + done_t == 0) | (done_c + done_t == n_c + n_t)
    nobody = (n_c == 0) | (n_t == 0)
    difference = treatment - control
    return Lift(
        control=control,
        treatment=treatment,
        difference=difference,
        low=np.minimum(low, difference),
        high=np.maximum(high, difference),
        p_value=np.where(nobody, np.nan, np.where(unanimous, 1.0, p_value)),
        people_control=n_c,
        people_treatment=n_t,
        reason=np.where(nobody, NOBODY, ""),
        method="Newcombe, hybrid score",
    )


def counts(successes: ArrayLike, people: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both as whole numbers of one shape.

    Raises:
        ValueError: If a count is not whole, is negative, or there are more successes than people.
    """
    given = np.broadcast_arrays(np.asarray(successes), np.asarray(people))
    done, asked = (np.asarray(one, dtype=np.float64) for one in given)
    if not (np.isfinite(done).all() and np.isfinite(asked).all()):
        raise ValueError("numbers of people must be finite: give 0 where there is nobody")
    if (done != np.floor(done)).any() or (asked != np.floor(asked)).any():
        raise ValueError("successes and people must be whole numbers of people, not shares or weights")
    wrong = (done < 0) | (done > asked)
    if wrong.any():
        raise ValueError(
            f"a share needs 0 <= successes <= people, got {done[wrong].flat[0]:.0f} of {asked[wrong].flat[0]:.0f}: "
            "count each person once, not each event"
        )
    return done.astype(np.int64), asked.astype(np.int64)

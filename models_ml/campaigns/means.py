"""Means per person, ratios of means, and how much sharper they become with what was known before.

Holds Welch's (and Student's) interval of a difference of means, the delta method for ratios such as revenue per click, and CUPED.
All work on moments by cell and arm, which a warehouse can compute as well (`count`, `avg`, `var_samp`, `covar_samp`); the unit is
always the person who was randomised, so several rows of one person are added up first (`person_totals`). Shares are in
`proportions`.
"""

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from models_ml.bootstrap import Interval
from models_ml.campaigns.lift import Lift, check_level

TOO_FEW = "fewer than 2 people in an arm"
NO_SPREAD = "all values in an arm are equal, so their error is not known"
NO_DENOMINATOR = "the denominator of the ratio is not positive in an arm"


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """People of one arm, cell by cell.

    Attributes:
        people: Number of people, shape (cells,).
        mean: Mean over people, same shape; NaN without people.
        variance: Sample variance (divisor people - 1), same shape; NaN with fewer than 2 people.
    """

    people: NDArray[np.int64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    @property
    def error_variance(self) -> NDArray[np.float64]:
        """Variance of the mean."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.variance / self.people


@dataclasses.dataclass(frozen=True, eq=False)
class PairMoments:
    """People of one arm with two values each, cell by cell.

    Attributes:
        y: Of the outcome, or of the numerator of a ratio.
        x: Of the covariate, or of the denominator.
        covariance: Sample covariance of the two over people (divisor people - 1), shape (cells,).
    """

    y: Moments
    x: Moments
    covariance: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Cuped:
    """A lift that was adjusted for a covariate from before the experiment.

    Attributes:
        lift: Of the adjusted outcome; the arms are means at the covariate's mean over both arms.
        theta: Slope that was used, shape (cells,); 0 where the covariate says nothing or is constant.
        variance_reduction: Share by which the error variance of the difference fell, in [0, 1], same shape.
        control: Adjusted moments of the control arm, for `sequential`.
        treatment: Adjusted moments of the treatment arm.
    """

    lift: Lift
    theta: NDArray[np.float64]
    variance_reduction: NDArray[np.float64]
    control: Moments
    treatment: Moments


def person_totals(person: NDArray[np.integer], values: NDArray[np.floating], people: int) -> NDArray[np.float64]:
    """Sum of the rows of each person, 0 for people without a row: they were randomised and count.

    Args:
        person: Index of the person of each row, 0 to people - 1, shape (rows,).
        values: Value of each row, shape (rows,).
        people: Number of people in the experiment.

    Returns:
        Shape (people,).

    Raises:
        ValueError: If an index is out of range, or a value is not finite.
    """
    _check_rows(person, people, values)
    total: NDArray[np.float64] = np.bincount(person, weights=values, minlength=people).astype(np.float64)
    return total


def moments(values: NDArray[np.floating], cell: NDArray[np.integer], cells: int) -> Moments:
    """Moments of the people of one arm by cell.

    Args:
        values: One value for each person, shape (people,).
        cell: Cell of each person, 0 to cells - 1, shape (people,).
        cells: Number of cells.

    Raises:
        ValueError: If a cell is out of range, or a value is not finite.
    """
    _check_rows(cell, cells, values)
    people, mean, centred = _centre(values, cell, cells)
    return Moments(people, mean, _product(centred, centred, cell, people))


def pair_moments(
    y: NDArray[np.floating], x: NDArray[np.floating], cell: NDArray[np.integer], cells: int
) -> PairMoments:
    """Moments of two values of the people of one arm by cell.

    Args:
        y: Outcome or numerator of each person, shape (people,).
        x: Covariate or denominator of each person, shape (people,). People without a past need a value: give all of them the
            same, for instance 0; nobody is left out.
        cell: As in `moments`.
        cells: As in `moments`.

    Raises:
        ValueError: As in `moments`.
    """
    _check_rows(cell, cells, y, x)
    people, mean_y, centred_y = _centre(y, cell, cells)
    _, mean_x, centred_x = _centre(x, cell, cells)
    return PairMoments(
        Moments(people, mean_y, _product(centred_y, centred_y, cell, people)),
        Moments(people, mean_x, _product(centred_x, centred_x, cell, people)),
        _product(centred_y, centred_x, cell, people),
    )


def pair_moments_of_sums(
    people: NDArray[np.int64],
    y: NDArray[np.int64],
    x: NDArray[np.int64],
    y_squared: NDArray[np.int64],
    x_squared: NDArray[np.int64],
    y_by_x: NDArray[np.int64],
) -> PairMoments:
    """Moments of two counts of the people of one arm by cell, from sums over people: the same as `pair_moments` of the counts.

    Sums of whole numbers are exact, so that nothing is lost where a variance is small beside its mean.

    Args:
        people: Number of people, shape (cells,); times any sum of products less than 2^63.
        y: Sum of the outcome or numerator over people, same shape.
        x: Sum of the covariate or denominator, same shape.
        y_squared: Sum of the squares of the one, same shape.
        x_squared: Sum of the squares of the other, same shape.
        y_by_x: Sum of their products, same shape.
    """

    def mean(total: NDArray[np.int64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            return np.asarray(total / people)

    def covariance(one: NDArray[np.int64], other: NDArray[np.int64], product: NDArray[np.int64]) -> NDArray[np.float64]:
        spread = people * product - one * other
        return np.where(people > 1, spread / np.maximum(people * (people - 1), 1), np.nan)

    return PairMoments(
        Moments(people, mean(y), covariance(y, y, y_squared)),
        Moments(people, mean(x), covariance(x, x, x_squared)),
        covariance(y, x, y_by_x),
    )


def difference_of_means(
    control: Moments, treatment: Moments, *, level: float = 0.95, variance: Literal["own", "pooled"] = "own"
) -> Lift:
    """Difference of two means with Welch's interval and p-value, or Student's.

    Welch's is right for whatever variances the arms have, once people are many for the skewness of their values. A small holdout
    in which few have bought is not: by chance it has few large amounts, hence a low mean and a low variance together, and
    pretends to be sure. There `pooled` keeps the false positives, as long as the arms vary alike; benchmarks measure both.

    Args:
        control: Moments of the control arm.
        treatment: Moments of the treatment arm, same cells.
        level: Confidence level.
        variance: `own` for each arm's own (Welch), `pooled` for one of both arms (Student).

    Source: Welch, "The Generalization of 'Student's' Problem when Several Different Population Variances are Involved",
    Biometrika 1947; degrees of freedom by Satterthwaite.
    """
    degrees: NDArray[np.float64] | None = None
    method = "Welch"
    if variance == "pooled":
        control, treatment = pooled(control, treatment)
        degrees = (control.people + treatment.people - 2).astype(np.float64)
        method = "Student, pooled variance"
    return _student(
        control.mean,
        treatment.mean,
        control.error_variance,
        treatment.error_variance,
        control.people,
        treatment.people,
        level,
        method,
        degrees=degrees,
    )


def pooled(control: Moments, treatment: Moments) -> tuple[Moments, Moments]:
    """Both arms with the variance around their own means of all people together; NaN if an arm has fewer than 2 people."""
    weight_c, weight_t = control.people - 1, treatment.people - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        together = (weight_c * control.variance + weight_t * treatment.variance) / (weight_c + weight_t)
    return dataclasses.replace(control, variance=together), dataclasses.replace(treatment, variance=together)


def ratio_of_sums(arm: PairMoments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ratio sum(y) / sum(x) over people and its error variance by the delta method.

    Around the ratio a person contributes (y - ratio x) / mean(x), whose variance is that of the ratio:
    (var y - 2 ratio cov(y, x) + ratio^2 var x) / (people mean(x)^2). So rows of one person may depend on each other as they like.

    Args:
        arm: Moments of numerator y and denominator x over people.

    Returns:
        Both of shape (cells,); NaN without a denominator, the variance also with fewer than 2 people.

    Source: Deng, Knoblich and Lu, "Applying the Delta Method in Metric Analytics", KDD 2018.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(arm.x.mean > 0, arm.y.mean / arm.x.mean, np.nan)
        spread = arm.y.variance - 2 * ratio * arm.covariance + ratio**2 * arm.x.variance
        # What is left of exact proportionality is rounding.
        exact = spread <= 1e-14 * (arm.y.variance + ratio**2 * arm.x.variance)
        return ratio, np.where(exact, 0.0, spread) / (arm.y.people * arm.x.mean**2)


def mean_of_rows(rows: PairMoments, *, level: float = 0.95) -> Interval:
    """Mean of a value over rows, of which a person may have several, with Student's interval by people.

    Args:
        rows: Moments over people with a row: sum of the value y and number of rows x.
        level: Confidence level.

    Returns:
        Mean and bounds, shape (cells,); bounds are NaN with fewer than 2 people, or where all answer alike.
    """
    check_level(level)
    value, error = ratio_of_sums(rows)
    with np.errstate(invalid="ignore"):
        half = stats.t.ppf((1 + level) / 2, rows.x.people - 1) * np.sqrt(np.where(error > 0, error, np.nan))
    return Interval(value, value - half, value + half)


def difference_of_ratios(control: PairMoments, treatment: PairMoments, *, level: float = 0.95) -> Lift:
    """Difference of two ratios of means by the delta method, with Welch's degrees of freedom.

    The ratio of an arm is that of `ratio_of_sums`, for instance revenue / clicks, where people without a click stay in with 0.

    Args:
        control: Moments of numerator and denominator in the control arm.
        treatment: The same of the treatment arm, same cells.
        level: Confidence level.

    """
    (ratio_c, error_c), (ratio_t, error_t) = ratio_of_sums(control), ratio_of_sums(treatment)
    with np.errstate(invalid="ignore"):
        no_denominator = ~((control.x.mean > 0) & (treatment.x.mean > 0))
    return _student(
        ratio_c,
        ratio_t,
        error_c,
        error_t,
        control.y.people,
        treatment.y.people,
        level,
        "delta method",
        reason=np.where(no_denominator, NO_DENOMINATOR, ""),
    )


def cuped(control: PairMoments, treatment: PairMoments, *, level: float = 0.95) -> Cuped:
    """Difference of means after taking out what a covariate from before the experiment explains.

    y - theta (x - mean of x over both arms) has the same expected difference, because x cannot depend on the arm, and the
    smallest variance with theta = cov(difference of y, difference of x) / var(difference of x); with arms of one size that is the
    pooled slope. So the estimated variance never rises, and a constant covariate changes nothing. Theta counts as known,
    which costs coverage only when people are few.

    Args:
        control: Moments of outcome y and covariate x in the control arm.
        treatment: The same of the treatment arm, same cells.
        level: Confidence level.

    Source: Deng, Xu, Kohavi and Walker, "Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment
    Data", WSDM 2013.
    """
    n_c, n_t = control.y.people, treatment.y.people
    with np.errstate(invalid="ignore", divide="ignore"):
        together = control.covariance / n_c + treatment.covariance / n_t
        spread = control.x.error_variance + treatment.x.error_variance
        # Rounding leaves a constant covariate a spread around 1e-32 of its square.
        level_of_x = np.maximum(np.abs(control.x.mean), np.abs(treatment.x.mean))
        useful = spread * np.minimum(n_c, n_t) > (1e-12 * level_of_x) ** 2
        theta = np.where(useful, together / np.where(useful, spread, 1.0), 0.0)
        centre = (n_c * control.x.mean + n_t * treatment.x.mean) / (n_c + n_t)
        adjusted = [
            Moments(
                arm.y.people,
                arm.y.mean - theta * (arm.x.mean - centre),
                np.maximum(arm.y.variance - 2 * theta * arm.covariance + theta**2 * arm.x.variance, 0.0),
            )
            for arm in (control, treatment)
        ]
        before = control.y.error_variance + treatment.y.error_variance
        after = adjusted[0].error_variance + adjusted[1].error_variance
        reduction = np.where(before > 0, np.clip(1 - after / np.where(before > 0, before, 1.0), 0.0, 1.0), 0.0)
    lift = dataclasses.replace(difference_of_means(*adjusted, level=level), method="Welch, CUPED")
    return Cuped(lift, theta, reduction, adjusted[0], adjusted[1])


def _student(
    control: NDArray[np.float64],
    treatment: NDArray[np.float64],
    error_control: NDArray[np.float64],
    error_treatment: NDArray[np.float64],
    people_control: NDArray[np.int64],
    people_treatment: NDArray[np.int64],
    level: float,
    method: str,
    *,
    degrees: NDArray[np.float64] | None = None,
    reason: ArrayLike = "",
) -> Lift:
    """Interval of the difference from the error variance of each arm; a given reason comes first.

    Degrees of freedom are Welch's unless given.
    """
    check_level(level)
    if np.shape(people_control) != np.shape(people_treatment):
        raise ValueError(
            f"both arms must have the same cells: shapes {np.shape(people_control)} and {np.shape(people_treatment)}"
        )
    few = np.minimum(people_control, people_treatment) < 2
    with np.errstate(invalid="ignore", divide="ignore"):
        error = error_control + error_treatment
        flat = ~(np.minimum(error_control, error_treatment) > 0)
        if degrees is None:
            degrees = error**2 / (
                error_control**2 / np.maximum(people_control - 1, 1)
                + error_treatment**2 / np.maximum(people_treatment - 1, 1)
            )
        why = np.where(few, TOO_FEW, np.where(np.asarray(reason) != "", reason, np.where(flat, NO_SPREAD, "")))
        known = why == ""
        difference = treatment - control
        half = np.where(known, stats.t.ppf((1 + level) / 2, degrees) * np.sqrt(error), np.nan)
        p_value = np.where(known, 2 * stats.t.sf(np.abs(difference) / np.sqrt(error), degrees), np.nan)
    return Lift(
        control=np.asarray(control),
        treatment=np.asarray(treatment),
        difference=np.asarray(difference),
        low=np.asarray(difference - half),
        high=np.asarray(difference + half),
        p_value=p_value,
        people_control=np.asarray(people_control),
        people_treatment=np.asarray(people_treatment),
        reason=why,
        method=method,
    )


def _check_rows(index: NDArray[np.integer], size: int, *values: NDArray[np.floating]) -> None:
    """Raises ValueError unless there is one finite value for each index, and each index is in range."""
    for one in values:
        if one.shape != index.shape or one.ndim != 1:
            raise ValueError(f"one value per row is needed: shapes {one.shape} and {index.shape}")
        if not np.isfinite(one).all():
            raise ValueError(
                "values must be finite: give people without a value the value that stands for it, mostly 0"
            )
    if len(index) and (index.min() < 0 or index.max() >= size):
        raise ValueError(f"indices must be 0 to {size - 1}, got {index.min()} to {index.max()}")


def _centre(
    values: NDArray[np.floating], cell: NDArray[np.integer], cells: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """People and mean by cell, and how far each person is from the mean of the own cell."""
    people = np.bincount(cell, minlength=cells)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(cell, weights=values, minlength=cells) / people
    centred = values - mean[cell]
    return people, mean, centred


def _product(
    first: NDArray[np.float64], second: NDArray[np.float64], cell: NDArray[np.integer], people: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Sample covariance by cell from centred values; NaN with fewer than 2 people."""
    total = np.bincount(cell, weights=first * second, minlength=len(people))
    return np.where(people > 1, total / np.maximum(people - 1, 1), np.nan)

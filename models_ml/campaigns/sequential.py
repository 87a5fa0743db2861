"""Lifts that may be looked at every day.

Holds asymptotic confidence sequences: intervals that hold at all looks together, so that a campaign may be stopped on any of
them. The interval of one look fixed beforehand is sharper; it is in `proportions` and `means`.

With t people in both arms so far and the error variance V = var_control / people_control + var_treatment / people_treatment of
the difference, the interval at level 1 - a is

    difference +- sqrt(V) * sqrt(2 (t r + 1) / (t r) * log(sqrt(t r + 1) / a)),    r = rho^2

which is the two-sided sequence of Theorem 2.2 for the influence function of the difference, whose variance is t V. It is
tightest about t = planned people when r is (-W(-a^2 / e) - 1) / planned people, W the lower branch of Lambert's function. The
smallest a whose interval leaves out zero is an always-valid p-value:

    p = min(1, sqrt(t r + 1) * exp(-(difference^2 / V) t r / (2 (t r + 1))))

The smallest p-value of all looks so far is valid too.

Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform Central Limit Theory and Asymptotic Confidence
Sequences", Annals of Statistics 2024 (arXiv:2103.06476), Theorem 2.2 and appendix on choosing rho.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import lambertw

from models_ml.campaigns.lift import Lift, check_level
from models_ml.campaigns.means import NO_SPREAD, Moments, pooled
from models_ml.campaigns.proportions import NOBODY, counts

# With fewer people an arm's mean is not yet normal enough for a bound at some three to four standard errors.
LEAST_PEOPLE = 100
TOO_EARLY = "too few people in an arm to look yet"


def rho_squared(planned_people: float, *, level: float = 0.95) -> float:
    """The r with which the sequence is tightest when so many people are in both arms together.

    Raises:
        ValueError: If fewer than 1 person is planned.
    """
    check_level(level)
    if not planned_people >= 1:
        raise ValueError(f"planned_people must be at least 1, got {planned_people}")
    alpha = 1 - level
    return float(-lambertw(-(alpha**2) / np.e, k=-1).real - 1) / planned_people


def sequence_of_means(
    control: Moments,
    treatment: Moments,
    *,
    planned_people: float,
    level: float = 0.95,
    least_people: int = LEAST_PEOPLE,
) -> Lift:
    """Difference of means at every look.

    The error variance is the larger of what the arms' own variances and their pooled variance give. By its own, a small
    holdout in which few have bought yet has a low mean and a low variance together and pretends to be sure: of experiments
    without an effect, one in seven raised a false alarm. The price is a wider interval where a campaign makes people vary more.

    Args:
        control: Moments of everyone in the control arm up to the look; one entry for each look (and cell), any shape.
        treatment: The same of the treatment arm.
        planned_people: Number of people in both arms at which the interval is to be tightest; fixed before the first look.
        level: Confidence level of all looks together.
        least_people: Least number of people in each arm; earlier looks have no interval.
    """
    people = np.minimum(control.people, treatment.people)
    own, together = (
        sum(arm.error_variance for arm in arms) for arms in ((control, treatment), pooled(control, treatment))
    )
    error = np.fmax(own, together)
    with np.errstate(invalid="ignore"):
        reason = np.where(people < max(least_people, 2), TOO_EARLY, np.where(error > 0, "", NO_SPREAD))
    return _sequence(control, treatment, error, planned_people, level, reason)


def sequence_of_shares(
    successes_control: ArrayLike,
    people_control: ArrayLike,
    successes_treatment: ArrayLike,
    people_treatment: ArrayLike,
    *,
    planned_people: float,
    level: float = 0.95,
) -> Lift:
    """Difference of shares at every look.

    The variance of an arm is taken at (successes + 2) / (people + 4), as Agresti and Coull do: by its own share an arm
    without a conversion would pass for certain, and early looks at rare conversions would raise false alarms.

    Args:
        successes_control: Number of people in control who did it, up to the look; the four counts broadcast.
        people_control: Number of people in control up to the look.
        successes_treatment: As above.
        people_treatment: As above.
        planned_people: As in `sequence_of_means`.
        level: As in `sequence_of_means`.

    Raises:
        ValueError: As in `proportions.share`.
    """
    done_c, n_c = counts(successes_control, people_control)
    done_t, n_t = counts(successes_treatment, people_treatment)
    done_c, n_c, done_t, n_t = np.broadcast_arrays(done_c, n_c, done_t, n_t)
    control, treatment = _cautious(done_c, n_c), _cautious(done_t, n_t)
    reason = np.where(np.minimum(n_c, n_t) == 0, NOBODY, "")
    error = control.error_variance + treatment.error_variance
    return _sequence(control, treatment, error, planned_people, level, reason)


def _cautious(successes: NDArray[np.int64], people: NDArray[np.int64]) -> Moments:
    """Moments of a share, with the variance at a share that is never 0 or 1."""
    with np.errstate(invalid="ignore"):
        shrunk = (successes + 2) / (people + 4)
        return Moments(people, successes / people, shrunk * (1 - shrunk))


def _sequence(
    control: Moments,
    treatment: Moments,
    error: NDArray[np.float64],
    planned_people: float,
    level: float,
    reason: NDArray[np.str_],
) -> Lift:
    """The formulas of the module with V = `error`; nothing where there is a reason."""
    known = reason == ""
    intrinsic = (control.people + treatment.people) * rho_squared(planned_people, level=level)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        factor = 2 * (intrinsic + 1) / intrinsic
        half = np.sqrt(error * factor * (0.5 * np.log1p(intrinsic) - np.log1p(-level)))
        difference = treatment.mean - control.mean
        p_value = np.exp(np.minimum(0.5 * np.log1p(intrinsic) - difference**2 / error / factor, 0.0))
    return Lift(
        control=control.mean,
        treatment=treatment.mean,
        difference=difference,
        low=np.where(known, difference - half, np.nan),
        high=np.where(known, difference + half, np.nan),
        p_value=np.where(known, p_value, np.nan),
        people_control=control.people,
        people_treatment=treatment.people,
        reason=reason,
        method="asymptotic confidence sequence",
    )

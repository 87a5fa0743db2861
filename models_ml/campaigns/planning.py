"""What an experiment can see, before it is run.

Holds the smallest lift that a campaign with a holdout would find with a given power, and the number of people that a given lift
asks for; for shares and for means, looked at once at the end. Measuring is in `proportions` and `means`.
"""

import dataclasses
import math
from collections.abc import Callable

from scipy.optimize import brentq
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import power_proportions_2indep

from models_ml.campaigns.lift import check_level

_MOST_PEOPLE = 1e12


@dataclasses.dataclass(frozen=True)
class Plan:
    """A size of experiment and the lift that it finds.

    Attributes:
        difference: Lift in absolute units (shares: 0.01 is one percentage point); None where there is a reason.
        people_control: Number of people held out; None where it cannot be said.
        people_treatment: Number of people who are reached; None likewise.
        reason: Why something is None.
    """

    difference: float | None
    people_control: int | None
    people_treatment: int | None
    reason: str | None = None


def detectable_difference_of_shares(
    base: float, people: int, holdout_share: float, *, level: float = 0.95, power: float = 0.8
) -> Plan:
    """Smallest rise of a share that is found with the given power.

    Args:
        base: Share that converts without the campaign, in (0, 1).
        people: Number of people who are eligible, both arms together.
        holdout_share: Share of them who are held out, in (0, 1).
        level: Confidence level of the two-sided test (pooled variance under no difference, own variances otherwise).
        power: Chance of finding it, in (1 - level, 1).

    Returns:
        The rise; none if even a rise to 100 % would be missed too often, or an arm would be empty.

    Raises:
        ValueError: If a share, the level or the power is out of range, or people is negative.
    """
    _check(level, power, holdout_share, people)
    _check_base(base)
    control, treatment = _arms(people, holdout_share)
    if not control or not treatment:
        return Plan(None, control, treatment, "an arm would be empty")
    largest = 1 - base

    def found(rise: float) -> float:
        return _power_of_shares(rise, base, treatment, control / treatment, level)

    if not found(largest * (1 - 1e-9)) >= power:
        return Plan(None, control, treatment, "too few people: even a rise to 100 % would be missed too often")
    return Plan(_root(found, power, 1e-12, largest * (1 - 1e-9)), control, treatment)


def people_for_difference_of_shares(
    base: float, difference: float, holdout_share: float, *, level: float = 0.95, power: float = 0.8
) -> Plan:
    """Number of people at which a difference of shares is found with the given power.

    Args:
        base: Share that converts without the campaign, in (0, 1).
        difference: Rise or fall of that share, not 0.
        holdout_share: As in `detectable_difference_of_shares`.
        level: As there.
        power: As there.

    Raises:
        ValueError: If base + difference leaves (0, 1); otherwise as there.
    """
    _check(level, power, holdout_share, 0)
    _check_base(base)
    if not difference or not 0 < base + difference < 1:
        raise ValueError(f"base + difference must be in (0, 1) and the difference not 0, got {base} and {difference}")

    def found(people: float) -> float:
        ratio = holdout_share / (1 - holdout_share)
        return _power_of_shares(difference, base, people * (1 - holdout_share), ratio, level)

    return _people(found, power, holdout_share, difference)


def detectable_difference_of_means(
    deviation: float, people: int, holdout_share: float, *, level: float = 0.95, power: float = 0.8
) -> Plan:
    """Smallest difference of means that is found with the given power, by the normal approximation.

    Args:
        deviation: Standard deviation of the outcome over people, > 0. With CUPED it is smaller by sqrt(1 - variance reduction).
        people: As in `detectable_difference_of_shares`.
        holdout_share: As there.
        level: As there.
        power: As there.

    Raises:
        ValueError: If the deviation is not positive; otherwise as there.
    """
    _check(level, power, holdout_share, people)
    _check_deviation(deviation)
    control, treatment = _arms(people, holdout_share)
    if not control or not treatment:
        return Plan(None, control, treatment, "an arm would be empty")

    def found(effect: float) -> float:
        return float(NormalIndPower().power(effect, treatment, 1 - level, ratio=control / treatment))

    # With one person in each arm an effect of 100 deviations is found for certain at any usual level.
    return Plan(deviation * _root(found, power, 0.0, 100.0), control, treatment)


def people_for_difference_of_means(
    deviation: float, difference: float, holdout_share: float, *, level: float = 0.95, power: float = 0.8
) -> Plan:
    """Number of people at which a difference of means is found with the given power, by the normal approximation.

    Args:
        deviation: As in `detectable_difference_of_means`.
        difference: Difference of means in the same unit, not 0.
        holdout_share: As in `detectable_difference_of_shares`.
        level: As there.
        power: As there.

    Raises:
        ValueError: If the deviation is not positive or the difference is 0; otherwise as there.
    """
    _check(level, power, holdout_share, 0)
    _check_deviation(deviation)
    if not difference:
        raise ValueError("no number of people tells a difference of 0 from none")

    def found(people: float) -> float:
        ratio = holdout_share / (1 - holdout_share)
        effect = abs(difference) / deviation
        return float(NormalIndPower().power(effect, people * (1 - holdout_share), 1 - level, ratio=ratio))

    return _people(found, power, holdout_share, difference)


def _power_of_shares(difference: float, base: float, treatment: float, ratio: float, level: float) -> float:
    """Power of the pooled two-sided test of two shares; `ratio` is control / treatment."""
    return float(power_proportions_2indep(difference, base, treatment, ratio, alpha=1 - level, return_results=False))


def _people(found: Callable[[float], float], power: float, holdout_share: float, difference: float) -> Plan:
    """Least people with the power, rounded up in each arm."""
    least = 1 / min(holdout_share, 1 - holdout_share)
    if found(_MOST_PEOPLE) < power:
        return Plan(difference, None, None, f"more than {_MOST_PEOPLE:.0e} people would be needed")
    people = least if found(least) >= power else _root(found, power, least, _MOST_PEOPLE)
    # The root is only near: 0.999999 people too many must not ask for one more.
    return Plan(
        difference,
        math.ceil(people * holdout_share - 1e-6),
        math.ceil(people * (1 - holdout_share) - 1e-6),
    )


def _root(found: Callable[[float], float], power: float, low: float, high: float) -> float:
    """Where a rising power function reaches the power."""
    return float(brentq(lambda at: found(at) - power, low, high, xtol=1e-12, rtol=1e-12))


def _arms(people: int, holdout_share: float) -> tuple[int, int]:
    control = round(people * holdout_share)
    return control, people - control


def _check(level: float, power: float, holdout_share: float, people: int) -> None:
    check_level(level)
    if not 1 - level < power < 1:
        raise ValueError(f"power must be above 1 - level and below 1, for instance 0.8, got {power}")
    if not 0 < holdout_share < 1:
        raise ValueError(f"holdout_share must be in (0, 1): without a holdout nothing is measured, got {holdout_share}")
    if people < 0:
        raise ValueError(f"people must be at least 0, got {people}")


def _check_base(base: float) -> None:
    if not 0 < base < 1:
        raise ValueError(
            f"the base share must be in (0, 1), got {base}: take the share of a similar campaign's holdout"
        )


def _check_deviation(deviation: float) -> None:
    if not (deviation > 0 and math.isfinite(deviation)):
        raise ValueError(f"the standard deviation must be positive, got {deviation}")

"""Lifts of people who come from several experiments at once.

Holds the post-stratified difference: within each experiment the arms are compared, and the differences are averaged with the
experiments' people as weights. People of campaigns with different holdouts must not be thrown together: where the campaign with
the larger holdout also converts better, the arms differ without any effect (Simpson's paradox). Lifts of one experiment are in
`proportions` and `means`, and are what comes out here where there is only one.
"""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from models_ml.campaigns.lift import Lift, check_level
from models_ml.campaigns.means import NO_SPREAD, TOO_FEW, Moments
from models_ml.campaigns.proportions import NOBODY, counts

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class _Strata:
    """Which strata are compared, and the pool and weight of each.

    Attributes:
        used: Strata with enough people in both arms, bool, shape (strata,).
        pool: Pool of each used stratum, shape (used,).
        weight: Share of the people of its pool, shape (used,).
        pools: Number of pools.
    """

    used: NDArray[np.bool_]
    pool: NDArray[np.integer]
    weight: Floats
    pools: int

    def total(self, values: NDArray[np.floating] | NDArray[np.integer]) -> Floats:
        """Sum by pool of one value for each used stratum."""
        return np.bincount(self.pool, weights=values, minlength=self.pools).astype(np.float64)


def difference_of_stratified_shares(
    successes_control: ArrayLike,
    people_control: ArrayLike,
    successes_treatment: ArrayLike,
    people_treatment: ArrayLike,
    pool: NDArray[np.integer],
    pools: int,
    *,
    level: float = 0.95,
) -> Lift:
    """Post-stratified difference of shares by pool, with the stratified interval of Newcombe.

    With w the share of a stratum in the people of its pool, an arm's value is P = sum(w p), its Wilson interval is that of as
    many people as give P the variance sum(w^2 p (1 - p) / n), and both make the interval of the difference as Newcombe does.
    The p-value is that of the difference over its standard error if within each stratum both arms were alike. With one stratum,
    interval and p-value are those of `difference_of_shares`.

    Args:
        successes_control: Number of people in control who did it, shape (strata,).
        people_control: Number of people in control, same shape.
        successes_treatment: As above.
        people_treatment: As above.
        pool: Pool of each stratum, 0 to pools - 1, same shape.
        pools: Number of pools.
        level: Confidence level.

    Returns:
        One lift a pool. Strata with an empty arm tell nothing of a difference: they are left out, of the people too.

    Raises:
        ValueError: As in `proportions.share`, or if a pool is out of range.

    Source: Yan and Su, "Stratified Wilson and Newcombe Confidence Intervals for Multiple Binomial Proportions", Statistics in
    Biopharmaceutical Research 2010, here with weights by people and an effective size; the test: Cochran, "Some Methods for
    Strengthening the Common Chi-Square Tests", Biometrics 1954, with the same weights.
    """
    check_level(level)
    done_c, n_c = counts(successes_control, people_control)
    done_t, n_t = counts(successes_treatment, people_treatment)
    strata = _strata(n_c, n_t, pool, pools, least=1)
    done_c, n_c, done_t, n_t = (values[strata.used] for values in (done_c, n_c, done_t, n_t))
    bounds = []
    for done, people in ((done_c, n_c), (done_t, n_t)):
        value = strata.total(strata.weight * done / people)
        with np.errstate(invalid="ignore", divide="ignore"):
            # Strata that differ are surer together than so many people of one share. Each is drawn to the pool by 4 people, so
            # that one in which nobody did it does not pass for certain.
            drawn = (done + 4 * value[strata.pool]) / (people + 4)
            variance = strata.total(strata.weight**2 * drawn * (1 - drawn) / people)
            as_one = strata.total(strata.weight**2 / people)
            effective = np.where(variance > 0, value * (1 - value) / variance, 1 / as_one)
            low, high = proportion_confint(value * effective, effective, alpha=1 - level, method="wilson")
        bounds.append((value, np.minimum(low, value), np.maximum(high, value)))
    (control, low_c, high_c), (treatment, low_t, high_t) = bounds
    together = (done_c + done_t) / (n_c + n_t)
    error = strata.total(strata.weight**2 * together * (1 - together) * (1 / n_c + 1 / n_t))
    difference = treatment - control
    with np.errstate(invalid="ignore", divide="ignore"):
        p_value = np.where(error > 0, 2 * stats.norm.sf(np.abs(difference) / np.sqrt(error)), 1.0)
    nobody = strata.total(strata.weight) == 0
    return Lift(
        control=_known(control, ~nobody),
        treatment=_known(treatment, ~nobody),
        difference=_known(difference, ~nobody),
        low=_known(difference - np.hypot(treatment - low_t, high_c - control), ~nobody),
        high=_known(difference + np.hypot(high_t - treatment, control - low_c), ~nobody),
        p_value=_known(p_value, ~nobody),
        people_control=strata.total(n_c).astype(np.int64),
        people_treatment=strata.total(n_t).astype(np.int64),
        reason=np.where(nobody, NOBODY, ""),
        method="Newcombe, post-stratified",
    )


def difference_of_stratified_means(
    control: Moments, treatment: Moments, pool: NDArray[np.integer], pools: int, *, level: float = 0.95
) -> Lift:
    """Post-stratified difference of means by pool with Welch's interval.

    The error variance is sum(w^2 (var_c / n_c + var_t / n_t)), its degrees of freedom are Satterthwaite's over all terms. With
    one stratum it is `difference_of_means`.

    Args:
        control: Moments of the control arm by stratum; those of an adjusted outcome for CUPED.
        treatment: Moments of the treatment arm, same strata.
        pool: Pool of each stratum, 0 to pools - 1, shape (strata,).
        pools: Number of pools.
        level: Confidence level.

    Returns:
        One lift a pool. Strata with fewer than 2 people in an arm are left out, of the people too.

    Raises:
        ValueError: If shapes differ or a pool is out of range.

    Source: Miratrix, Sekhon and Yu, "Adjusting Treatment Effect Estimates by Post-Stratification in Randomized Experiments",
    Journal of the Royal Statistical Society B 2013.
    """
    check_level(level)
    strata = _strata(control.people, treatment.people, pool, pools, least=2)
    values, errors, freedoms = [], [], []
    for arm in (control, treatment):
        error = strata.weight**2 * arm.error_variance[strata.used]
        values.append(strata.total(strata.weight * arm.mean[strata.used]))
        errors.append(strata.total(error))
        freedoms.append(strata.total(error**2 / (arm.people[strata.used] - 1)))
    few = strata.total(strata.weight) == 0
    reason = np.where(few, TOO_FEW, np.where(np.minimum(*errors) > 0, "", NO_SPREAD))
    known = reason == ""
    difference = values[1] - values[0]
    error = errors[0] + errors[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        degrees = error**2 / (freedoms[0] + freedoms[1])
        half = stats.t.ppf((1 + level) / 2, degrees) * np.sqrt(error)
        p_value = 2 * stats.t.sf(np.abs(difference) / np.sqrt(error), degrees)
    return Lift(
        control=_known(values[0], ~few),
        treatment=_known(values[1], ~few),
        difference=_known(difference, ~few),
        low=_known(difference - half, known),
        high=_known(difference + half, known),
        p_value=_known(p_value, known),
        people_control=strata.total(control.people[strata.used]).astype(np.int64),
        people_treatment=strata.total(treatment.people[strata.used]).astype(np.int64),
        reason=reason,
        method="Welch, post-stratified",
    )


def _strata(
    people_control: NDArray[np.int64],
    people_treatment: NDArray[np.int64],
    pool: NDArray[np.integer],
    pools: int,
    *,
    least: int,
) -> _Strata:
    if not people_control.shape == people_treatment.shape == pool.shape or pool.ndim != 1:
        raise ValueError(
            "each stratum needs both arms and one pool: shapes "
            f"{people_control.shape}, {people_treatment.shape} and {pool.shape}"
        )
    if len(pool) and not 0 <= pool.min() <= pool.max() < pools:
        raise ValueError(f"pools must be 0 to {pools - 1}, got {pool.min()} to {pool.max()}")
    used = np.minimum(people_control, people_treatment) >= least
    people = (people_control + people_treatment)[used]
    within = np.bincount(pool[used], weights=people, minlength=pools)
    return _Strata(used, pool[used], people / within[pool[used]], pools)


def _known(values: Floats, known: NDArray[np.bool_]) -> Floats:
    return np.where(known, values, np.nan)

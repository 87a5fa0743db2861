"""Rates of cells with few exposures.

Holds the empirical Bayes estimate of rates: a beta prior fitted over the cells of a kind or segment, and the posterior of each
cell; and both for cells of kind and segment. What else is a cell (campaign x item) is decided by the caller; experiments with a
control group are in `lift`, choosing while rates are uncertain is in `exploration`.
"""

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betaln, digamma, expit, logit
from scipy.stats import beta

Floats = NDArray[np.float64]
Counts = NDArray[np.integer]
PriorMethod = Literal["marginal_likelihood", "moments"]

# Prior exposures (alpha + beta) between which a prior is sought; at the upper end the cells are told apart by nothing but chance.
LEAST_STRENGTH = 1e-2
MOST_STRENGTH = 1e6


@dataclasses.dataclass(frozen=True)
class BetaPrior:
    """Distribution of the rates of cells before their own answers are seen.

    Attributes:
        alpha: Prior answers, > 0.
        beta: Prior exposures without an answer, > 0.
    """

    alpha: float
    beta: float

    def __post_init__(self) -> None:
        if not (0 < self.alpha < np.inf and 0 < self.beta < np.inf):
            raise ValueError(f"alpha and beta must be positive and finite, got {self.alpha} and {self.beta}")

    @property
    def mean(self) -> float:
        """Mean rate."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def strength(self) -> float:
        """How many exposures the prior weighs."""
        return self.alpha + self.beta


@dataclasses.dataclass(frozen=True)
class FittedPrior:
    """A prior, or the reason why there is none.

    Attributes:
        prior: None where cells say nothing about it.
        cells: Cells with at least one exposure.
        reason: Why there is no prior; None if there is one.
    """

    prior: BetaPrior | None
    cells: int
    reason: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Posterior:
    """Rates of cells, all of shape (cells,).

    Attributes:
        alpha: First parameter of the beta posterior.
        beta: Second parameter.
        mean: Posterior mean.
        low: Lower bound of the central credible interval.
        high: Upper bound.
    """

    alpha: Floats
    beta: Floats
    mean: Floats
    low: Floats
    high: Floats


@dataclasses.dataclass(frozen=True, eq=False)
class GroupPriors:
    """A prior for each group of cells, each of shape (groups,).

    Attributes:
        alpha: First parameter.
        beta: Second parameter.
        source: `own` where a group's cells made its prior, `all` where those of all groups did, `given` where it is the
            caller's.
        reasons: Why a group has no prior of its own; None where it has.
    """

    alpha: Floats
    beta: Floats
    source: tuple[Literal["own", "all", "given"], ...]
    reasons: tuple[str | None, ...]


def fit_prior(
    answers: Counts, exposures: Counts, *, method: PriorMethod = "marginal_likelihood", least_cells: int = 3
) -> FittedPrior:
    """Beta prior of the rates of cells.

    Each cell's answers are beta-binomial. By marginal likelihood, mean and strength are those under which the answers of
    all cells are most likely. By moments, the mean is the pooled rate and the strength is 1 / r - 1 with the intraclass
    correlation r = (X2 - (cells - 1)) / (N - sum n^2 / N - (cells - 1)), where X2 is Pearson's statistic of equal rates, n
    the exposures of a cell and N their sum. Where cells differ by no more than chance, the strength is `MOST_STRENGTH`:
    every cell gets the pooled rate.

    Args:
        answers: Answers of each cell, shape (cells,), at most its exposures.
        exposures: Exposures of each cell, shape (cells,). Cells without any are left out.
        method: `marginal_likelihood` or `moments`.
        least_cells: Cells with an exposure below which there is no prior, >= 2.

    Returns:
        The prior, or none and a reason: too few cells, no answer at all, or nothing but answers.

    Raises:
        ValueError: If counts are negative, answers exceed exposures or shapes differ.

    Source: Griffiths, "Maximum likelihood estimation for the beta-binomial distribution", Biometrics 1973; moments: Kleinman,
    "Proportions with extraneous variance", JASA 1973; the use of it: Efron, "Large-Scale Inference", 2010, chapter 1.
    """
    _check(answers, exposures)
    if least_cells < 2:
        raise ValueError(f"least_cells must be at least 2, got {least_cells}")
    kept = exposures > 0
    hits, trials = answers[kept].astype(np.float64), exposures[kept].astype(np.float64)
    cells = len(trials)
    if cells < least_cells:
        return FittedPrior(None, cells, f"{cells} cells have exposures, {least_cells} are needed")
    if not hits.any():
        return FittedPrior(None, cells, f"no answer in {trials.sum():.0f} exposures")
    if (hits == trials).all():
        return FittedPrior(None, cells, f"every one of {trials.sum():.0f} exposures was answered")
    start = _by_moments(hits, trials)
    if method == "moments":
        return FittedPrior(start, cells)
    return FittedPrior(_by_likelihood(hits, trials, start), cells)


def fit_group_priors(
    answers: Counts,
    exposures: Counts,
    groups: Counts,
    count: int,
    given: BetaPrior,
    *,
    method: PriorMethod = "marginal_likelihood",
    least_cells: int = 3,
) -> GroupPriors:
    """A prior for each group; where its own cells cannot make one, that of all cells, else the given one.

    Args:
        answers: Shape (cells,).
        exposures: Shape (cells,).
        groups: Group of each cell (a kind, a segment), in 0 .. count - 1, shape (cells,).
        count: Number of groups.
        given: What is assumed before there is any answer.
        method: As in `fit_prior`.
        least_cells: As in `fit_prior`.
    """
    _check(answers, exposures)
    if groups.shape != answers.shape or (len(groups) and not 0 <= groups.min() <= groups.max() < count):
        raise ValueError(f"groups need one number below {count} for each cell")
    pooled = fit_prior(answers, exposures, method=method, least_cells=least_cells)
    priors: list[BetaPrior] = []
    sources: list[Literal["own", "all", "given"]] = []
    reasons: list[str | None] = []
    for group in range(count):
        own = fit_prior(answers[groups == group], exposures[groups == group], method=method, least_cells=least_cells)
        reasons.append(own.reason)
        if own.prior is not None:
            priors.append(own.prior)
            sources.append("own")
        elif pooled.prior is not None:
            priors.append(pooled.prior)
            sources.append("all")
        else:
            priors.append(given)
            sources.append("given")
    return GroupPriors(
        np.array([one.alpha for one in priors], dtype=np.float64),
        np.array([one.beta for one in priors], dtype=np.float64),
        tuple(sources),
        tuple(reasons),
    )


def posterior(
    answers: Counts,
    exposures: Counts,
    alpha: Floats | float,
    beta_: Floats | float,
    *,
    level: float = 0.95,
) -> Posterior:
    """Posterior of the rate of each cell: beta(alpha + answers, beta + exposures - answers).

    Args:
        answers: Shape (cells,).
        exposures: Shape (cells,); a cell without any has its prior for posterior.
        alpha: Prior of all cells or of each, shape (cells,).
        beta_: The same for the second parameter.
        level: Content of the central credible interval, in (0, 1).
    """
    _check(answers, exposures)
    if not 0 < level < 1:
        raise ValueError(f"the level must be between 0 and 1, got {level}")
    first = np.broadcast_to(np.asarray(alpha, dtype=np.float64), answers.shape) + answers
    second = np.broadcast_to(np.asarray(beta_, dtype=np.float64), answers.shape) + (exposures - answers)
    if not (np.isfinite(first).all() and np.isfinite(second).all() and (first > 0).all() and (second > 0).all()):
        raise ValueError("the parameters of a prior must be positive and finite")
    tail = (1 - level) / 2
    return Posterior(
        first, second, first / (first + second), beta.ppf(tail, first, second), beta.isf(tail, first, second)
    )


@dataclasses.dataclass(frozen=True, eq=False)
class MeasuredRates:
    """Rates of cells of kind and segment.

    Attributes:
        rate: Their posterior.
        prior_mean: Mean of the prior of each cell, shape (cells,).
        prior_strength: How many exposures that prior weighs, shape (cells,).
    """

    rate: Posterior
    prior_mean: Floats
    prior_strength: Floats


def measured_rates(
    answers: Counts,
    exposures: Counts,
    kind: Counts,
    everyone: NDArray[np.bool_],
    kinds: int,
    given: BetaPrior,
) -> MeasuredRates:
    """Posterior rates: of segments with a prior by kind from all of its segments, of everyone with a prior over the kinds.

    Args:
        answers: Shape (cells,).
        exposures: Shape (cells,).
        kind: Kind of each cell, in 0 .. kinds - 1, shape (cells,).
        everyone: Whether the cell is that of all people of the kind, shape (cells,); each kind has one.
        kinds: Number of kinds.
        given: What is assumed before there is any answer.
    """
    within = np.bincount(kind[everyone], weights=exposures[everyone], minlength=kinds)
    over_kinds = fit_prior(answers[everyone], exposures[everyone]).prior or given
    mean, strength = np.full(len(kind), over_kinds.mean), np.full(len(kind), over_kinds.strength)
    inner = ~everyone
    if inner.any():
        priors = fit_group_priors(answers[inner], exposures[inner], kind[inner], kinds, over_kinds)
        mean[inner] = (priors.alpha / (priors.alpha + priors.beta))[kind[inner]]
        strength[inner] = (priors.alpha + priors.beta)[kind[inner]]
    # Where cells differ by no more than chance the fit is endlessly sure of a mean that it knows from so many exposures only.
    strength = np.minimum(strength, np.where(everyone, 0, within[kind]).clip(min=given.strength))
    return MeasuredRates(posterior(answers, exposures, mean * strength, (1 - mean) * strength), mean, strength)


def _by_moments(hits: Floats, trials: Floats) -> BetaPrior:
    """The moment estimate in terms of Pearson's statistic; it needs some answers and some exposures without."""
    total = trials.sum()
    rate = hits.sum() / total
    cells = len(trials)
    statistic = float((((hits - trials * rate) ** 2) / (trials * rate * (1 - rate))).sum())
    # Expected value of the statistic: (cells - 1)(1 - r) + r (total - sum of squares / total), r the intraclass correlation.
    slope = total - float(trials @ trials) / total - (cells - 1)
    correlation = (statistic - (cells - 1)) / slope if slope > 0 else 0.0
    strength = MOST_STRENGTH if correlation <= 0 else 1 / correlation - 1
    return _prior(float(rate), float(np.clip(strength, LEAST_STRENGTH, MOST_STRENGTH)))


def _by_likelihood(hits: Floats, trials: Floats, start: BetaPrior) -> BetaPrior:
    """Largest marginal likelihood over (logit of the mean, log of the strength), from several strengths."""
    misses = trials - hits

    def loss(point: Floats) -> tuple[float, Floats]:
        mean, strength = expit(point[0]), np.exp(point[1])
        a, b = mean * strength, (1 - mean) * strength
        value = (betaln(hits + a, misses + b) - betaln(a, b)).sum()
        common = digamma(a + b) - digamma(trials + a + b)
        by_a = (digamma(hits + a) - digamma(a) + common).sum()
        by_b = (digamma(misses + b) - digamma(b) + common).sum()
        by_mean = strength * mean * (1 - mean) * (by_a - by_b)
        by_strength = strength * (mean * by_a + (1 - mean) * by_b)
        return -float(value), -np.array([by_mean, by_strength])

    rate = float(logit(start.mean))
    bounds = [(-20.0, 20.0), (np.log(LEAST_STRENGTH), np.log(MOST_STRENGTH))]
    found = [
        minimize(loss, np.array([rate, np.log(strength)]), jac=True, method="L-BFGS-B", bounds=bounds)
        for strength in sorted({min(start.strength, 1e4), 10.0, 1000.0})
    ]
    best = min(found, key=lambda one: float(one.fun))
    # Cells that differ by chance only have no largest likelihood at a finite strength: the pooled rate is then as likely.
    pooled = loss(np.array([rate, np.log(MOST_STRENGTH)]))[0]
    if pooled <= best.fun + 1e-9:
        return _prior(float(expit(rate)), MOST_STRENGTH)
    return _prior(float(expit(best.x[0])), float(np.exp(best.x[1])))


def _prior(mean: float, strength: float) -> BetaPrior:
    return BetaPrior(mean * strength, (1 - mean) * strength)


def _check(answers: Counts, exposures: Counts) -> None:
    if answers.ndim != 1 or answers.shape != exposures.shape:
        raise ValueError(
            f"answers and exposures are one count a cell, got shapes {answers.shape} and {exposures.shape}"
        )
    if len(answers) and (answers.min() < 0 or (answers > exposures).any()):
        wrong = int(np.flatnonzero((answers < 0) | (answers > exposures))[0])
        raise ValueError(f"cell {wrong} has {answers[wrong]} answers of {exposures[wrong]} exposures")

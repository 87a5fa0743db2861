"""Probabilities of an answer from recommendation scores, while there are no or few exposures.

Holds the mapping of a score to a probability that is assumed, not learnt, and how it gives way to what the first exposures
say. Every probability made here is a prior and should be shown as one; `response` replaces it when it can be fitted.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import rankdata

from models_ml.campaigns.learners import Flags, Floats, check_flags

# Room left at 0 and 1, so that the logarithm of the odds is finite.
_EDGE = 1e-9


@dataclasses.dataclass(frozen=True)
class ScorePriorConfig:
    """What is assumed about answers before there are any.

    Attributes:
        base_rate: Probability of an answer at the lowest score, in (0, cap].
        cap: Probability at the highest score, in [base_rate, 1).
        shape: How late the curve rises, > 0: with 1 the log odds rise in proportion to the share of scores below, with more
            it is the highest scores that make the difference.
    """

    base_rate: float
    cap: float
    shape: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.base_rate <= self.cap < 1:
            raise ValueError(f"0 < base_rate <= cap < 1 is needed, got {self.base_rate} and {self.cap}")
        if not 0 < self.shape < np.inf:
            raise ValueError(f"shape must be positive and finite, got {self.shape}")


@dataclasses.dataclass(frozen=True)
class Recalibration:
    """A straight line on the scale of log odds.

    Attributes:
        intercept: 0 leaves probabilities as they are.
        slope: 1 leaves them as they are; at least 0, so that the order is kept.
        rows: Exposures that it rests on.
        answers: Answers among them.
    """

    intercept: float
    slope: float
    rows: int
    answers: int

    def apply(self, probabilities: Floats) -> Floats:
        """Recalibrated probabilities, same shape."""
        found: Floats = expit(self.intercept + self.slope * logit(np.clip(probabilities, _EDGE, 1 - _EDGE)))
        return found


def prior_from_shares(shares_below: Floats, config: ScorePriorConfig) -> Floats:
    """Prior probability from the place of a score among all.

    log odds = log odds(base_rate) + share^shape x (log odds(cap) - log odds(base_rate)).

    Args:
        shares_below: Share of scores that are lower, in [0, 1]; any shape.
        config: What is assumed.

    Returns:
        Probabilities between base_rate and cap, same shape, never falling with the share.
    """
    if not ((shares_below >= 0) & (shares_below <= 1)).all():
        raise ValueError("shares must be in [0, 1]")
    low, high = logit(config.base_rate), logit(config.cap)
    found: Floats = np.clip(expit(low + shares_below**config.shape * (high - low)), config.base_rate, config.cap)
    return found


def prior_from_scores(scores: Floats, config: ScorePriorConfig) -> Floats:
    """Prior probability of each row from its score; only the order of scores counts, equal scores get the same.

    Args:
        scores: Higher is better, shape (rows,). The rows must be all that are to be compared, for instance every pair of
            person and item of a campaign.
        config: What is assumed.

    Returns:
        Shape (rows,). A single row, or rows that are all equal, are in the middle.
    """
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError("scores must be one finite number a row")
    if not len(scores):
        return np.zeros(0)
    if scores.min() == scores.max():
        return prior_from_shares(np.full(len(scores), 0.5), config)
    place = rankdata(scores, method="average") - 1
    return prior_from_shares(place / (len(scores) - 1), config)


def prior_from_ranks(ranks: NDArray[np.integer], places: int, config: ScorePriorConfig) -> Floats:
    """Prior probability from the rank in a list, the first with the cap and the last with the base rate.

    Args:
        ranks: From 1 to places, any shape.
        places: Length of the lists, >= 2.
        config: What is assumed.
    """
    if places < 2 or (ranks.size and not 1 <= ranks.min() <= ranks.max() <= places):
        raise ValueError(f"ranks must be from 1 to places, which must be at least 2, got {places}")
    return prior_from_shares((places - ranks) / (places - 1), config)


def recalibrate(
    probabilities: Floats, responded: Flags, *, intercept_sd: float = 1.0, slope_sd: float = 0.5
) -> Recalibration:
    """Platt scaling that starts at "leave it as it is" and moves as answers come in.

    The most likely line under normal priors, intercept around 0 and slope around 1: without exposures the probabilities
    stay, with many they follow the answers.

    Args:
        probabilities: What was said before, in [0, 1], shape (rows,).
        responded: What happened, bool, shape (rows,).
        intercept_sd: Standard deviation of the prior of the intercept, > 0; 1 allows for odds that are wrong by a factor of
            2.7.
        slope_sd: Standard deviation of the prior of the slope, > 0.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines", 1999; as a logistic recalibration with a prior: Cox,
    "Two Further Applications of a Model for Binary Regression", Biometrika 1958.
    """
    if probabilities.ndim != 1 or not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities must be one number in [0, 1] a row")
    check_flags(len(probabilities), responded=responded)
    if not (intercept_sd > 0 and slope_sd > 0):
        raise ValueError(f"standard deviations must be positive, got {intercept_sd} and {slope_sd}")
    odds = logit(np.clip(probabilities, _EDGE, 1 - _EDGE))
    answers = responded.astype(np.float64)

    def loss(point: Floats) -> tuple[float, Floats]:
        line = point[0] + point[1] * odds
        away = expit(line) - answers
        value = (np.logaddexp(0, line) - answers * line).sum()
        value += (point[0] / intercept_sd) ** 2 / 2 + ((point[1] - 1) / slope_sd) ** 2 / 2
        slope = np.array([away.sum() + point[0] / intercept_sd**2, away @ odds + (point[1] - 1) / slope_sd**2])
        return float(value), slope

    found = minimize(loss, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B", bounds=[(None, None), (0.0, None)])
    return Recalibration(float(found.x[0]), float(found.x[1]), len(odds), int(responded.sum()))

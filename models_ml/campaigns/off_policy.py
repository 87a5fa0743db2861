"""Judging an allocation that was never used by what people answered to another one that drew with known probabilities.

Holds the estimators of the value of a policy from logged decisions: direct method, inverse propensity scoring, its
self-normalised form, doubly robust and switch doubly robust, with the diagnostics that say whether the log can answer at
all. Where it cannot, the result has no value and a reason. How rewards are predicted is decided by the caller (`response`
holds models for it), and what a decision is too: one row is one drawing of one action.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]
EstimatorName = Literal["direct_method", "ips", "snips", "doubly_robust", "switch_doubly_robust"]

# Effective rows below which the normal approximation of a weighted mean is not trusted.
LEAST_EFFECTIVE_SAMPLE = 100.0
# Weights whose mean differs from 1 by less chance than this say that propensities are wrong or that actions were never tried.
WEIGHT_CHECK_LEVEL = 0.001


@dataclasses.dataclass(frozen=True, eq=False)
class LoggedDecisions:
    """What was done, how likely that was, how likely the new policy would do the same, and what came of it.

    Attributes:
        rewards: Answer to each decision, in any unit, shape (rows,).
        propensities: Probability with which the logging policy chose the action that it chose, in (0, 1], shape (rows,).
        target: Probability with which the policy to be judged chooses that action for the same row, in [0, 1], shape (rows,).
        people: Number of the person of each row, >= 0, shape (rows,), where rows of a person may go together: standard errors
            are then clustered by person. By default each row is a person.

    Raises:
        ValueError: If shapes differ, there are no rows, or something is not finite or out of its range.
    """

    rewards: Floats
    propensities: Floats
    target: Floats
    people: NDArray[np.integer] | None = None

    def __post_init__(self) -> None:
        shape = self.rewards.shape
        if len(shape) != 1 or not shape[0] or self.propensities.shape != shape or self.target.shape != shape:
            raise ValueError(
                "rewards, propensities and target need one entry for each of at least one row, got shapes "
                f"{shape}, {self.propensities.shape} and {self.target.shape}"
            )
        if self.people is not None and (self.people.shape != shape or (self.people < 0).any()):
            raise ValueError(f"people need one number >= 0 a row, got shape {self.people.shape} for {shape[0]} rows")
        if not np.isfinite(self.rewards).all():
            raise ValueError(
                f"{_count(~np.isfinite(self.rewards))} rewards are not finite; leave out or fill these rows"
            )
        wrong = ~((self.propensities > 0) & (self.propensities <= 1))
        if wrong.any():
            raise ValueError(
                f"{_count(wrong)} propensities are not in (0, 1]; an action that was chosen cannot have had probability 0"
            )
        wrong = ~((self.target >= 0) & (self.target <= 1))
        if wrong.any():
            raise ValueError(f"{_count(wrong)} probabilities of the target policy are not in [0, 1]")

    @property
    def rows(self) -> int:
        """Number of decisions."""
        return len(self.rewards)

    @property
    def weights(self) -> Floats:
        """Importance weights target / propensity, shape (rows,)."""
        weights: Floats = self.target / self.propensities
        return weights


@dataclasses.dataclass(frozen=True, eq=False)
class PredictedRewards:
    """What a model of rewards says about the rows of a log; the model should not have been fitted on the row it predicts.

    Attributes:
        logged: Predicted reward of the action that was chosen, shape (rows,).
        target: Predicted reward under the policy to be judged, the sum over actions of its probabilities times the
            predictions, shape (rows,).
    """

    logged: Floats
    target: Floats

    def __post_init__(self) -> None:
        if self.logged.ndim != 1 or self.logged.shape != self.target.shape:
            raise ValueError(
                f"predictions are one entry a row each, got shapes {self.logged.shape}, {self.target.shape}"
            )
        if not (np.isfinite(self.logged).all() and np.isfinite(self.target).all()):
            raise ValueError("predicted rewards must be finite")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Value of a policy by one estimator.

    Attributes:
        estimator: Which.
        value: Mean reward of a row; None where the log cannot answer.
        low: Lower bound of the interval, None with the value.
        high: Upper bound.
        standard_error: Standard error of the value, None with the value.
        reason: Why there is no value; None if there is one.
    """

    estimator: EstimatorName
    value: float | None
    low: float | None
    high: float | None
    standard_error: float | None
    reason: str | None = None


@dataclasses.dataclass(frozen=True)
class Overlap:
    """How much a log says about another policy.

    Attributes:
        rows: Decisions.
        effective_sample: (sum w)^2 / sum w^2, the number of rows drawn from the policy itself that would say as much.
        effective_rewards: The same over w x |reward|: the number of answers that the value rests on. With few of them (say
            ten) the interval is rough, whatever the effective sample.
        mean_weight: 1 in expectation if propensities are right and every action of the policy could have been logged.
        mean_weight_p: Two-sided p-value of a mean weight of 1, by normal approximation; 1 where all weights are 1.
        largest_weight: Largest weight.
    """

    rows: int
    effective_sample: float
    effective_rewards: float
    mean_weight: float
    mean_weight_p: float
    largest_weight: float


@dataclasses.dataclass(frozen=True)
class PolicyValue:
    """All estimators of one policy on one log, with what the log could say.

    Attributes:
        overlap: Diagnostics.
        estimates: By estimator; those that need predictions are there only if predictions were given.
        ahead: The same, less the mean reward of the log: what the policy would have earned more than what was done. The
            difference is taken row by row, so that its interval is narrow where both mostly do the same.
        threshold: Threshold of switch doubly robust; None without predictions.
    """

    overlap: Overlap
    estimates: dict[EstimatorName, Estimate]
    ahead: dict[EstimatorName, Estimate]
    threshold: float | None


def overlap(log: LoggedDecisions) -> Overlap:
    """How much the log says about the target policy.

    Source of the effective sample size: Kong, "A note on importance sampling using standardized weights", 1992; Owen,
    "Monte Carlo theory, methods and examples", 2013, section 9.3.
    """
    weights = log.weights
    error = _standard_error(weights, log.people) or 0.0
    away = abs(float(weights.mean()) - 1.0)
    chance = float(2 * norm.sf(away / error)) if error > 0 else float(away < 1e-9)
    return Overlap(
        rows=log.rows,
        effective_sample=_effective(weights),
        effective_rewards=_effective(weights * np.abs(log.rewards)),
        mean_weight=float(weights.mean()),
        mean_weight_p=chance,
        largest_weight=float(weights.max()),
    )


def predicted_rewards(predicted: Floats, policy: Floats, actions: NDArray[np.integer]) -> PredictedRewards:
    """Predictions of a log from those of all actions.

    Args:
        predicted: Predicted reward of each action, shape (rows, actions).
        policy: Probabilities of the policy to be judged, each row summing to 1, shape (rows, actions), or (actions,) if it
            is the same for every row.
        actions: Action that was chosen, in 0 .. actions - 1, shape (rows,).

    Raises:
        ValueError: If shapes do not fit, an action is unknown or probabilities do not sum to 1.
    """
    if predicted.ndim != 2 or policy.shape not in (predicted.shape, predicted.shape[1:]):
        raise ValueError(
            "predicted must be rows x actions and policy of the same shape or one entry an action, got "
            f"{predicted.shape} and {policy.shape}"
        )
    if actions.shape != predicted.shape[:1] or (
        len(actions) and not 0 <= actions.min() <= actions.max() < predicted.shape[1]
    ):
        raise ValueError(f"actions need one index below {predicted.shape[1]} a row, got shape {actions.shape}")
    if (policy < 0).any() or not np.allclose(policy.sum(axis=-1), 1.0, atol=1e-6):
        raise ValueError("the probabilities of a policy must not be negative and must sum to 1")
    chosen = np.take_along_axis(predicted, actions[:, None], axis=1)[:, 0]
    return PredictedRewards(chosen, np.einsum("ra,ra->r", predicted, np.broadcast_to(policy, predicted.shape)))


def direct_method(predicted: PredictedRewards, *, level: float = 0.95) -> Estimate:
    """Mean predicted reward under the policy.

    The interval is about which people came, not about whether the model is right, and is too narrow for that reason.
    """
    return _mean("direct_method", predicted.target, level, None)


def ips(log: LoggedDecisions, *, level: float = 0.95) -> Estimate:
    """Inverse propensity scoring: mean of w r. Unbiased if every action of the policy could have been logged.

    Source: Horvitz and Thompson, JASA 1952; Strehl et al., "Learning from Logged Implicit Exploration Data", NeurIPS 2010.
    """
    return _mean("ips", _ips(log), level, log.people)


def snips(log: LoggedDecisions, *, level: float = 0.95) -> Estimate:
    """Self-normalised inverse propensity scoring: sum w r / sum w. Slightly biased, steadier, and inside the range of rewards.

    The interval is by the delta method: the mean of w (r - value) / mean(w) has the same variance.

    Source: Swaminathan and Joachims, "The Self-Normalized Estimator for Counterfactual Learning", NeurIPS 2015.
    """
    return _mean("snips", _snips(log), level, log.people)


def doubly_robust(log: LoggedDecisions, predicted: PredictedRewards, *, level: float = 0.95) -> Estimate:
    """Doubly robust: mean of q(policy) + w (r - q(logged)). Right if the propensities or the predictions are.

    Source: Dudik, Langford and Li, "Doubly Robust Policy Evaluation and Learning", ICML 2011.
    """
    _same_rows(log, predicted)
    return _mean("doubly_robust", _switched(log, predicted, np.inf), level, log.people)


def switch_doubly_robust(
    log: LoggedDecisions, predicted: PredictedRewards, threshold: float, *, level: float = 0.95
) -> Estimate:
    """Doubly robust where the weight is at most a threshold, direct method where it is larger.

    Mean of q(policy) + w 1{w <= threshold} (r - q(logged)): the direct method at threshold 0, doubly robust at infinity.

    Args:
        log: Decisions.
        predicted: Predictions for the same rows.
        threshold: Largest weight that is used, >= 0.
        level: Confidence level.

    Source: Wang, Agarwal and Dudik, "Optimal and Adaptive Off-policy Evaluation in Contextual Bandits", ICML 2017.
    """
    _same_rows(log, predicted)
    if not threshold >= 0:
        raise ValueError(f"the threshold must be at least 0, got {threshold}")
    return _mean("switch_doubly_robust", _switched(log, predicted, threshold), level, log.people)


def switch_threshold(
    log: LoggedDecisions,
    predicted: PredictedRewards,
    *,
    candidates: Sequence[float] | None = None,
    largest_reward: float | None = None,
) -> float:
    """Threshold with the smallest bound of the mean squared error.

    The bound is the variance of the estimate plus the square of the largest bias possible: the largest reward times the
    share of the policy's decisions whose weights are over the threshold, estimated from the log.

    Args:
        log: Decisions.
        predicted: Predictions for the same rows.
        candidates: Thresholds to choose from; by default 0, twenty quantiles of the weights and infinity.
        largest_reward: Largest reward in absolute value that is possible; by default the largest seen.

    Source: Wang, Agarwal and Dudik, ICML 2017, section 4.
    """
    _same_rows(log, predicted)
    weights = log.weights
    if candidates is None:
        candidates = [0.0, *np.unique(np.quantile(weights, np.linspace(0.05, 1.0, 20))).tolist(), np.inf]
    if not len(candidates):
        raise ValueError("there is no threshold to choose from")
    most = float(np.abs(log.rewards).max()) if largest_reward is None else largest_reward
    bounds = [
        _switched(log, predicted, threshold).var() / log.rows
        + (most * float(np.where(weights > threshold, weights, 0.0).mean())) ** 2
        for threshold in candidates
    ]
    return float(candidates[int(np.argmin(bounds))])


def evaluate_policy(
    log: LoggedDecisions,
    predicted: PredictedRewards | None = None,
    *,
    threshold: float | None = None,
    level: float = 0.95,
    least_effective_sample: float = LEAST_EFFECTIVE_SAMPLE,
    weight_check_level: float = WEIGHT_CHECK_LEVEL,
) -> PolicyValue:
    """All estimators, or the reason why the log cannot answer.

    Every estimator is refused where the effective sample is below the floor, the direct method too: its model then speaks
    about actions that the log hardly shows, and nothing in the log can contradict it. They are also refused where the mean
    weight is not 1, which is the sign of wrong propensities or of actions that were never logged.

    Args:
        log: Decisions.
        predicted: Predictions for the same rows; without them there are only `ips` and `snips`.
        threshold: Threshold of switch doubly robust; by default that of `switch_threshold`.
        level: Confidence level in (0, 1).
        least_effective_sample: Floor of the effective sample; 0 refuses nothing.
        weight_check_level: p-value below which the mean weight counts as different from 1; 0 switches the check off.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level must be between 0 and 1, got {level}")
    found = overlap(log)
    reason = None
    if found.effective_sample < least_effective_sample:
        reason = (
            f"the effective sample is {found.effective_sample:.1f} of {found.rows} rows, below the floor of "
            f"{least_effective_sample:g}: the log hardly shows what this policy would do"
        )
    elif found.mean_weight_p < weight_check_level:
        reason = (
            f"the mean weight is {found.mean_weight:.3f} instead of 1 (p = {found.mean_weight_p:.2g}): propensities are wrong, or "
            "the policy takes actions that were never logged"
        )
    terms: dict[EstimatorName, Floats | None] = {"ips": _ips(log), "snips": _snips(log)}
    if predicted is not None:
        _same_rows(log, predicted)
        if threshold is None:
            threshold = switch_threshold(log, predicted)
        terms |= {
            "direct_method": predicted.target,
            "doubly_robust": _switched(log, predicted, np.inf),
            "switch_doubly_robust": _switched(log, predicted, threshold),
        }
    estimates, ahead = (
        {
            name: _mean(name, None if one is None else one - less, level, log.people)
            if reason is None
            else _refused(name, reason)
            for name, one in terms.items()
        }
        for less in (0.0, log.rewards)
    )
    return PolicyValue(found, estimates, ahead, None if predicted is None else threshold)


def _ips(log: LoggedDecisions) -> Floats:
    terms: Floats = log.weights * log.rewards
    return terms


def _snips(log: LoggedDecisions) -> Floats | None:
    """Terms whose mean is the value and whose spread is that of the ratio; None where all weights are 0."""
    weights = log.weights
    if not weights.any():
        return None
    value = weights @ log.rewards / weights.sum()
    terms: Floats = value + weights * (log.rewards - value) / weights.mean()
    return terms


def _switched(log: LoggedDecisions, predicted: PredictedRewards, threshold: float) -> Floats:
    weights = log.weights
    kept = np.where(weights <= threshold, weights, 0.0)
    terms: Floats = predicted.target + kept * (log.rewards - predicted.logged)
    return terms


def _same_rows(log: LoggedDecisions, predicted: PredictedRewards) -> None:
    if predicted.logged.shape != log.rewards.shape:
        raise ValueError(f"the log has {log.rows} rows, the predictions {len(predicted.logged)}")


def _effective(weights: Floats) -> float:
    # Scaled first, so that the squares of very small weights do not vanish.
    largest = float(weights.max())
    if largest == 0:
        return 0.0
    scaled = weights / largest
    return float(scaled.sum() ** 2 / (scaled @ scaled))


def _mean(estimator: EstimatorName, terms: Floats | None, level: float, people: NDArray[np.integer] | None) -> Estimate:
    if terms is None:
        return _refused(estimator, "the policy would have chosen none of the logged actions")
    error = _standard_error(terms, people)
    if error is None:
        return _refused(estimator, "one row, or one person, has no spread to make an interval of")
    value = float(terms.mean())
    half = float(norm.ppf((1 + level) / 2)) * error
    return Estimate(estimator, value, value - half, value + half, error)


def _standard_error(terms: Floats, people: NDArray[np.integer] | None) -> float | None:
    """Of the mean of the terms, whose sums by person are independent; None for one person.

    Source: Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 1986.
    """
    away = terms - terms.mean()
    if people is not None:
        number = np.unique(people, return_inverse=True)[1]
        away = np.bincount(number, weights=away)
    if len(away) < 2:
        return None
    return float(np.sqrt(len(away) / (len(away) - 1) * (away @ away)) / len(terms))


def _refused(estimator: EstimatorName, reason: str) -> Estimate:
    return Estimate(estimator, None, None, None, None, reason)


def _count(wrong: NDArray[np.bool_]) -> str:
    return f"{int(wrong.sum())} of {len(wrong)}"

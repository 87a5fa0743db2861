"""How well a ranking finds the people whom contact moves.

Holds the Qini curve and coefficient, uplift by decile, and the comparison of models of uplift by cross-fitting, in which a
random and a response-only ranking always take part. Everything is judged on randomised people; the models are in `uplift`.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from models_ml.campaigns.learners import Flags, Floats, check_flags, folds_of
from models_ml.campaigns.proportions import difference_of_shares
from models_ml.campaigns.uplift import RandomConfig, ResponseOnlyConfig, UpliftConfig, fit_uplift

RESPONSE_ONLY = "response_only"
RANDOM = "random"
# Points of the curves of bootstrap draws.
_POINTS = 500


@dataclasses.dataclass(frozen=True, eq=False)
class QiniCurve:
    """Incremental answers by share of people contacted, best first.

    Attributes:
        share: Share of people, from 0 to 1, shape (points,).
        gain: Incremental answers among those treated up to there, shape (points,).
    """

    share: Floats
    gain: Floats


@dataclasses.dataclass(frozen=True, eq=False)
class UpliftTable:
    """Predicted and observed uplift in bins of people, the highest predictions first; each of shape (bins,).

    Attributes:
        predicted: Mean prediction.
        treated: People with contact.
        control: People without.
        observed: Difference of the shares with an answer; NaN where an arm is empty.
        low: Lower bound of Newcombe's interval; NaN with the difference.
        high: Upper bound.
        reason: Why there is no difference; empty where there is one.
    """

    predicted: Floats
    treated: NDArray[np.int64]
    control: NDArray[np.int64]
    observed: Floats
    low: Floats
    high: Floats
    reason: NDArray[np.str_]


@dataclasses.dataclass(frozen=True, eq=False)
class QiniScore:
    """Normalised Qini coefficient of one model by cross-fitting.

    Attributes:
        value: Mean over splits; None if there is none.
        low: Lower bound of the interval over people; None with the value.
        high: Upper bound.
        spread: Standard deviation over splits; None with the value.
        splits: Coefficient of each split, shape (splits,); empty without a value.
        reason: Why there is no value; None if there is one.
    """

    value: float | None
    low: float | None
    high: float | None
    spread: float | None
    splits: Floats
    reason: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class QiniComparison:
    """Models of uplift on the same splits of the same people.

    Attributes:
        scores: By name of the model, with `response_only` and `random`.
        uplift: Prediction of each person by a model that had not seen them, mean over seeds, shape (people,), by name; a
            model without a score is left out. For decile tables.
        ahead_of_response: By name, the difference to `response_only` as value and interval over people; None without a score.
        ahead_of_random: The same to `random`.
        drawn: Coefficient of each bootstrap draw of people, shape (draws,), by name; a model without a score is left out.
        level: Confidence level of the intervals.
    """

    scores: dict[str, QiniScore]
    uplift: dict[str, Floats]
    ahead_of_response: dict[str, tuple[float, float, float] | None]
    ahead_of_random: dict[str, tuple[float, float, float] | None]
    drawn: dict[str, Floats] = dataclasses.field(default_factory=dict)
    level: float = 0.95

    def ahead(self, name: str, other: str) -> tuple[float, float, float] | None:
        """By how much the coefficient of a model is above that of another, with its interval over people, draw by draw.

        Args:
            name: A model that was compared.
            other: Another one.

        Returns:
            Value and interval; None where one of the two has no score.
        """
        if name not in self.drawn or other not in self.drawn:
            return None
        value = float(self.scores[name].splits.mean() - self.scores[other].splits.mean())
        return value, *_interval(self.drawn[name] - self.drawn[other], self.level)


def qini_curve(uplift: Floats, treated: Flags, responded: Flags) -> QiniCurve:
    """Incremental answers of contacting the people with the highest uplift first.

    gain(k) = answers of the treated among the first k - answers of the control among them x treated / control among them (0
    without control). People of equal uplift have no order among themselves: the curve is straight between the points where
    the uplift changes, so that of a constant is the straight line of a random ranking.

    Args:
        uplift: Ranking, higher first, shape (people,).
        treated: Whether the lot said contact, bool, shape (people,).
        responded: Whether there was an answer, bool, shape (people,).

    Source: Radcliffe, "Using Control Groups to Target on Predicted Lift", Direct Marketing Analytics Journal 2007.
    """
    _check(uplift, treated, responded)
    share, gain = _Ranking(uplift, treated, responded).curves(np.ones((len(uplift), 1), dtype=np.float32))
    return QiniCurve(share[:, 0], gain[:, 0])


def qini_coefficient(uplift: Floats, treated: Flags, responded: Flags) -> tuple[float | None, str | None]:
    """Area between the Qini curve and the straight line, divided by that of the perfect curve.

    Q = (A(ranking) - A(random)) / (A(perfect) - A(random)), where A is the area under the curve over the share of people
    and random is the straight line to the same end. The perfect ranking has the treated with an answer first, then
    everybody without an answer, then the control with an answer. 1 is perfect, 0 random; a ranking can be worse than
    random. No model comes near 1, since the perfect ranking knows what each person did.

    Args:
        uplift: As in `qini_curve`.
        treated: As in `qini_curve`.
        responded: As in `qini_curve`.

    Returns:
        The coefficient and None; or None and the reason: no people in an arm, or nobody or everybody answered.
    """
    _check(uplift, treated, responded)
    reason = _cannot_judge(treated, responded)
    if reason is not None:
        return None, reason
    return _Ranking(uplift, treated, responded).area() / _perfect(treated, responded).area(), None


def uplift_by_bin(
    uplift: Floats, treated: Flags, responded: Flags, *, bins: int = 10, level: float = 0.95, seed: int = 0
) -> UpliftTable:
    """Observed uplift in bins of equal size along the ranking, ten of them by default: deciles.

    Args:
        uplift: As in `qini_curve`.
        treated: As in `qini_curve`.
        responded: As in `qini_curve`.
        bins: Number of bins, at most one a person.
        level: Confidence level.
        seed: Seed of the order of people of equal uplift.
    """
    _check(uplift, treated, responded)
    if not 1 <= bins <= len(uplift):
        raise ValueError(f"bins must be from 1 to the {len(uplift)} people, got {bins}")
    order = np.lexsort((np.random.default_rng(seed).random(len(uplift)), -uplift))
    number = np.empty(len(uplift), dtype=np.int64)
    number[order] = np.arange(len(uplift)) * bins // len(uplift)

    def count(rows: Flags) -> NDArray[np.int64]:
        return np.bincount(number[rows], minlength=bins)

    people_treated, people_control = count(treated), count(~treated)
    found = difference_of_shares(
        count(~treated & responded), people_control, count(treated & responded), people_treated, level=level
    )
    return UpliftTable(
        predicted=np.bincount(number, weights=uplift, minlength=bins) / np.bincount(number, minlength=bins),
        treated=people_treated,
        control=people_control,
        observed=np.asarray(found.difference),
        low=np.asarray(found.low),
        high=np.asarray(found.high),
        reason=np.asarray(found.reason),
    )


def compare_uplift(
    features: Floats,
    treated: Flags,
    responded: Flags,
    configs: Mapping[str, UpliftConfig],
    *,
    seeds: Sequence[int] = range(5),
    folds: int = 2,
    draws: int = 200,
    level: float = 0.95,
    least_answers: int = 30,
) -> QiniComparison:
    """Normalised Qini coefficients by cross-fitting, beside a random and a response-only ranking.

    For each seed, people are split into folds that hold arm x answer in equal shares; each fold is ranked by models that
    are fitted to the others. The value is the mean over all splits. The interval is over people: they are drawn again (with
    the models as they are) and the mean over the splits is taken for each draw; differences are of the same draws.

    Args:
        features: As in `fit_uplift`.
        treated: As in `fit_uplift`.
        responded: As in `fit_uplift`.
        configs: Models by name; `response_only` and `random` are added if they are not there.
        seeds: Seeds of the splits.
        folds: Folds of each split, >= 2.
        draws: Bootstrap draws, >= 2.
        level: Confidence level of the intervals.
        least_answers: As in `fit_uplift`.

    Memory is 2 bytes for each person and draw, and 4 more for each person of a fold and draw.

    Raises:
        ValueError: If shapes do not fit, features are not finite, or there is no split.
    """
    check_flags(len(features), treated=treated, responded=responded)
    if not len(seeds) or folds < 2 or draws < 2 or not 0 < level < 1:
        raise ValueError("at least one seed, two folds and two draws and a level between 0 and 1 are needed")
    everyone = {**configs}
    everyone.setdefault(RESPONSE_ONLY, ResponseOnlyConfig())
    everyone.setdefault(RANDOM, RandomConfig())
    strata = 2 * treated.astype(np.int64) + responded
    reason = _cannot_judge(treated, responded)
    if reason is None and np.bincount(strata, minlength=4).min() < folds:
        reason = f"an arm has fewer than {folds} people with, or without, an answer"
    reasons: dict[str, str] = dict.fromkeys(everyone, reason) if reason is not None else {}
    predicted = {name: np.zeros(len(features)) for name in everyone}
    found: dict[str, list[float]] = {name: [] for name in everyone}
    drawn: dict[str, Floats] = {name: np.zeros(draws) for name in everyone}
    weights = _draws(len(features), draws)
    for seed in seeds if reason is None else ():
        for fold, (train, test) in enumerate(folds_of(strata, folds, seed)):
            drawn_people = weights[test].astype(np.float32)
            perfect = _perfect(treated[test], responded[test])
            best, best_drawn = perfect.area(), perfect.areas(drawn_people)
            for name, config in everyone.items():
                if name in reasons:
                    continue
                if isinstance(config, RandomConfig):
                    # Another order in each split, so that one lucky draw is not counted many times.
                    config = RandomConfig(config.seed + folds * seed + fold)
                # A second thread gains little on trees as small as these, and costs much where another process has it.
                with threadpool_limits(1):
                    fitted = fit_uplift(
                        features[train], treated[train], responded[train], config, least_answers=least_answers
                    )
                    if fitted.model is None:
                        reasons[name] = fitted.reason or "not fitted"
                        continue
                    uplift = fitted.model.uplift(features[test])
                predicted[name][test] += uplift / len(seeds)
                found[name].append(_Ranking(uplift, treated[test], responded[test]).area() / best)
                coarse = _Ranking(uplift, treated[test], responded[test], _POINTS)
                drawn[name] += coarse.areas(drawn_people) / best_drawn / (len(seeds) * folds)
    scores = {}
    for name in everyone:
        if name in reasons:
            scores[name] = QiniScore(None, None, None, None, np.zeros(0), reasons[name])
        else:
            splits = np.array(found[name])
            scores[name] = QiniScore(
                float(splits.mean()), *_interval(drawn[name], level), float(splits.std(ddof=1)), splits
            )
    compared = QiniComparison(
        scores=scores,
        uplift={name: values for name, values in predicted.items() if name not in reasons},
        ahead_of_response={},
        ahead_of_random={},
        drawn={name: values for name, values in drawn.items() if name not in reasons},
        level=level,
    )
    return dataclasses.replace(
        compared,
        ahead_of_response={name: compared.ahead(name, RESPONSE_ONLY) for name in everyone},
        ahead_of_random={name: compared.ahead(name, RANDOM) for name in everyone},
    )


def _interval(drawn: Floats, level: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


class _Ranking:
    """People in the order of a ranking, cut where the uplift changes, so that a curve is a few running sums.

    Args:
        uplift: Ranking, higher first.
        treated: Contacted.
        responded: Answered.
        points: Largest number of points of the curve; where the uplift changes more often, they are thinned evenly.
    """

    def __init__(self, uplift: Floats, treated: Flags, responded: Flags, points: int | None = None) -> None:
        order = np.argsort(-uplift, kind="stable")
        ranked = uplift[order]
        changes = np.append(ranked[1:] != ranked[:-1], True)
        if points is not None and changes.sum() > points:
            ends = np.flatnonzero(changes)
            changes[:] = False
            changes[ends[np.unique(np.linspace(0, len(ends) - 1, points).astype(np.int64))]] = True
        block = np.empty(len(uplift), dtype=np.int64)
        block[order] = np.cumsum(changes) - changes
        self._blocks = int(changes.sum())
        # One row for each of treated, control, treated with an answer, control with an answer, and block.
        flags = (treated, ~treated, treated & responded, ~treated & responded)
        people = [np.flatnonzero(flag) for flag in flags]
        rows = np.concatenate([at * self._blocks + block[some] for at, some in enumerate(people)])
        columns = np.concatenate(people)
        shape = (len(flags) * self._blocks, len(uplift))
        self._sums = csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)

    def curves(self, weights: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Shares of people and gains, each of shape (points, draws), for weights of people of shape (people, draws)."""
        sums = (self._sums @ weights).astype(np.float64).reshape(4, self._blocks, -1)
        sums = np.concatenate([np.zeros((4, 1, sums.shape[2])), np.cumsum(sums, axis=1)], axis=1)
        people_treated, people_control, answers_treated, answers_control = sums
        ratio = np.divide(people_treated, people_control, out=np.zeros_like(people_treated), where=people_control > 0)
        people = people_treated + people_control
        return people / people[-1], answers_treated - answers_control * ratio

    def areas(self, weights: NDArray[np.float32]) -> Floats:
        """Area between the curve and the straight line to its end, shape (draws,)."""
        share, gain = self.curves(weights)
        found: Floats = np.trapezoid(gain, share, axis=0) - gain[-1] / 2
        return found

    def area(self) -> float:
        """The same with every person once."""
        return float(self.areas(np.ones((self._sums.shape[1], 1), dtype=np.float32))[0])


def _perfect(treated: Flags, responded: Flags) -> _Ranking:
    return _Ranking((treated & responded).astype(np.float64) - (~treated & responded), treated, responded)


def _draws(people: int, draws: int) -> NDArray[np.int16]:
    """How often each person is in each bootstrap draw, people x draws; 2 bytes each."""
    random = np.random.default_rng(0)
    found = np.empty((people, draws), dtype=np.int16)
    for draw in range(draws):
        found[:, draw] = np.bincount(random.integers(0, people, people), minlength=people)
    return found


def _cannot_judge(treated: Flags, responded: Flags) -> str | None:
    for arm, rows in (("treated", treated), ("control", ~treated)):
        if not rows.any():
            return f"there are no {arm} people"
    if not responded.any():
        return "nobody answered"
    # The perfect curve would then know nothing but who was contacted.
    return "everybody answered" if responded.all() else None


def _check(uplift: Floats, treated: Flags, responded: Flags) -> None:
    if uplift.ndim != 1 or not len(uplift) or not np.isfinite(uplift).all():
        raise ValueError("uplift must be one finite number for each of at least one person")
    check_flags(len(uplift), treated=treated, responded=responded)

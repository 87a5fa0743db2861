"""What a contact is worth: the probability of an answer, what contact adds to it, and the money that this brings.

Holds the choice between assumption and learning. Without exposures, measured rates are shaped by recommendation scores
(`contact_prior`); as exposures come in these priors are recalibrated, then replaced by a calibrated model of answers
(`response`), then by a model of what contact causes (`uplift`), each only where it is judged better on people that it has not
seen. Who may be contacted, and who is chosen, is decided by the caller (`eligibility`, `allocation`).

Memory: about 150 bytes for each candidate, whose features are made in blocks; at most `most_history` rows of history are
learnt from, with 24 bytes for each of their features; the comparison of uplift takes 200 bytes for each of `judged_people`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from models_ml.campaigns.contact_prior import (
    cell_shifts,
    curve_of_shares,
    fatigue_factor,
    fatigue_of_conversions,
    incremental_shares,
    shaped_rates,
)
from models_ml.campaigns.learners import Flags, Floats, check_flags
from models_ml.campaigns.qini import RESPONSE_ONLY, QiniComparison, compare_uplift
from models_ml.campaigns.reliability import Reliability, reliability
from models_ml.campaigns.response import ResponseConfig, cross_fitted_probabilities, fit_response
from models_ml.campaigns.score_prior import ScorePriorConfig, recalibrate
from models_ml.campaigns.uplift import InteractionConfig, TLearnerConfig, UpliftConfig, XLearnerConfig, fit_uplift

Ints = NDArray[np.integer]

KINDS = ("joint_promotion", "special_programme", "interactive", "cross_ad")

PRIOR = "prior"
RECALIBRATED = "recalibrated prior"
RESPONSE = "response model"
UPLIFT = "uplift model"
SOURCES = (PRIOR, RECALIBRATED, RESPONSE, UPLIFT)
# Learners of uplift that compete. The first has the fewest parameters and is kept unless another is better beyond doubt.
LEARNERS: Mapping[str, UpliftConfig] = MappingProxyType(
    {
        "interaction": InteractionConfig(),
        "t_learner": TLearnerConfig(learner="boosting"),
        "x_learner": XLearnerConfig(learner="boosting", effect="boosting"),
    }
)

_BLOCK_ROWS = 200_000
# Groups of people that folds are made of.
_GROUPS = 300
# Folds of the recalibration that is judged, and splits into halves on which uplift is.
_FOLDS = 3
_SPLITS = 2
# Bootstrap draws of the interval that decides.
_DRAWS = 100
# Shares of what was seen, from the smallest value of a column up, between which a model is believed.
_SEEN = (0.01, 0.99)


@dataclasses.dataclass(frozen=True, eq=False)
class ContactFeatures:
    """What is known of contacts before they are made, one entry a row; all of shape (rows,) unless said otherwise.

    Attributes:
        score_share: Share of scores below that of the item of the contact, in [0, 1]; NaN where there is no score.
        kind: Kind of the campaign, index into `KINDS`.
        segment: Segment of the person, index into the columns of `RatePriors`; -1 for none.
        person: Number of the person; rows of a person stay together when models are judged.
        recent_contacts: Contacts of the person in the 14 days before, >= 0.
        activity: Events of the person in the 90 days before, >= 0.
        value_per_conversion: Money that a conversion brings, >= 0.
        cost: Money that the contact costs, >= 0. Not a feature: values are before cost.
        further: More columns that models may learn from, shape (rows, columns), finite; the same for candidates and history.
    """

    score_share: Floats
    kind: Ints
    segment: Ints
    person: Ints
    recent_contacts: Ints
    activity: Floats
    value_per_conversion: Floats
    cost: Floats
    further: Floats | None = None

    def at(self, rows: Ints) -> "ContactFeatures":
        """Some of the rows, in the order given."""
        return ContactFeatures(
            **{one.name: _at(getattr(self, one.name), rows) for one in dataclasses.fields(ContactFeatures)}
        )


@dataclasses.dataclass(frozen=True, eq=False)
class ContactHistory:
    """Contacts of both arms that were decided before, one entry a row; all of shape (rows,).

    Attributes:
        features: As they were when the contact was decided.
        treated: Whether the lot said contact; those held out are the control arm.
        clicked: Whether there was a click; of no meaning in the control arm.
        converted: Whether there was a conversion while the row was followed, counted alike in both arms.
        propensity: Probability with which randomisation made the row a treatment contact. Rows with 1 or NaN, whose arm
            was not drawn, say how people answer, not what contact causes.
        observed_days: Days for which the row was followed.
        stratum: Rows whose arms were drawn with the same probability, the campaign for instance; the kind by default.
    """

    features: ContactFeatures
    treated: Flags
    clicked: Flags
    converted: Flags
    propensity: Floats
    observed_days: Floats
    stratum: Ints | None = None

    def at(self, rows: Ints) -> "ContactHistory":
        """Some of the rows, in the order given."""
        names = [one.name for one in dataclasses.fields(ContactHistory) if one.name != "features"]
        return ContactHistory(self.features.at(rows), **{name: _at(getattr(self, name), rows) for name in names})


@dataclasses.dataclass(frozen=True, eq=False)
class RatePriors:
    """Measured rates of contacts by kind and segment, all of shape (kinds, segments + 1); the last column is all segments.

    Attributes:
        click: Posterior mean of the rate of clicks.
        conversion: The same of conversions.
        strength: Exposures that a rate weighs; a cell with 0 or NaN, or with a rate of NaN, takes the rate of all segments.
    """

    click: Floats
    conversion: Floats
    strength: Floats

    @classmethod
    def unknown(cls, segments: int) -> "RatePriors":
        """Nothing measured: every rate is that of the configuration."""
        empty = np.full((len(KINDS), segments + 1), np.nan)
        return cls(empty, empty, np.zeros_like(empty))


@dataclasses.dataclass(frozen=True)
class ValuationConfig:
    """What is assumed, and what is needed before learning replaces it.

    Attributes:
        score_curve: How odds rise with the score; only its shape and the distance of its ends count, the level is measured.
        click_rate: Rate of clicks of a kind that has none measured, in (0, 1).
        conversion_rate: The same of conversions.
        incremental_share: Share of conversions that contact causes before it is measured, in [0, 1].
        incremental_weight: Conversions expected without contact after which the measured share counts as much, > 0.
        kind_weight: The same for the share of a kind against that of all kinds, > 0.
        fatigue: What each recent contact leaves of the effect of the next as long as it is not learnt, in (0, 1].
        follow_days: Days that a contact must have been followed for to be learnt from, >= 0.
        least_exposures: Treated contacts below which priors are left as they are, >= 1.
        response: Model of answers; its `least_answers` say when there are enough.
        learners: Models of uplift by name, at least one; the first is kept unless another ranks better beyond doubt.
        least_answers: Rows with a conversion, and rows without, in each arm, below which uplift is not learnt, >= 2.
        judged_people: Most people on whom models of uplift are judged, >= 2.
        most_history: Most rows of history that are learnt from, >= 2; whole people are drawn where there are more.
        seed: Seed of draws and of the splits on which uplift is judged.
    """

    score_curve: ScorePriorConfig = dataclasses.field(
        default_factory=lambda: ScorePriorConfig(base_rate=0.005, cap=0.3)
    )
    click_rate: float = 0.03
    conversion_rate: float = 0.005
    incremental_share: float = 0.4
    incremental_weight: float = 10.0
    kind_weight: float = 50.0
    fatigue: float = 0.6
    follow_days: float = 7.0
    least_exposures: int = 100
    response: ResponseConfig = dataclasses.field(default_factory=ResponseConfig)
    learners: Mapping[str, UpliftConfig] = dataclasses.field(default_factory=lambda: LEARNERS)
    least_answers: int = 30
    judged_people: int = 20_000
    most_history: int = 500_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("click_rate", "conversion_rate"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if not 0 <= self.incremental_share <= 1:
            raise ValueError(f"incremental_share must be in [0, 1], got {self.incremental_share}")
        for name in ("incremental_weight", "kind_weight"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if not 0 < self.fatigue <= 1:
            raise ValueError(f"fatigue must be above 0 and at most 1, got {self.fatigue}")
        if self.follow_days < 0:
            raise ValueError(f"follow_days must not be negative, got {self.follow_days}")
        if not self.learners:
            raise ValueError("learners of uplift must be at least one")
        for name, least in (("least_exposures", 1), ("least_answers", 2), ("judged_people", 2), ("most_history", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True, eq=False)
class Valuation:
    """What contacts are worth, one entry a row.

    Attributes:
        p_click: Probability of a click if contacted, shape (rows,).
        p_conversion: Probability of a conversion if contacted, shape (rows,).
        uplift: `p_conversion` minus the probability without contact, shape (rows,); negative where contact puts off.
        expected_value: `uplift` x `value_per_conversion`, before cost, shape (rows,).
        source: What uplift rests on, of `SOURCES`.
        click_source: What `p_click` rests on, of `SOURCES`.
        reason: Why not a better source; None for the model of uplift.
        incremental_share: Share of conversions that contact causes by kind, shape (kinds,).
        reliability: Of `p_conversion`, on contacts that were not learnt from; None for the prior.
        learner: Learner of uplift that ranks best, of `ValuationConfig.learners`; it is in use if `source` is the uplift model.
            None if there was too little to compare.
        qini: Comparison of all learners of uplift with a response-only and a random ranking on people whom they had not seen; None
            with the learner.
    """

    p_click: Floats
    p_conversion: Floats
    uplift: Floats
    expected_value: Floats
    source: str
    click_source: str
    reason: str | None
    incremental_share: Floats
    reliability: Reliability | None
    learner: str | None
    qini: QiniComparison | None


def value_contacts(
    features: ContactFeatures, history: ContactHistory | None, rates: RatePriors, config: ValuationConfig | None = None
) -> Valuation:
    """Values each contact from what is known so far.

    Conversions and clicks each rest on the best source that there is enough for:

    - prior: the measured rate of kind and segment, shaped by the score. The mean over the rows of a cell that have a score
      is its rate as long as nobody is weary, so all rows that are to be compared should come in one call. A row without a
      score has the rate itself.
    - recalibrated prior: with `least_exposures` treated contacts, a straight line on its log odds (`recalibrate`).
    - response model: with enough answers, if its predictions for people it has not seen are at least as good (log loss).

    Uplift is the incremental share of the kind times `p_conversion`; recent contacts take from it by `fatigue`. The model of
    uplift replaces this if there are enough conversions in both arms and, on people that it has not seen, the interval
    of its Qini coefficient is above 0 and the coefficient is not below that of the response-only ranking. Above 0 alone would
    not do: where contact helps all alike, uplift goes with response, and the ranking by response has the smaller error. To
    ask for an interval above the response-only one would keep a ranking for long that may itself be worth nothing, and that
    never says who is put off.

    Which learner is the model of uplift: the first one, a regression with interactions, unless the paired interval of another's
    Qini less its own is above 0 on the same people. All are compared on at most `judged_people` people, each fitted to halves of
    them, `_SPLITS` times two; the first and the chosen one alone are fitted to all of history. So the comparison costs the same
    however long history is: with 20,000 people the two learners of trees take about two seconds of a core.

    Those who were contacted are the best by what was believed before, so that a model sees little of the others; and whoever takes
    the highest of many predictions takes those where a model is wrong. So outside of what it was learnt from (`_SEEN`, column by
    column) a model says what it says at the edge, and from there on log odds change as the prior's do, and uplift in proportion.

    Fatigue is learnt by a model of answers or uplift where enough weary people answered. Otherwise it learns from people without
    recent contacts, and `fatigue` applies.

    Args:
        features: The contacts that could be made.
        history: Contacts of both arms; None before there are any.
        rates: Measured rates of kinds and segments.
        config: What is assumed and what is needed.

    Returns:
        Probabilities, uplift and value, where they come from and why not from something better.

    Raises:
        ValueError: If a column has another length, a value out of range, or history and contacts have other columns.

    Source: what a model says far from its data: King and Zeng, "The dangers of extreme counterfactuals", Political Analysis 2006;
    that a choice by learnt values has to keep to where they were learnt: Jin, Yang and Wang, "Is pessimism provably efficient for
    offline RL?", ICML 2021.
    """
    config = config or ValuationConfig()
    segments = _check_rates(rates)
    _check_features(features, segments, "contacts")
    past = None
    if history is not None:
        _check_history(history, features, segments)
        past = _learnt_from(history, config)
    shares = _shares(past, config)
    contacts, before = _with_priors(features, None if past is None else past.features, rates, shares, config)
    click = _answers("click", contacts, before, past, None if past is None else past.clicked, config)
    conversion = _answers("conversion", contacts, before, past, None if past is None else past.converted, config)
    learnt = _learnt_uplift(contacts, before, past, config)
    source, reason = UPLIFT, None
    if learnt.uplift is None:
        source = conversion.source
        reason = "; ".join(why for why in (conversion.reason, learnt.reason) if why is not None)
        uplift = contacts.caused * conversion.probability
    else:
        # What contact adds cannot be more than there is with it, nor what it takes more than there was without.
        uplift = np.clip(learnt.uplift, conversion.probability - 1, conversion.probability)
    return Valuation(
        p_click=click.probability,
        p_conversion=conversion.probability,
        uplift=uplift,
        expected_value=uplift * features.value_per_conversion,
        source=source,
        click_source=click.source,
        reason=reason,
        incremental_share=shares,
        reliability=conversion.reliability,
        learner=learnt.learner,
        qini=learnt.qini,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Rows:
    """Contacts, or history, with what is assumed of them.

    Attributes:
        features: What is known of them.
        segments: Number of segments.
        rested: Prior probability of each answer of people without recent contacts, by name, each of shape (rows,).
        left: What fatigue leaves of these, by name.
        caused: Share of conversions that contact causes, fatigue included, shape (rows,).
        factor: What fatigue leaves of the effect of a contact, shape (rows,).
    """

    features: ContactFeatures
    segments: int
    rested: dict[str, Floats]
    left: dict[str, Floats]
    caused: Floats
    factor: Floats

    def __len__(self) -> int:
        return len(self.features.kind)

    def prior(self, name: str) -> Floats:
        """Prior probability of an answer, fatigue included."""
        return self.rested[name] * self.left[name]

    def columns(self, name: str, *, weary: bool, rows: slice | Ints | Flags = slice(None)) -> Floats:
        """Columns for models of an answer or of uplift, rows x columns; recent contacts only if these can be learnt."""
        some = self.features
        scored = np.isfinite(some.score_share[rows])
        columns: list[NDArray[np.generic]] = [
            logit(self.rested[name][rows]),
            np.where(scored, some.score_share[rows], 0.5),
            ~scored,
            np.log1p(some.activity[rows]),
            np.log1p(some.value_per_conversion[rows]),
            some.kind[rows, None] == np.arange(1, len(KINDS)),
            some.segment[rows, None] == np.arange(self.segments),
        ]
        if weary:
            columns.append(some.recent_contacts[rows])
        if some.further is not None:
            columns.append(some.further[rows])
        return np.column_stack(columns).astype(np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class _Answers:
    """Probabilities of an answer with contact, where they come from, and why not from something better."""

    probability: Floats
    source: str
    reason: str | None
    reliability: Reliability | None


@dataclasses.dataclass(frozen=True, eq=False)
class _LearntUplift:
    """Uplift by a model, or the reason why there is none; the comparison wherever there was enough for one."""

    uplift: Floats | None
    reason: str | None
    learner: str | None = None
    qini: QiniComparison | None = None


def _with_priors(
    contacts: ContactFeatures,
    before: ContactFeatures | None,
    rates: RatePriors,
    shares: Floats,
    config: ValuationConfig,
) -> tuple[_Rows, _Rows | None]:
    """Contacts and history with the same prior: a score means the same in both."""
    segments = rates.click.shape[1] - 1
    sides = [one for one in (contacts, before) if one is not None]
    curves = [curve_of_shares(one.score_share, config.score_curve) for one in sides]
    cells = [
        one.kind.astype(np.int64) * (segments + 1) + np.where(one.segment < 0, segments, one.segment) for one in sides
    ]
    rested: list[dict[str, Floats]] = [{} for _ in sides]
    for name, measured, assumed in (
        ("click", rates.click, config.click_rate),
        ("conversion", rates.conversion, config.conversion_rate),
    ):
        known = _known_rates(measured, rates.strength, assumed)
        shifts = np.full(len(known), np.nan)
        # The level is that of the contacts that can be made; how far off it was for history, recalibration says.
        for curve, cell in zip(curves, cells, strict=True):
            shifts = np.where(np.isfinite(shifts), shifts, cell_shifts(curve, cell, known))
        for found, curve, cell in zip(rested, curves, cells, strict=True):
            found[name] = shaped_rates(curve, cell, known, shifts)
    made = []
    for one, found in zip(sides, rested, strict=True):
        factor = fatigue_factor(one.recent_contacts, config.fatigue)
        left, caused = fatigue_of_conversions(shares[one.kind], factor)
        # A click is caused by the contact whole, a conversion in part.
        made.append(_Rows(one, segments, found, {"click": factor, "conversion": left}, caused, factor))
    return made[0], made[1] if before is not None else None


def _answers(
    name: str,
    contacts: _Rows,
    before: _Rows | None,
    past: ContactHistory | None,
    answered: Flags | None,
    config: ValuationConfig,
) -> _Answers:
    """Probability of an answer of contacts from the best source that there is enough for."""
    prior = contacts.prior(name)
    if before is None or past is None or answered is None:
        return _Answers(prior, PRIOR, "no contact has been followed yet", None)
    rows = np.flatnonzero(past.treated)
    if len(rows) < config.least_exposures:
        why = f"{len(rows)} treated contacts followed for {config.follow_days:g} days, {config.least_exposures} are needed"
        return _Answers(prior, PRIOR, why, None)
    line = recalibrate(before.prior(name)[rows], answered[rows])
    tired = past.features.recent_contacts > 0
    weary = int(answered[rows[tired[rows]]].sum()) >= config.least_answers
    seen = rows if weary else rows[~tired[rows]]
    columns = before.columns(name, weary=weary, rows=seen)
    found, people = answered[seen], _groups_of(past.features.person[seen], config.seed)
    unseen, reason = cross_fitted_probabilities(columns, found, config.response, people=people)
    if unseen is not None:
        rival = _cross_recalibrated(before.prior(name)[seen], found, people)
        loss, rival_loss = _log_loss(unseen, found), _log_loss(rival, found)
        reason = f"its log loss is {loss:.4f}, that of the {RECALIBRATED} {rival_loss:.4f}"
        if loss <= rival_loss:
            fitted = fit_response(columns, found, config.response, people=people)
            reason = fitted.reason
            if fitted.model is not None:
                probability = _by_block(contacts, name, weary, columns, _as_odds(fitted.model.probability))
                if not weary:
                    probability *= contacts.left[name]
                return _Answers(probability, RESPONSE, None, reliability(unseen, found))
    groups = _groups_of(past.features.person[rows], config.seed)
    judged = _cross_recalibrated(before.prior(name)[rows], answered[rows], groups)
    said = logit(prior)
    edge = np.clip(said, *np.quantile(logit(before.prior(name)[rows]), _SEEN))
    beyond = expit(logit(line.apply(expit(edge))) + said - edge)
    return _Answers(beyond, RECALIBRATED, f"{RESPONSE}: {reason}", reliability(judged, answered[rows]))


def _learnt_uplift(
    contacts: _Rows, before: _Rows | None, past: ContactHistory | None, config: ValuationConfig
) -> _LearntUplift:
    """Uplift of contacts, if a model of it ranks people better than their response does."""
    if before is None or past is None:
        return _LearntUplift(None, None)
    lot = _drawn_by_lot(past.propensity)
    tired = past.features.recent_contacts > 0
    weary = all(
        int((lot & tired & past.converted & arm).sum()) >= config.least_answers for arm in (past.treated, ~past.treated)
    )
    rows = np.flatnonzero(lot if weary else lot & ~tired)
    treated, converted = past.treated[rows], past.converted[rows]
    columns = before.columns("conversion", weary=weary, rows=rows)
    usual = next(iter(config.learners))
    fitted = fit_uplift(columns, treated, converted, config.learners[usual], least_answers=config.least_answers)
    if fitted.model is None:
        return _LearntUplift(None, f"{UPLIFT}: {fitted.reason}")
    # One row of each person, so that nobody is judged by a model that has seen them, nor counted twice in an interval.
    one = _one_of_each(past.features.person[rows], config.judged_people, config.seed)
    found = compare_uplift(
        columns[one],
        treated[one],
        converted[one],
        config.learners,
        seeds=range(config.seed, config.seed + _SPLITS),
        draws=_DRAWS,
        least_answers=max(1, config.least_answers // 3),
    )
    learner = _best_learner(found, list(config.learners))
    score, rival = found.scores[learner], found.scores[RESPONSE_ONLY]
    if score.value is None or score.low is None or score.high is None or rival.value is None:
        return _LearntUplift(None, f"{UPLIFT}: {score.reason or rival.reason}", learner, found)
    if score.low <= 0 or score.value < rival.value:
        interval = f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"
        reason = f"Qini of {learner} {interval}, that of response alone {rival.value:.3f}"
        return _LearntUplift(None, f"{UPLIFT}: {reason}", learner, found)
    if learner != usual:
        fitted = fit_uplift(columns, treated, converted, config.learners[learner], least_answers=config.least_answers)
    # All learners need the same of a history.
    assert fitted.model is not None, fitted.reason
    uplift = _by_block(contacts, "conversion", weary, columns, _in_proportion(fitted.model.uplift))
    if not weary:
        # What helps does so less often; what puts off is not mended by more of it.
        uplift = np.where(uplift > 0, uplift * contacts.factor, uplift)
    return _LearntUplift(uplift, None, learner, found)


def _best_learner(found: QiniComparison, learners: list[str]) -> str:
    """The first learner, unless another ranks better beyond doubt; of several that do, the one with the highest coefficient."""
    usual, *others = learners
    better = []
    for name in others:
        ahead = found.ahead(name, usual)
        if ahead is not None and ahead[1] > 0:
            better.append((ahead[0], name))
    return max(better)[1] if better else usual


def _by_block(rows: _Rows, name: str, weary: bool, seen: Floats, predict: Callable[[Floats, Floats], Floats]) -> Floats:
    """Predictions of all rows, whose columns are made for a block at a time.

    Args:
        rows: What is predicted.
        name: Answer whose prior is the first column.
        weary: As in `_Rows.columns`.
        seen: Columns that the model was learnt from, shape (rows of history, columns).
        predict: From columns within what was seen, and the log odds of the prior, to predictions.
    """
    found = np.empty(len(rows))
    low, high = np.quantile(seen, _SEEN, axis=0)
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        columns = rows.columns(name, weary=weary, rows=block)
        found[block] = predict(np.clip(columns, low, high), columns[:, 0])
    return found


def _as_odds(predict: Callable[[Floats], Floats]) -> Callable[[Floats, Floats], Floats]:
    """A probability whose log odds go on as the prior's do where those are outside of what was seen."""

    def probability(within: Floats, prior: Floats) -> Floats:
        said = np.clip(predict(within), 1e-9, 1 - 1e-9)
        return np.asarray(expit(logit(said) + prior - within[:, 0]))

    return probability


def _in_proportion(predict: Callable[[Floats], Floats]) -> Callable[[Floats, Floats], Floats]:
    """An uplift that goes on in proportion to the prior where that is outside of what was seen."""
    return lambda within, prior: np.asarray(predict(within) * expit(prior) / expit(within[:, 0]))


def _cross_recalibrated(said: Floats, answered: Flags, groups: Ints) -> Floats:
    """Recalibrated probability of each row by a line that has not seen its group of people."""
    fold = groups % _FOLDS
    found = np.empty(len(said))
    for number in range(_FOLDS):
        test = fold == number
        found[test] = recalibrate(said[~test], answered[~test]).apply(said[test])
    return found


def _log_loss(probabilities: Floats, answered: Flags) -> float:
    within = np.clip(probabilities, 1e-9, 1 - 1e-9)
    return float(-np.where(answered, np.log(within), np.log1p(-within)).mean())


def _shares(past: ContactHistory | None, config: ValuationConfig) -> Floats:
    """Share of conversions that contact causes, by kind."""
    if past is None:
        return np.full(len(KINDS), config.incremental_share)
    rows = _drawn_by_lot(past.propensity)
    kind = past.features.kind[rows]
    return incremental_shares(
        kind,
        len(KINDS),
        kind if past.stratum is None else past.stratum[rows],
        past.treated[rows],
        past.converted[rows],
        prior=config.incremental_share,
        weight=config.incremental_weight,
        group_weight=config.kind_weight,
    )


def _learnt_from(history: ContactHistory, config: ValuationConfig) -> ContactHistory | None:
    """The rows that were followed for long enough, of people drawn by lot if there are too many; None without any."""
    rows = np.flatnonzero(history.observed_days >= config.follow_days)
    if len(rows) > config.most_history:
        lot = _lot_of(history.features.person[rows], config.seed)
        # Whole people, the smallest lots first, as long as all their rows fit.
        sorted_lots = np.sort(lot)
        rows = rows[lot < sorted_lots[config.most_history]]
    return history.at(rows) if len(rows) else None


def _at(values: Any, rows: Ints) -> Any:
    return None if values is None else values[rows]


def _drawn_by_lot(propensity: Floats) -> Flags:
    return np.asarray(np.isfinite(propensity) & (propensity < 1))


def _lot_of(people: Ints, seed: int) -> Floats:
    """A number in [0, 1) for each row, the same for all rows of a person."""
    known, number = np.unique(people, return_inverse=True)
    return np.asarray(np.random.default_rng([seed, 1]).permutation(len(known))[number] / max(len(known), 1))


def _groups_of(people: Ints, seed: int) -> NDArray[np.int64]:
    """Number of a group of people that the person of each row is in by lot.

    Folds are made of these: scikit-learn deals groups out one by one, a third of a millisecond each (seen in 1.9).
    """
    return np.asarray((_lot_of(people, seed) * _GROUPS).astype(np.int64))


def _one_of_each(people: Ints, most: int, seed: int) -> NDArray[np.int64]:
    """A row of each person, drawn by lot, of at most so many people; ascending."""
    order = np.random.default_rng([seed, 2]).permutation(len(people))
    _, first = np.unique(people[order], return_index=True)
    drawn = order[first]
    if len(drawn) > most:
        drawn = np.random.default_rng([seed, 3]).choice(drawn, most, replace=False)
    return np.sort(drawn)


def _known_rates(measured: Floats, strength: Floats, assumed: float) -> Floats:
    """Rate of each cell: its own, else that of its kind, else the assumed one; shape (kinds x (segments + 1),)."""
    own = np.where(np.isfinite(measured) & (strength > 0), measured, np.nan)
    of_kind = np.where(np.isfinite(own[:, -1:]), own[:, -1:], assumed)
    # Odds of a rate that is exactly 0 or 1 are not finite.
    return np.asarray(np.clip(np.where(np.isfinite(own), own, of_kind), 1e-6, 1 - 1e-6).ravel())


def _check_rates(rates: RatePriors) -> int:
    """Number of segments."""
    shape = rates.click.shape
    if len(shape) != 2 or shape[0] != len(KINDS) or shape[1] < 1:
        raise ValueError(f"rates must be {len(KINDS)} kinds x (segments + 1), got shape {shape}")
    for name, values in (("click", rates.click), ("conversion", rates.conversion), ("strength", rates.strength)):
        if values.shape != shape:
            raise ValueError(f"rates of {name} have shape {values.shape}, those of click {shape}")
        low, high = (values < 0).any(), name != "strength" and (values > 1).any()
        if low or high:
            raise ValueError(f"rates of {name} must be {'at least 0' if low else 'at most 1'} or NaN")
    return int(shape[1]) - 1


def _check_features(features: ContactFeatures, segments: int, whose: str) -> None:
    rows = len(features.kind)
    for field in dataclasses.fields(ContactFeatures):
        values = getattr(features, field.name)
        if field.name == "further":
            if values is not None and (values.ndim != 2 or len(values) != rows or not np.isfinite(values).all()):
                raise ValueError(f"further columns of {whose} must be finite and {rows} rows, got shape {values.shape}")
        elif values.shape != (rows,):
            raise ValueError(f"{field.name} of {whose} has shape {values.shape}, kind has {features.kind.shape}")
    for name, low, high in (("kind", 0, len(KINDS) - 1), ("segment", -1, segments - 1), ("recent_contacts", 0, None)):
        values = getattr(features, name)
        if not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"{name} of {whose} must be integers, got {values.dtype}")
        if rows and (values.min() < low or (high is not None and values.max() > high)):
            allowed = f"from {low} to {high}" if high is not None else f"at least {low}"
            raise ValueError(f"{name} of {whose} must be {allowed}, got {values.min()} to {values.max()}")
    for name in ("activity", "value_per_conversion", "cost"):
        values = getattr(features, name)
        if not (np.isfinite(values) & (values >= 0)).all():
            row = int(np.flatnonzero(~(np.isfinite(values) & (values >= 0)))[0])
            raise ValueError(f"{name} of {whose} must be finite and at least 0, row {row} has {values[row]}")
    share = features.score_share
    if not ((np.isnan(share)) | ((share >= 0) & (share <= 1))).all():
        raise ValueError(f"score_share of {whose} must be in [0, 1] or NaN")


def _check_history(history: ContactHistory, contacts: ContactFeatures, segments: int) -> None:
    _check_features(history.features, segments, "history")
    rows = len(history.features.kind)
    check_flags(rows, treated=history.treated, clicked=history.clicked, converted=history.converted)
    for name in ("propensity", "observed_days", "stratum"):
        values = getattr(history, name)
        if values is not None and values.shape != (rows,):
            raise ValueError(f"{name} of history has shape {values.shape}, its features have {rows} rows")
    if not (np.isnan(history.propensity) | ((history.propensity > 0) & (history.propensity <= 1))).all():
        raise ValueError("propensity of history must be above 0 and at most 1, or NaN")
    columns = [0 if one.further is None else one.further.shape[1] for one in (contacts, history.features)]
    if columns[0] != columns[1]:
        raise ValueError(f"contacts have {columns[0]} further columns, history has {columns[1]}")

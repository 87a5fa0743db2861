"""What contact causes, person by person, learnt from a randomised holdout.

Holds models of the difference between the probability of an answer with and without contact: a logistic regression with
treatment interactions, the T-learner and the X-learner; and the two rankings that they have to beat, by response alone and
at random. They are right only if who was contacted was drawn by lot. How good a ranking is, `qini` says.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from models_ml.campaigns.learners import (
    Flags,
    Floats,
    Learner,
    check_features,
    check_flags,
    check_learner,
    classifier,
    regressor,
)


@dataclasses.dataclass(frozen=True)
class InteractionConfig:
    """One logistic regression of features, contact and their products.

    Attributes:
        regularization: Weight of the squared coefficients, > 0.
    """

    regularization: float = 1.0

    def __post_init__(self) -> None:
        check_learner("linear", self.regularization)


@dataclasses.dataclass(frozen=True)
class AnswersConfig:
    """Parameters of models of answers.

    Attributes:
        learner: `linear` (logistic regression) or `boosting`.
        regularization: Weight of the squared coefficients of logistic regression, > 0.
        seed: Seed of boosting.
    """

    learner: Learner = "linear"
    regularization: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_learner(self.learner, self.regularization)


@dataclasses.dataclass(frozen=True)
class TLearnerConfig(AnswersConfig):
    """One model of answers for each arm; the uplift is their difference."""


@dataclasses.dataclass(frozen=True)
class XLearnerConfig:
    """Models of answers for each arm, then models of the effects that they impute, weighted by the share contacted.

    Attributes:
        learner: Of the answers, `linear` (logistic regression) or `boosting`.
        effect: Of the effects, `linear` (ridge regression) or `boosting`.
        regularization: Weight of the squared coefficients of both linear learners, > 0.
        seed: Seed of boosting.
    """

    learner: Learner = "linear"
    effect: Learner = "linear"
    regularization: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_learner(self.learner, self.regularization)
        check_learner(self.effect, self.regularization)


@dataclasses.dataclass(frozen=True)
class ResponseOnlyConfig(AnswersConfig):
    """Ranking by how likely those contacted are to answer, which says nothing about what contact caused."""


@dataclasses.dataclass(frozen=True)
class RandomConfig:
    """Ranking at random.

    Attributes:
        seed: Seed of the draw.
    """

    seed: int = 0


UpliftConfig = InteractionConfig | TLearnerConfig | XLearnerConfig | ResponseOnlyConfig | RandomConfig


@dataclasses.dataclass(frozen=True, eq=False)
class UpliftModel:
    """A fitted model.

    Attributes:
        config: How it was fitted.
        columns: Number of columns of the features.
        share_treated: Share of the rows of the fit that were contacted.
    """

    config: UpliftConfig
    columns: int
    share_treated: float
    _predict: Callable[[Floats], Floats] = dataclasses.field(repr=False)

    def uplift(self, features: Floats) -> Floats:
        """Incremental probability of an answer; for `ResponseOnlyConfig` and `RandomConfig` only the order means something.

        Args:
            features: Shape (rows, columns).

        Returns:
            Shape (rows,), in [-1, 1].

        Raises:
            ValueError: If features have other columns than those of the fit or are not finite.
        """
        check_features(features, _accepts(self.config), columns=self.columns)
        return self._predict(features) if len(features) else np.zeros(0)


@dataclasses.dataclass(frozen=True, eq=False)
class FittedUplift:
    """A model, or the reason why there is none.

    Attributes:
        model: None where there is too little to learn from.
        reason: Why there is no model; None if there is one.
    """

    model: UpliftModel | None
    reason: str | None = None


def fit_uplift(
    features: Floats, treated: Flags, responded: Flags, config: UpliftConfig, *, least_answers: int = 30
) -> FittedUplift:
    """Fits a model of uplift.

    Args:
        features: What is known about each person before contact, shape (rows, columns); NaN only where all learners are
            boosting.
        treated: Whether the lot said contact, bool, shape (rows,); not whether the contact arrived.
        responded: Whether there was an answer, bool, shape (rows,); it must be something that people of both arms can do (a
            visit, a purchase), not a click on the contact itself.
        config: Which model, with its parameters.
        least_answers: Rows with an answer, and rows without, in each arm, below which nothing is fitted; >= 1.

    Returns:
        The model; none and a reason where an arm has too few answers.

    Raises:
        ValueError: If shapes do not fit or features are not finite.

    Source: interactions: Lo, "The True Lift Model", SIGKDD Explorations 2002; T- and X-learner: Kuenzel, Sekhon, Bickel and
    Yu, "Metalearners for estimating heterogeneous treatment effects using machine learning", PNAS 2019.
    """
    check_features(features, _accepts(config))
    check_flags(len(features), treated=treated, responded=responded)
    if least_answers < 1:
        raise ValueError(f"least_answers must be at least 1, got {least_answers}")
    if not isinstance(config, RandomConfig):
        for arm, rows in (("treated", treated), ("control", ~treated)):
            for name, some in (("with", responded), ("without", ~responded)):
                count = int((rows & some).sum())
                if count < least_answers:
                    return FittedUplift(None, f"{count} {arm} rows {name} an answer, {least_answers} are needed")
    predict = _FITS[type(config)](features, treated, responded, config)
    share = float(treated.mean()) if len(treated) else 0.0
    return FittedUplift(UpliftModel(config, features.shape[1], share, predict))


def _accepts(config: UpliftConfig) -> Learner:
    """`boosting` if every learner takes NaN."""
    if isinstance(config, XLearnerConfig):
        return "boosting" if config.learner == config.effect == "boosting" else "linear"
    if isinstance(config, TLearnerConfig | ResponseOnlyConfig):
        return config.learner
    return "boosting" if isinstance(config, RandomConfig) else "linear"


def _interaction(
    features: Floats, treated: Flags, responded: Flags, config: InteractionConfig
) -> Callable[[Floats], Floats]:
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)

    def crossed(rows: Floats, contact: Floats) -> Floats:
        # Features are centred first, so that their products with contact are not collinear with contact itself.
        centred = (rows - mean) / scale
        return np.hstack([centred, contact[:, None], centred * contact[:, None]])

    model = classifier("linear", regularization=config.regularization, seed=0)
    model.fit(crossed(features, treated.astype(np.float64)), responded)

    def predict(rows: Floats) -> Floats:
        with_contact = model.predict_proba(crossed(rows, np.ones(len(rows))))[:, 1]
        without: Floats = model.predict_proba(crossed(rows, np.zeros(len(rows))))[:, 1]
        difference: Floats = with_contact - without
        return difference

    return predict


def _answers(
    features: Floats, responded: Flags, config: TLearnerConfig | XLearnerConfig | ResponseOnlyConfig
) -> Callable[[Floats], Floats]:
    """Probability of an answer, learnt from the rows of one arm."""
    model = classifier(config.learner, regularization=config.regularization, seed=config.seed)
    model.fit(features, responded)

    def predict(rows: Floats) -> Floats:
        found: Floats = model.predict_proba(rows)[:, 1]
        return found

    return predict


def _t_learner(
    features: Floats, treated: Flags, responded: Flags, config: TLearnerConfig
) -> Callable[[Floats], Floats]:
    with_contact = _answers(features[treated], responded[treated], config)
    without = _answers(features[~treated], responded[~treated], config)
    return lambda rows: with_contact(rows) - without(rows)


def _x_learner(
    features: Floats, treated: Flags, responded: Flags, config: XLearnerConfig
) -> Callable[[Floats], Floats]:
    contacted, others = features[treated], features[~treated]
    with_contact = _answers(contacted, responded[treated], config)
    without = _answers(others, responded[~treated], config)
    effects = [regressor(config.effect, regularization=config.regularization, seed=config.seed) for _ in range(2)]
    effects[0].fit(contacted, responded[treated] - without(contacted))
    effects[1].fit(others, with_contact(others) - responded[~treated])
    share = float(treated.mean())

    def predict(rows: Floats) -> Floats:
        # The effects imputed in the smaller arm are the better ones: they rest on the answers of the larger one.
        weighted = (1 - share) * effects[0].predict(rows) + share * effects[1].predict(rows)
        # A regression on effects does not know that probabilities differ by at most 1.
        within: Floats = np.clip(weighted, -1.0, 1.0)
        return within

    return predict


def _response_only(
    features: Floats, treated: Flags, responded: Flags, config: ResponseOnlyConfig
) -> Callable[[Floats], Floats]:
    return _answers(features[treated], responded[treated], config)


def _random(features: Floats, treated: Flags, responded: Flags, config: RandomConfig) -> Callable[[Floats], Floats]:
    return lambda rows: np.random.default_rng(config.seed).random(len(rows))


_FITS: dict[type, Callable[..., Callable[[Floats], Floats]]] = {
    InteractionConfig: _interaction,
    TLearnerConfig: _t_learner,
    XLearnerConfig: _x_learner,
    ResponseOnlyConfig: _response_only,
    RandomConfig: _random,
}

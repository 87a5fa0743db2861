"""How likely a person is to answer: click, conversion, dismissal.

Holds the calibrated model of answers once there are exposures. Before there are any, `score_prior` gives probabilities; how
good either is, `reliability` says; what contact causes, which is another question, `uplift` answers. Which columns the
features have is decided by the caller.
"""

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV

from models_ml.campaigns.learners import (
    Flags,
    Floats,
    Learner,
    check_features,
    check_flags,
    check_learner,
    classifier,
    folds_of,
)

Calibration = Literal["platt", "isotonic", "none"]


@dataclasses.dataclass(frozen=True)
class ResponseConfig:
    """How answers are modelled.

    Attributes:
        learner: `linear` is logistic regression on standardised columns, `boosting` histogram gradient boosting.
        calibration: `platt` (two parameters; for few answers), `isotonic` (any rising curve; for a thousand answers or
            more) or `none`.
        regularization: Weight of the squared coefficients of logistic regression, > 0.
        folds: Folds of the cross-fitting that calibration is learnt on, >= 2.
        least_answers: Rows with an answer, and rows without, below which nothing is fitted; at least `folds`.
        seed: Seed of folds and boosting.
    """

    learner: Learner = "linear"
    calibration: Calibration = "platt"
    regularization: float = 1.0
    folds: int = 5
    least_answers: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        check_learner(self.learner, self.regularization)
        if self.calibration not in ("platt", "isotonic", "none"):
            raise ValueError(f"there is no calibration {self.calibration!r}; take platt, isotonic or none")
        if self.folds < 2 or self.least_answers < self.folds:
            raise ValueError(
                f"folds must be at least 2 and least_answers at least that, got {self.folds} and {self.least_answers}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class ResponseModel:
    """A fitted model of answers.

    Attributes:
        config: How it was fitted.
        columns: Number of columns of the features.
        rows: Rows that it was fitted on.
        answers: How many of these had an answer.
    """

    config: ResponseConfig
    columns: int
    rows: int
    answers: int
    _model: Any = dataclasses.field(repr=False)

    def probability(self, features: Floats) -> Floats:
        """Calibrated probability of an answer.

        Args:
            features: Shape (rows, columns).

        Returns:
            Shape (rows,), in [0, 1].

        Raises:
            ValueError: If features have other columns than those of the fit or are not finite.
        """
        check_features(features, self.config.learner, columns=self.columns)
        if not len(features):
            return np.zeros(0)
        found: Floats = self._model.predict_proba(features)[:, 1]
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class FittedResponse:
    """A model, or the reason why there is none.

    Attributes:
        model: None where there is too little to learn from.
        reason: Why there is no model; None if there is one.
    """

    model: ResponseModel | None
    reason: str | None = None


def fit_response(
    features: Floats,
    responded: Flags,
    config: ResponseConfig | None = None,
    *,
    people: NDArray[np.integer] | None = None,
) -> FittedResponse:
    """Fits the learner to all rows and its calibration to predictions for rows that it had not seen.

    Predictions of all folds together make one calibration, which is put on the learner that is fitted to everything.

    Args:
        features: One row for each exposure, shape (rows, columns); NaN is allowed for boosting only.
        responded: Whether there was an answer, bool, shape (rows,).
        config: Parameters.
        people: Person of each row, whose rows are kept in one fold; by default each row is a person.

    Returns:
        The model; none and a reason where answers are too few, or too few people gave them.

    Raises:
        ValueError: If shapes do not fit or features are not finite.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines", 1999; Zadrozny and Elkan, "Transforming Classifier
    Scores into Accurate Multiclass Probability Estimates", KDD 2002; Niculescu-Mizil and Caruana, "Predicting Good
    Probabilities with Supervised Learning", ICML 2005.
    """
    config = config or ResponseConfig()
    check_features(features, config.learner)
    check_flags(len(features), responded=responded)
    reason = _too_few(responded, people, config)
    if reason is not None:
        return FittedResponse(None, reason)
    base = classifier(config.learner, regularization=config.regularization, seed=config.seed)
    if config.calibration == "none":
        model = base
    else:
        model = CalibratedClassifierCV(
            base,
            method="sigmoid" if config.calibration == "platt" else "isotonic",
            cv=list(folds_of(responded.astype(np.int64), config.folds, config.seed, people)),
            ensemble=False,
        )
    model.fit(features, responded.astype(np.int64))
    return FittedResponse(ResponseModel(config, features.shape[1], len(features), int(responded.sum()), model))


def cross_fitted_probabilities(
    features: Floats,
    responded: Flags,
    config: ResponseConfig | None = None,
    *,
    folds: int = 3,
    people: NDArray[np.integer] | None = None,
) -> tuple[Floats | None, str | None]:
    """Probability of each row by a model, calibration included, that has not seen it; what reliability is to be judged on.

    Args:
        features: As in `fit_response`.
        responded: As in `fit_response`.
        config: As in `fit_response`.
        folds: Folds of the outer round.
        people: As in `fit_response`.

    Returns:
        Probabilities, shape (rows,), and None; or None and a reason.
    """
    config = config or ResponseConfig()
    check_features(features, config.learner)
    check_flags(len(features), responded=responded)
    reason = _too_few(responded, people, config)
    if reason is not None:
        return None, reason
    found = np.empty(len(features))
    for train, test in folds_of(responded.astype(np.int64), folds, config.seed + 1, people):
        fitted = fit_response(
            features[train], responded[train], config, people=None if people is None else people[train]
        )
        if fitted.model is None:
            return None, f"in a fold of {folds}: {fitted.reason}"
        found[test] = fitted.model.probability(features[test])
    return found, None


def _too_few(responded: Flags, people: NDArray[np.integer] | None, config: ResponseConfig) -> str | None:
    if people is not None and people.shape != responded.shape:
        raise ValueError(f"people must be one number for each of {len(responded)} rows, got shape {people.shape}")
    for name, rows in (("with", responded), ("without", ~responded)):
        count = int(rows.sum())
        if count < config.least_answers:
            return f"{count} rows {name} an answer, {config.least_answers} are needed"
        if people is not None and len(np.unique(people[rows])) < config.folds:
            return f"rows {name} an answer are of fewer people than the {config.folds} folds"
    return None

"""The base learners of response and uplift, by name.

Holds how a regression or a boosting of this package is set up, and the checks of what is put into one. What they are asked is
decided in `response` and `uplift`.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Learner = Literal["linear", "boosting"]

# Trees of boosting are small and few: rates of answers are low, and what a leaf says must rest on many people.
_BOOSTING = {
    "max_iter": 80,
    "learning_rate": 0.08,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 100,
    "l2_regularization": 1.0,
}


def classifier(learner: Learner, *, regularization: float, seed: int) -> Any:
    """A classifier with `predict_proba`.

    Args:
        learner: `linear` is logistic regression on standardised columns, `boosting` histogram gradient boosting.
        regularization: Weight of the squared coefficients (1 / C of scikit-learn), > 0; boosting does not use it.
        seed: Seed of boosting.
    """
    if learner == "linear":
        return make_pipeline(StandardScaler(), LogisticRegression(C=1 / regularization, max_iter=2000))
    return HistGradientBoostingClassifier(**_BOOSTING, early_stopping=False, random_state=seed)


def regressor(learner: Learner, *, regularization: float, seed: int) -> Any:
    """A regression; parameters as in `classifier`, `linear` is ridge regression on standardised columns."""
    if learner == "linear":
        return make_pipeline(StandardScaler(), Ridge(alpha=regularization))
    return HistGradientBoostingRegressor(**_BOOSTING, early_stopping=False, random_state=seed)


def check_learner(learner: Learner, regularization: float) -> None:
    """Raises ValueError if there is no such learner or it cannot be regularised like that."""
    if learner not in ("linear", "boosting"):
        raise ValueError(f"there is no learner {learner!r}; take linear or boosting")
    if not 0 < regularization < np.inf:
        raise ValueError(f"regularization must be positive and finite, got {regularization}")


def check_features(features: Floats, learner: Learner, *, columns: int | None = None) -> None:
    """Raises ValueError if features are not a finite matrix; boosting can do with NaN for what is not known."""
    if features.ndim != 2 or not features.shape[1]:
        raise ValueError(f"features must be rows x columns, got shape {features.shape}")
    if columns is not None and features.shape[1] != columns:
        raise ValueError(f"the model was fitted on {columns} columns, got {features.shape[1]}")
    wrong = np.isinf(features) if learner == "boosting" else ~np.isfinite(features)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"features are not finite in {int(wrong.sum())} places, the first at row {row}, column {column}; "
            "fill them, or leave NaN and take boosting"
        )


def check_flags(rows: int, **flags: Flags) -> None:
    """Raises ValueError if something is not one bool for each row."""
    for name, values in flags.items():
        if values.shape != (rows,) or values.dtype != np.bool_:
            raise ValueError(
                f"{name} must be one bool for each of {rows} rows, got {values.dtype} of shape {values.shape}"
            )


def folds_of(
    strata: NDArray[np.integer], folds: int, seed: int, people: NDArray[np.integer] | None = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows to fit on and rows to judge on, with every stratum in the same share in each fold.

    Args:
        strata: Stratum of each row, shape (rows,).
        folds: Number of folds, >= 2.
        seed: Seed of the shuffle.
        people: Person of each row, whose rows stay in one fold; by default each row is a person.
    """
    empty = np.zeros((len(strata), 1))
    if people is None:
        yield from StratifiedKFold(folds, shuffle=True, random_state=seed).split(empty, strata)
    else:
        yield from StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(empty, strata, people)

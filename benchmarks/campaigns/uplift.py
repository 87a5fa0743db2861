"""Models of uplift on the Hillstrom e-mail experiment, beside a random and a response-only ranking.

Usage: python -m benchmarks.campaigns.uplift DIR

DIR holds `hillstrom.csv.gz`: 64,000 customers who were sent one of two e-mails or none by lot, and whether they visited the
shop in the two weeks after. Measured is women's mail against none on visits: the Qini coefficient, normalised by the
perfect curve, over five seeds of two folds that hold arm x visit in equal shares. Nothing was tuned here: linear learners
are regularised with weight 1, boosting is that of `models_ml.campaigns.learners`. The same people show how well the models
of response are calibrated.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.figures import print_found
from models_ml.campaigns.qini import RANDOM, RESPONSE_ONLY, QiniComparison, compare_uplift, uplift_by_bin
from models_ml.campaigns.reliability import reliability
from models_ml.campaigns.response import ResponseConfig, cross_fitted_probabilities
from models_ml.campaigns.uplift import InteractionConfig, TLearnerConfig, UpliftConfig, XLearnerConfig

Figures = dict[str, Any]
Flags = NDArray[np.bool_]

SEEDS = 5
MODELS: dict[str, UpliftConfig] = {
    "interaction": InteractionConfig(),
    "t_learner": TLearnerConfig(),
    "x_learner": XLearnerConfig(),
    "t_learner_boosting": TLearnerConfig(learner="boosting"),
    "x_learner_boosting": XLearnerConfig(learner="boosting", effect="boosting"),
}
# What a correct implementation finds, and how far from it one may be: the spread over splits of the reference.
REFERENCE = {"interaction": (0.061, 0.005), RESPONSE_ONLY: (0.037, 0.005), RANDOM: (0.001, 0.010)}
RESPONSE_MODELS = {
    "logistic, as it is": ResponseConfig(calibration="none"),
    "logistic, Platt": ResponseConfig(),
    "boosting, isotonic": ResponseConfig(learner="boosting", calibration="isotonic"),
}
# Largest calibration error of a model that is calibrated, in units of what chance alone brings about.
CALIBRATED = 2.0


def run(data: Path) -> Figures:
    """Measures rankings and calibration.

    Args:
        data: Folder with `hillstrom.csv.gz`.

    Returns:
        `figures` of uplift and of response, and `requirements`: lines of name, value, interval, required, holds.
    """
    started = time.perf_counter()
    features, treated, visited = read_womens_mail(data / "hillstrom.csv.gz")
    found = compare_uplift(features, treated, visited, MODELS, seeds=range(SEEDS), folds=2)
    figures, requirements = uplift_figures(found, treated, visited)
    response, line = response_figures(features[treated], visited[treated])
    return {
        "figures": {"qini": figures, "response": response, "seconds": time.perf_counter() - started},
        "requirements": [*requirements, line],
    }


def read_womens_mail(file: Path) -> tuple[NDArray[np.float64], Flags, Flags]:
    """What is known of each customer before the mail, who was sent women's mail, and who visited."""
    customers = pd.read_csv(file)
    customers = customers[customers["segment"] != "Mens E-Mail"]
    known = customers[["recency", "history", "mens", "womens", "newbie", "zip_code", "channel"]]
    known = known.assign(history=np.log(known["history"]))
    features = pd.get_dummies(known, columns=["zip_code", "channel"], drop_first=True).to_numpy(np.float64)
    return features, (customers["segment"] == "Womens E-Mail").to_numpy(), customers["visit"].to_numpy() == 1


def uplift_figures(found: QiniComparison, treated: Flags, visited: Flags) -> tuple[Figures, list[Figures]]:
    """Coefficients, how far ahead, and deciles; the references are required, and to be ahead of the response-only ranking."""
    figures: Figures = {}
    requirements = []
    for name, score in found.scores.items():
        deciles = uplift_by_bin(found.uplift[name], treated, visited)
        figures[name] = {
            "value": score.value,
            "interval": [score.low, score.high],
            "spread": score.spread,
            "ahead_of_response": found.ahead_of_response[name],
            "ahead_of_random": found.ahead_of_random[name],
            "deciles": {
                "predicted": deciles.predicted.tolist(),
                "observed": deciles.observed.tolist(),
                "low": deciles.low.tolist(),
                "high": deciles.high.tolist(),
            },
        }
        if name in REFERENCE:
            expected, away = REFERENCE[name]
            requirements.append(
                {
                    "name": f"hillstrom, women's mail, visits: Qini of {name}",
                    "value": score.value,
                    "interval": [score.low, score.high],
                    "required": f"{expected} +- {away}",
                    "holds": score.value is not None and abs(score.value - expected) <= away,
                }
            )
    for name in ("interaction", "t_learner", "x_learner"):
        ahead = found.ahead_of_response[name]
        assert ahead is not None
        requirements.append(
            {
                "name": f"hillstrom, women's mail, visits: Qini of {name} ahead of {RESPONSE_ONLY}",
                "value": ahead[0],
                "interval": list(ahead[1:]),
                "required": "interval above 0",
                "holds": ahead[1] > 0,
            }
        )
    return figures, requirements


def response_figures(features: NDArray[np.float64], visited: Flags) -> tuple[Figures, Figures]:
    """Calibration of visits of those who were sent the mail, judged on people that the models have not seen."""
    figures: Figures = {}
    for name, config in RESPONSE_MODELS.items():
        probabilities, reason = cross_fitted_probabilities(features, visited, config)
        assert probabilities is not None, reason
        table = reliability(probabilities, visited)
        figures[name] = {
            "expected_calibration_error": table.expected_calibration_error,
            "error_by_chance": table.error_by_chance,
            "brier_score": table.brier_score,
            "brier_skill": table.brier_skill,
            "predicted": table.predicted.tolist(),
            "observed": table.observed.tolist(),
            "low": table.low.tolist(),
            "high": table.high.tolist(),
        }
    worst = max(one["expected_calibration_error"] / one["error_by_chance"] for one in figures.values())
    return figures, {
        "name": "hillstrom, visits after the mail: calibration error of the worst of three models of response, by that of chance",
        "value": worst,
        "interval": None,
        "required": f"<= {CALIBRATED}",
        "holds": worst <= CALIBRATED,
    }


def main() -> int:
    """Measures and prints; returns 1 if a requirement does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    if not (arguments.data / "hillstrom.csv.gz").exists():
        print(f"skipped: there is no hillstrom.csv.gz in {arguments.data}")
        return 0
    found = run(arguments.data)
    return print_found(found)


if __name__ == "__main__":
    sys.exit(main())

"""Off-policy estimators on the sample of the Open Bandit data, in the protocol of its published example.

Usage: python -m benchmarks.campaigns.off_policy DIR

DIR holds the folders `random` and `bts` of the sample that the package obp ships: for each of three campaigns 10,000
impressions that a random policy chose and 10,000 that Bernoulli Thompson sampling (BTS) chose, with position, probability
and click.

Campaign "all", random to BTS: the log of the random policy is drawn again 30 times; each time the value of BTS is estimated
and compared with the mean click of the log of BTS, by the relative error |estimate - truth| / truth. The probabilities of
BTS are those of a million drawings from its prior, position by position. Rewards are predicted with 3-fold cross-fitting by
one logistic regression a position on user and item features; the columns are those of the example without the number of the
item, which is a name, and the regression is that of `models_ml.campaigns.learners`. The truth is 42 clicks, so that it is
itself uncertain by 15 %: the figures say that the estimators are right, and little about which is best.

BTS to random: the value of the random policy is asked of the log of BTS, which hardly ever shows some items. In the
campaign "women" it is as if two impressions had been seen, and every estimator must refuse; what it would have said is in
the figures.

Source: Saito, Aihara, Matsutani and Narita, "Open Bandit Dataset and Pipeline", NeurIPS 2021 (Datasets and Benchmarks); the
example "examples/obd" of obp 0.4.1.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from benchmarks.figures import print_found
from models_ml.bootstrap import bootstrap_mean
from models_ml.campaigns.learners import classifier
from models_ml.campaigns.off_policy import (
    LEAST_EFFECTIVE_SAMPLE,
    EstimatorName,
    LoggedDecisions,
    PredictedRewards,
    evaluate_policy,
    overlap,
    predicted_rewards,
)

Figures = dict[str, Any]
Floats = NDArray[np.float64]

CAMPAIGNS = ("all", "men", "women")
POSITIONS = 3
RUNS = 30
FOLDS = 3
SEED = 12345
DRAWS = 1_000_000
_BLOCK = 20_000
# Mean relative errors of the published example, to three digits.
PUBLISHED: dict[EstimatorName, float] = {"direct_method": 0.157, "ips": 0.311, "snips": 0.312, "doubly_robust": 0.292}
# Prior answers of BTS for each item of the campaign "all", and prior exposures without one, as published with obp 0.4.1
# (Apache License 2.0).
ALPHA = (
    47,
    8,
    62,
    142,
    3,
    14,
    7,
    857,
    12,
    15,
    6,
    100,
    48,
    23,
    71,
    61,
    13,
    16,
    518,
    30,
    7,
    4,
    23,
    8,
    10,
    11,
    11,
    18,
    121,
    11,
    11,
    10,
    14,
    9,
    204,
    58,
    3,
    19,
    42,
    1013,
    2,
    328,
    15,
    31,
    14,
    138,
    45,
    55,
    23,
    38,
    10,
    401,
    52,
    6,
    3,
    6,
    5,
    32,
    35,
    133,
    52,
    820,
    43,
    195,
    8,
    42,
    40,
    4,
    32,
    30,
    9,
    22,
    6,
    23,
    5,
    54,
    8,
    22,
    65,
    246,
)
BETA = (
    12198,
    3566,
    15993,
    35522,
    2367,
    4609,
    3171,
    181745,
    4372,
    4951,
    3100,
    24665,
    13210,
    7061,
    18061,
    17449,
    5644,
    6787,
    111326,
    8776,
    3334,
    2271,
    7389,
    2659,
    3665,
    4724,
    3561,
    5085,
    27407,
    4601,
    4756,
    4120,
    4736,
    3788,
    45292,
    14719,
    2189,
    5589,
    11995,
    222255,
    2308,
    70034,
    4801,
    8274,
    5421,
    31912,
    12213,
    13576,
    6230,
    10382,
    4141,
    85731,
    12811,
    2707,
    2250,
    2668,
    2886,
    9581,
    9465,
    28336,
    12062,
    162793,
    12107,
    41240,
    3162,
    11604,
    10818,
    2923,
    8897,
    8654,
    4000,
    6580,
    3174,
    6766,
    2602,
    14506,
    3968,
    7523,
    16532,
    51964,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Log:
    """A log in the order of time.

    Attributes:
        items: Item shown, shape (rows,).
        positions: Position, from 0, shape (rows,).
        clicks: 1 for a click, shape (rows,).
        propensities: Probability of the item at the position, shape (rows,).
        context: What is known of the user, shape (rows, columns).
        item_features: Shape (items, columns).
    """

    items: NDArray[np.int64]
    positions: NDArray[np.int64]
    clicks: Floats
    propensities: Floats
    context: Floats
    item_features: Floats

    def take(self, rows: NDArray[np.int64]) -> "Log":
        """Some rows, in their order and as often as they are named."""
        return Log(
            self.items[rows],
            self.positions[rows],
            self.clicks[rows],
            self.propensities[rows],
            self.context[rows],
            self.item_features,
        )


def run(data: Path) -> Figures:
    """Measures the errors, and what the log of BTS can say about the random policy.

    Args:
        data: Folder with `random` and `bts`.

    Returns:
        `figures` by direction, and `requirements`: lines of name, value, interval, required, holds.
    """
    started = time.perf_counter()
    figures, requirements = errors(read_log(data, "random", "all"), float(read_log(data, "bts", "all").clicks.mean()))
    reverse, line = refusal(data)
    return {
        "figures": {"random_to_bts": figures, "bts_to_random": reverse, "seconds": time.perf_counter() - started},
        "requirements": [*requirements, line],
    }


def read_log(data: Path, policy: str, campaign: str) -> Log:
    """One log; categories of users become indicators, those of items numbers in alphabetical order."""
    folder = data / policy / campaign
    rows = pd.read_csv(folder / f"{campaign}.csv", index_col=0).sort_values("timestamp")
    users = [column for column in rows.columns if column.startswith("user_feature")]
    items = pd.read_csv(folder / "item_context.csv", index_col=0).sort_values("item_id")
    for column in ("item_feature_1", "item_feature_2", "item_feature_3"):
        items[column] = items[column].astype("category").cat.codes
    return Log(
        items=rows["item_id"].to_numpy(np.int64),
        positions=rows["position"].to_numpy(np.int64) - 1,
        clicks=rows["click"].to_numpy(np.float64),
        propensities=rows["propensity_score"].to_numpy(np.float64),
        context=pd.get_dummies(rows[users], drop_first=True).to_numpy(np.float64),
        # Without the number of the item, which the example takes for a quantity: it is a name.
        item_features=items.drop(columns="item_id").to_numpy(np.float64),
    )


def policy_of_bts() -> Floats:
    """Share of drawings in which the rate of an item has the rank of a position, shape (items, positions)."""
    # The generator of the published example, so that the probabilities are the same to the last digit.
    random = np.random.RandomState(SEED)
    alpha, beta = np.array(ALPHA, dtype=np.float64), np.array(BETA, dtype=np.float64)
    counts = np.zeros((len(alpha), POSITIONS))
    every = np.arange(_BLOCK)
    for _ in range(0, DRAWS, _BLOCK):
        rates = random.beta(alpha, beta, size=(_BLOCK, len(alpha)))
        for position in range(POSITIONS):
            best = rates.argmax(axis=1)
            counts[:, position] += np.bincount(best, minlength=len(alpha))
            rates[every, best] = -1
    return counts / DRAWS


def errors(log: Log, truth: float) -> tuple[Figures, list[Figures]]:
    """Relative errors of all estimators over the runs; the interval is over runs."""
    policy = policy_of_bts()
    values = []
    names: list[EstimatorName] = []
    for seed in range(RUNS):
        rows = np.random.RandomState(seed).choice(len(log.items), size=len(log.items), replace=True)
        drawn = log.take(rows)
        decisions = LoggedDecisions(drawn.clicks, drawn.propensities, policy[drawn.items, drawn.positions])
        # A draw of a log is not a log: its mean weight is further from 1 than chance, so that the check of it is off.
        found = evaluate_policy(decisions, predict(drawn, policy), weight_check_level=0)
        names = list(found.estimates)
        values.append([_value(found.estimates[name].value) for name in names])
    relative = np.abs(np.array(values) / truth - 1)
    mean = bootstrap_mean(relative)
    whole = LoggedDecisions(log.clicks, log.propensities, policy[log.items, log.positions])
    once = evaluate_policy(whole, predict(log, policy))
    figures: Figures = {
        "truth": truth,
        "overlap": dataclasses.asdict(overlap(whole)),
        "estimates": {name: dataclasses.asdict(one) for name, one in once.estimates.items()},
        "threshold": once.threshold,
        "errors": {
            name: {
                "mean": float(mean.value[at]),
                "interval": [float(mean.low[at]), float(mean.high[at])],
                "sd": float(relative[:, at].std(ddof=1)),
            }
            for at, name in enumerate(names)
        },
    }
    requirements = [
        {
            "name": f"open bandit, random to BTS: mean relative error of {name}",
            "value": figures["errors"][name]["mean"],
            "interval": figures["errors"][name]["interval"],
            "required": f"<= {most} as published (to three digits)",
            "holds": round(figures["errors"][name]["mean"], 3) <= most,
        }
        for name, most in PUBLISHED.items()
    ]
    return figures, requirements


def predict(log: Log, policy: Floats) -> PredictedRewards:
    """Predicted clicks, each row by regressions that have not seen it."""
    logged, target = np.empty(len(log.items)), np.empty(len(log.items))
    for train, test in KFold(FOLDS, shuffle=True, random_state=SEED).split(log.items):
        for position in range(POSITIONS):
            seen, asked = (rows[log.positions[rows] == position] for rows in (train, test))
            model = classifier("linear", regularization=1.0, seed=0)
            model.fit(np.hstack([log.context[seen], log.item_features[log.items[seen]]]), log.clicks[seen])
            pairs = np.hstack(
                [
                    np.repeat(log.context[asked], len(log.item_features), axis=0),
                    np.tile(log.item_features, (len(asked), 1)),
                ]
            )
            clicks = model.predict_proba(pairs)[:, 1].reshape(len(asked), -1)
            found = predicted_rewards(clicks, policy[:, position], log.items[asked])
            logged[asked], target[asked] = found.logged, found.target
    return PredictedRewards(logged, target)


def refusal(data: Path) -> tuple[Figures, Figures]:
    """The random policy from the log of BTS, for each campaign."""
    figures: Figures = {}
    for campaign in CAMPAIGNS:
        log = read_log(data, "bts", campaign)
        uniform = np.full(len(log.items), 1 / len(log.item_features))
        decisions = LoggedDecisions(log.clicks, log.propensities, uniform)
        asked, anyway = (
            evaluate_policy(decisions, least_effective_sample=floor) for floor in (LEAST_EFFECTIVE_SAMPLE, 0)
        )
        figures[campaign] = {
            "truth": float(read_log(data, "random", campaign).clicks.mean()),
            "overlap": dataclasses.asdict(asked.overlap),
            "estimates": {name: dataclasses.asdict(one) for name, one in asked.estimates.items()},
            "without_a_floor": {name: dataclasses.asdict(one) for name, one in anyway.estimates.items()},
        }
    sample = figures["women"]["overlap"]["effective_sample"]
    return figures, {
        "name": "open bandit, BTS to random, women: effective sample, all estimators refused",
        "value": sample,
        "interval": None,
        "required": f"refused below {LEAST_EFFECTIVE_SAMPLE:g}",
        "holds": all(
            one["value"] is None and "effective sample" in one["reason"]
            for one in figures["women"]["estimates"].values()
        ),
    }


def _value(value: float | None) -> float:
    assert value is not None
    return value


def main() -> int:
    """Measures and prints; returns 1 if a requirement does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    if not (arguments.data / "random").is_dir():
        print(f"skipped: there is no folder random in {arguments.data}")
        return 0
    found = run(arguments.data)
    return print_found(found)


if __name__ == "__main__":
    sys.exit(main())

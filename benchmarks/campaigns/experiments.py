"""Whether the measurement of campaigns says what is true: on a public experiment, and where the truth is known.

Usage: python -m benchmarks.campaigns.experiments [--hillstrom DIR]

DIR holds `hillstrom.csv.gz`: 64,000 customers in three arms (no mail, women's mail, men's mail). Its published figures must come
out. Without it that part is left out and says so; the rest is simulated.

A/A: 1,000 experiments without an effect, 28 days, looked at once at the end or every day, with the fixed interval and with the
sequence. Coverage: 500 experiments with a known effect, for each kind of interval. Sample ratio: 500 experiments of 10,000 people
that were to be halves and became 52 to 48. The same with 20 times as many runs stands in the figures beside each requirement, to
tell a wrong method from an unlucky draw; requirements are judged on the stated number of runs, with seeds set once.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray
from scipy.stats import norm

from models_ml.campaigns.lift import Lift
from models_ml.campaigns.means import (
    Moments,
    PairMoments,
    cuped,
    difference_of_means,
    difference_of_ratios,
    moments,
    pair_moments,
)
from models_ml.campaigns.planning import detectable_difference_of_shares
from models_ml.campaigns.proportions import difference_of_shares, share
from models_ml.campaigns.sample_ratio import sample_ratio
from models_ml.campaigns.sequential import sequence_of_means, sequence_of_shares

Figures = dict[str, Any]

AA_RUNS = 1000
COVERAGE_RUNS = 500
# How many times more runs stand beside the required ones.
MORE = 20
DAYS = 28
ALPHA = 0.05
FALSE_POSITIVES = (0.036, 0.064)
COVERAGE = (0.93, 0.97)
# Mail, outcome: lift and interval in percentage points, as published; the conversion lifts without an interval.
HILLSTROM_ARMS = {"Womens E-Mail": 21_387, "Mens E-Mail": 21_307, "No E-Mail": 21_306}
HILLSTROM_LIFTS = {
    ("Womens E-Mail", "visit"): (4.52, 3.89, 5.16),
    ("Mens E-Mail", "visit"): (7.66, 7.00, 8.32),
    ("Womens E-Mail", "conversion"): (0.31, None, None),
    ("Mens E-Mail", "conversion"): (0.68, None, None),
}
HILLSTROM_P = 0.904
# Numbers of people a day in control and treatment, and the rate: halves, and a holdout of one in ten with rare conversions.
AA_DESIGNS = {"halves, 5 %": (200, 200, 0.05), "holdout 10 %, 1 %": (50, 450, 0.01)}
# The same with the share of buyers, and the fixed test that is required to hold: Welch's is known to fail for few buyers held out,
# which the figures show beside it.
AA_REVENUE_DESIGNS = {
    "revenue, holdout 20 %, 10 % buy": (40, 160, 0.1, "at the end"),
    "revenue, holdout 10 %, 3 % buy": (50, 450, 0.03, "at the end, pooled"),
}


def run(hillstrom: Path | None = None) -> Figures:
    """Measures everything.

    Args:
        hillstrom: Folder with `hillstrom.csv.gz`; without it that part is left out.

    Returns:
        `figures` by part, and `requirements`: lines of name, value, interval, required, holds.
    """
    figures: Figures = {}
    requirements: list[Figures] = []
    parts: dict[str, Callable[[], tuple[Figures, list[Figures]]]] = {
        "aa": false_positives,
        "coverage": coverage,
        "sample_ratio": mismatches_found,
    }
    if hillstrom is not None and (hillstrom / "hillstrom.csv.gz").exists():
        parts = {"hillstrom": lambda: published_experiment(hillstrom / "hillstrom.csv.gz"), **parts}
    else:
        print("experiments: hillstrom is skipped, its folder is not given", file=sys.stderr)
    for name, part in parts.items():
        started = time.perf_counter()
        figures[name], lines = part()
        requirements += lines
        print(f"experiments: {name} ({time.perf_counter() - started:.0f} s)", file=sys.stderr, flush=True)
    return {"figures": figures, "requirements": requirements}


def published_experiment(file: Path) -> tuple[Figures, list[Figures]]:
    """Arms, sample ratio and lifts of the Hillstrom e-mail experiment, and what CUPED gains there."""
    table = pyarrow.csv.read_csv(file)
    arm = np.array(table["segment"].to_pylist())
    sizes = [int((arm == name).sum()) for name in HILLSTROM_ARMS]
    ratio = sample_ratio(sizes, np.ones(3))
    figures: Figures = {
        "arms": dict(zip(HILLSTROM_ARMS, sizes, strict=True)),
        "sample_ratio_p": float(ratio.p_value[0]),
    }
    requirements = [
        line("hillstrom: largest difference of an arm's size", _furthest(sizes), 0.0, 0.0, "0"),
        _near("hillstrom: sample ratio p", float(ratio.p_value[0]), None, HILLSTROM_P, 0.0005),
    ]
    control = arm == "No E-Mail"
    for (mail, outcome), (lift, low, high) in HILLSTROM_LIFTS.items():
        done = table[outcome].to_numpy() == 1
        reached = arm == mail
        found = difference_of_shares(done[control].sum(), control.sum(), done[reached].sum(), reached.sum())
        value, interval = 100 * float(found.difference), [100 * float(found.low), 100 * float(found.high)]
        name = f"hillstrom: {mail}, {outcome} lift"
        figures[f"{mail}, {outcome}"] = _as_figures(found)
        requirements.append(_near(f"{name} (pp)", value, interval, lift, 0.005))
        if low is not None and high is not None:
            requirements.append(_near(f"{name}, low (pp)", interval[0], None, low, 0.01))
            requirements.append(_near(f"{name}, high (pp)", interval[1], None, high, 0.01))
    spend = pc.cast(table["spend"], "double").to_numpy()
    history = pc.cast(table["history"], "double").to_numpy()
    for mail in ("Womens E-Mail", "Mens E-Mail"):
        arms = [
            pair_moments(spend[one], history[one], np.zeros(int(one.sum()), dtype=np.int64), 1)
            for one in (control, arm == mail)
        ]
        adjusted = cuped(*arms)
        figures[f"{mail}, spend"] = {
            "welch": _as_figures(difference_of_means(arms[0].y, arms[1].y)),
            "cuped on earlier spend": _as_figures(adjusted.lift),
            "variance_reduction": float(adjusted.variance_reduction[0]),
        }
    return figures, requirements


def false_positives() -> tuple[Figures, list[Figures]]:
    """How often experiments without an effect look like one, looked at once and every day."""
    figures: Figures = {}
    requirements = []
    for name, (per_day_c, per_day_t, rate) in AA_DESIGNS.items():
        for runs in (AA_RUNS, MORE * AA_RUNS):
            alarms = _alarms_of_shares(np.random.default_rng(1), runs, per_day_c, per_day_t, rate)
            figures[f"{name}, {runs} runs"] = {kind: _rate(alarm) for kind, alarm in alarms.items()}
            if runs == AA_RUNS:
                requirements += _alarm_lines(f"A/A, {name}", alarms)
    for name, (per_day_c, per_day_t, buyers, test) in AA_REVENUE_DESIGNS.items():
        for runs in (AA_RUNS, 4 * AA_RUNS):
            alarms = _alarms_of_revenue(np.random.default_rng(2), runs, per_day_c, per_day_t, buyers)
            figures[f"{name}, {runs} runs"] = {kind: _rate(alarm) for kind, alarm in alarms.items()}
            if runs == AA_RUNS:
                requirements += _alarm_lines(f"A/A, {name}", alarms, test)
    # What the freedom to peek costs: width beside the fixed interval, at the planned size.
    fixed = difference_of_shares(500, 10_000, 500, 10_000)
    peeking = sequence_of_shares(500, 10_000, 500, 10_000, planned_people=20_000)
    figures["width_of_sequence_over_fixed"] = float((peeking.high - peeking.low) / (fixed.high - fixed.low))
    found, days = _days_to_find(np.random.default_rng(3))
    figures["real lift of the detectable size, found by peeking"] = {"share": found, "median_day": days}
    return figures, requirements


def _alarms_of_shares(
    random: np.random.Generator, runs: int, per_day_c: int, per_day_t: int, rate: float
) -> dict[str, NDArray[np.bool_]]:
    """By kind of looking, which experiments raise an alarm; shape (runs,)."""
    day = np.arange(1, DAYS + 1)
    people_c, people_t = per_day_c * day, per_day_t * day
    done_c = np.cumsum(random.binomial(per_day_c, rate, (runs, DAYS)), axis=1)
    done_t = np.cumsum(random.binomial(per_day_t, rate, (runs, DAYS)), axis=1)
    fixed = _leaves_out_zero(difference_of_shares(done_c, people_c, done_t, people_t))
    planned = DAYS * (per_day_c + per_day_t)
    sequence = _leaves_out_zero(sequence_of_shares(done_c, people_c, done_t, people_t, planned_people=planned))
    return {
        "at the end": fixed[:, -1],
        "peeking, fixed": np.asarray(fixed.any(axis=1)),
        "peeking, sequence": np.asarray(sequence.any(axis=1)),
    }


def _alarms_of_revenue(
    random: np.random.Generator, runs: int, per_day_c: int, per_day_t: int, buyers: float
) -> dict[str, NDArray[np.bool_]]:
    """The same for revenue per person: a share buys, for log-normal amounts."""
    parts: dict[str, list[NDArray[np.bool_]]] = {}
    # A block is people x days x runs values: 100 runs of 450 people a day are 28 x 450 x 100 x 8 bytes = 10 MB.
    for start in range(0, runs, 100):
        block = min(100, runs - start)
        control, treatment = (
            _running_moments(_revenue(random, (block, DAYS, per_day), buyers)) for per_day in (per_day_c, per_day_t)
        )
        planned = DAYS * (per_day_c + per_day_t)
        own = _leaves_out_zero(difference_of_means(control, treatment))
        pooled = _leaves_out_zero(difference_of_means(control, treatment, variance="pooled"))
        sequence = _leaves_out_zero(sequence_of_means(control, treatment, planned_people=planned))
        for kind, alarms in {
            "at the end": own[:, -1],
            "at the end, pooled": pooled[:, -1],
            "peeking, fixed": np.asarray(own.any(axis=1)),
            "peeking, sequence": np.asarray(sequence.any(axis=1)),
        }.items():
            parts.setdefault(kind, []).append(alarms)
    return {kind: np.concatenate(alarms) for kind, alarms in parts.items()}


def _revenue(random: np.random.Generator, shape: tuple[int, ...], buyers: float) -> NDArray[np.float64]:
    return (random.random(shape) < buyers) * random.lognormal(3.0, 0.8, shape)


def _running_moments(values: NDArray[np.float64]) -> Moments:
    """Moments of all people up to each day, from values of shape (runs, days, people a day)."""
    people = values.shape[2] * np.arange(1, values.shape[1] + 1)
    total, squares = values.sum(axis=2).cumsum(axis=1), (values**2).sum(axis=2).cumsum(axis=1)
    mean = total / people
    variance = (squares - people * mean**2) / (people - 1)
    return Moments(np.broadcast_to(people, mean.shape), mean, variance)


def _days_to_find(random: np.random.Generator, runs: int = AA_RUNS) -> tuple[float, float | None]:
    """Share of experiments with the lift that a fixed test finds in 80 %, which the sequence finds, and after how many days."""
    people = 400 * DAYS
    lift = detectable_difference_of_shares(0.05, people, 0.5).difference or 0.0
    day = np.arange(1, DAYS + 1)
    done_c = np.cumsum(random.binomial(200, 0.05, (runs, DAYS)), axis=1)
    done_t = np.cumsum(random.binomial(200, 0.05 + lift, (runs, DAYS)), axis=1)
    found = sequence_of_shares(done_c, 200 * day, done_t, 200 * day, planned_people=people).low > 0
    some = found.any(axis=1)
    return float(some.mean()), float(np.median(found[some].argmax(axis=1) + 1)) if some.any() else None


def coverage() -> tuple[Figures, list[Figures]]:
    """How often the interval of each kind holds the truth."""
    kinds: dict[str, Callable[[np.random.Generator, int], NDArray[np.bool_]]] = {
        "Newcombe, halves, 5 % to 6 %": lambda random, runs: _shares_hold(random, runs, 2000, 2000, 0.05, 0.06),
        "Newcombe, holdout 10 %, 1 % to 1.5 %": lambda random, runs: _shares_hold(random, runs, 500, 4500, 0.01, 0.015),
        "Welch, revenue": lambda random, runs: _means_hold(random, runs, covariate=False),
        "CUPED, revenue": lambda random, runs: _means_hold(random, runs, covariate=True),
        "delta method, revenue per click": _ratios_hold,
    }
    figures: Figures = {}
    requirements = []
    for seed, (name, holds) in enumerate(kinds.items()):
        more = MORE if name.startswith("Newcombe") else 4
        for runs in (COVERAGE_RUNS, more * COVERAGE_RUNS):
            held = holds(np.random.default_rng(seed), runs)
            figures[f"{name}, {runs} runs"] = _rate(held)
            if runs == COVERAGE_RUNS:
                required = f"{COVERAGE[0]} to {COVERAGE[1]}"
                requirements.append(_line_of_rate(f"coverage: {name}", held, *COVERAGE, required))
    variances: tuple[Literal["own", "pooled"], ...] = ("own", "pooled")
    for variance in variances:
        held = _rare_revenue_holds(np.random.default_rng(8), 4 * COVERAGE_RUNS, variance)
        figures[f"rare revenue, holdout 10 %, variance {variance}, {len(held)} runs"] = _rate(held)
    figures["variance_reduction_of_cuped"] = _reduction(np.random.default_rng(9))
    return figures, requirements


def _shares_hold(
    random: np.random.Generator, runs: int, people_c: int, people_t: int, rate_c: float, rate_t: float
) -> NDArray[np.bool_]:
    done_c, done_t = random.binomial(people_c, rate_c, runs), random.binomial(people_t, rate_t, runs)
    return _holds(difference_of_shares(done_c, people_c, done_t, people_t), rate_t - rate_c)


def _people_by_run(
    random: np.random.Generator, runs: int, people: int
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.int64]]]:
    """Blocks of 50 runs: how many, a taste for each person (log-normal), and the run of each person."""
    for start in range(0, runs, 50):
        block = min(50, runs - start)
        yield block, random.lognormal(0.0, 0.5, block * people), np.repeat(np.arange(block), people)


def _means_hold(random: np.random.Generator, runs: int, *, covariate: bool) -> NDArray[np.bool_]:
    """Revenue rises by 5 % of the person's taste in treatment; 1,000 people in control, 3,000 in treatment."""
    held = []
    truth = 0.05 * np.exp(0.5**2 / 2)
    blocks = zip(_people_by_run(random, runs, 1000), _people_by_run(random, runs, 3000), strict=True)
    for (block, taste_c, run_c), (_, taste_t, run_t) in blocks:
        control = _spent(random, taste_c, run_c, block, 1.0)
        treatment = _spent(random, taste_t, run_t, block, 1.05)
        lift = cuped(control, treatment).lift if covariate else difference_of_means(control.y, treatment.y)
        held.append(_holds(lift, truth))
    return np.concatenate(held)


def _rare_revenue_holds(
    random: np.random.Generator, runs: int, variance: Literal["own", "pooled"]
) -> NDArray[np.bool_]:
    """3 % buy without the campaign and 4 % with it; 1,400 held out beside 12,600."""
    held = []
    truth = 0.01 * np.exp(3.0 + 0.8**2 / 2)
    for start in range(0, runs, 50):
        block = min(50, runs - start)
        arms = []
        for people, buyers in ((1400, 0.03), (12_600, 0.04)):
            run_of = np.repeat(np.arange(block), people)
            arms.append(moments(_revenue(random, run_of.shape, buyers), run_of, block))
        held.append(_holds(difference_of_means(*arms, variance=variance), truth))
    return np.concatenate(held)


def _spent(
    random: np.random.Generator, taste: NDArray[np.float64], run: NDArray[np.int64], runs: int, factor: float
) -> PairMoments:
    """Moments of what people spend now and what they spent before, both exponential around their taste."""
    before = taste * random.gamma(4.0, 0.25, len(taste))
    now = factor * taste * random.gamma(4.0, 0.25, len(taste))
    return pair_moments(now, before, run, runs)


def _ratios_hold(random: np.random.Generator, runs: int) -> NDArray[np.bool_]:
    """Revenue per click where people who click more also pay less per click; 1,000 and 3,000 people with several rows each.

    Clicks are Poisson around 3 x taste, a click pays price / taste on average: expected revenue is 3 x price, expected clicks 3 x
    the mean of taste.
    """
    held = []
    truth = (1.2 - 1.0) / np.exp(0.5**2 / 2)
    blocks = zip(_people_by_run(random, runs, 1000), _people_by_run(random, runs, 3000), strict=True)
    for (block, taste_c, run_c), (_, taste_t, run_t) in blocks:
        arms = []
        for taste, run_of, price in ((taste_c, run_c, 1.0), (taste_t, run_t, 1.2)):
            clicks = random.poisson(3 * taste).astype(np.float64)
            # The sum of so many exponential amounts.
            revenue = price / taste * np.where(clicks > 0, random.gamma(np.maximum(clicks, 1.0)), 0.0)
            arms.append(pair_moments(revenue, clicks, run_of, block))
        held.append(_holds(difference_of_ratios(*arms), truth))
    return np.concatenate(held)


def _reduction(random: np.random.Generator) -> float:
    """What CUPED takes from the variance in the simulated revenue."""
    _, taste, run_of = next(_people_by_run(random, 50, 2000))
    adjusted = cuped(_spent(random, taste, run_of, 50, 1.0), _spent(random, taste, run_of, 50, 1.05))
    return float(adjusted.variance_reduction.mean())


def mismatches_found() -> tuple[Figures, list[Figures]]:
    """How often a sample of 52 to 48 instead of halves raises the alarm at 10,000 people, and halves do falsely."""
    random = np.random.default_rng(0)
    alarms = {}
    for name, true_share in (("52 to 48", 0.52), ("halves", 0.5)):
        for runs in (500, 100_000):
            first = random.binomial(10_000, true_share, runs)
            alarms[name, runs] = sample_ratio(np.column_stack([first, 10_000 - first]), [1, 1]).alarm
    figures: Figures = {f"{name}, {runs} runs": _rate(alarm) for (name, runs), alarm in alarms.items()}
    # What the test can find at that size and level: below 0.001 is 165 people away from halves.
    bound = norm.isf(0.0005) * 50
    power = float(norm.sf((bound - 200) / np.sqrt(1e4 * 0.52 * 0.48)))
    figures["power by the normal approximation"] = power
    size = sample_ratio([5200, 4800], [1, 1])
    figures["p of 5,200 and 4,800"] = float(size.p_value[0])
    return figures, [
        line("sample ratio: p of 5,200 and 4,800 people", float(size.p_value[0]), 0.0, 0.001, "< 0.001"),
        _line_of_rate("sample ratio: 52 to 48 at 10,000 people found", alarms["52 to 48", 500], 0.7, 1.0, ">= 0.7"),
    ]


def _leaves_out_zero(found: Lift) -> NDArray[np.bool_]:
    """Whether an interval is wholly on one side of zero; no interval is no alarm."""
    with np.errstate(invalid="ignore"):
        return np.asarray((found.low > 0) | (found.high < 0))


def _holds(found: Lift, truth: float) -> NDArray[np.bool_]:
    return (found.low <= truth) & (truth <= found.high)


def _rate(happened: NDArray[np.bool_]) -> Figures:
    interval = share(happened.sum(), len(happened))
    return {
        "value": float(interval.value),
        "interval": [float(interval.low), float(interval.high)],
        "runs": len(happened),
    }


def _as_figures(found: Lift) -> Figures:
    row: Figures = found.table().to_pylist()[0]
    return row


def line(
    name: str, value: float, low: float, high: float, required: str, interval: list[float] | None = None
) -> Figures:
    """A requirement that holds if the value is between the bounds."""
    return {
        "name": name,
        "value": value,
        "interval": interval,
        "required": required,
        "holds": bool(low <= value <= high),
    }


def _line_of_rate(name: str, happened: NDArray[np.bool_], low: float, high: float, required: str) -> Figures:
    rate = _rate(happened)
    return line(name, rate["value"], low, high, required, rate["interval"])


def _near(name: str, value: float, interval: list[float] | None, expected: float, tolerance: float) -> Figures:
    required = f"{expected} +- {tolerance}"
    return line(name, value, expected - tolerance, expected + tolerance, required, interval)


def _alarm_lines(name: str, alarms: dict[str, NDArray[np.bool_]], test: str = "at the end") -> list[Figures]:
    required = f"{FALSE_POSITIVES[0]} to {FALSE_POSITIVES[1]}"
    return [
        _line_of_rate(f"{name}: false positives {test}", alarms[test], *FALSE_POSITIVES, required),
        _line_of_rate(
            f"{name}: false positives of {DAYS} looks, sequence", alarms["peeking, sequence"], 0.0, ALPHA, f"<= {ALPHA}"
        ),
    ]


def _furthest(sizes: list[int]) -> float:
    return float(max(abs(size - known) for size, known in zip(sizes, HILLSTROM_ARMS.values(), strict=True)))


def main() -> int:
    """Measures and prints; returns 1 if a requirement does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hillstrom", type=Path, metavar="DIR")
    found = run(parser.parse_args().hillstrom)
    print(json.dumps(found, indent=1))
    return 0 if all(one["holds"] for one in found["requirements"]) else 1


if __name__ == "__main__":
    sys.exit(main())

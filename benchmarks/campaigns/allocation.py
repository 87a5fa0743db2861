"""Allocation of ten campaigns to many people: how close to the optimum, how fast, and against what rules of thumb.

Usage: python -m benchmarks.campaigns.allocation [PEOPLE ...]

Synthetic people with a taste of their own can be given half of ten campaigns each; values and costs are log-normal, one row in
seven is worth less than nothing, budgets suffice for a small part. Thin problem: one day, one channel, one contact per person.
Wide problem (`_WIDE` people): a week, two channels, two contacts a week and one in three days in the first channel, day budgets,
stock, and a minimum reach of four segments. Each size runs in a process of its own, so that the peak of memory is its own. Two
rules stand beside: the campaigns in order of priority (mean value), each to its best people, and all rows by value per cost; both
keep all limits.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks.figures import print_found
from models_ml.campaigns.allocation import AllocationConfig, allocate
from models_ml.campaigns.allocation_problem import Candidates, ContactCap, Limits, Problem, even_pacing
from models_ml.campaigns.feasible_choice import FeasibleChoice
from models_ml.campaigns.programme import programme_of
from models_ml.campaigns.violations import violations

Figures = dict[str, Any]

SIZES = (10_000, 50_000, 200_000, 1_000_000)
CAMPAIGNS = 10
# Up to here the linear programme is solved as well, for its optimum.
MOST_PEOPLE_LP = 200_000
OF_LP, OF_DUAL = 0.998, 0.995
SECONDS = {200_000: 15.0, 1_000_000: 90.0}
GIGABYTES = 4.0
_WIDE = 200_000


def thin_problem(people: int, seed: int = 0) -> Problem:
    """One day, one channel, a budget per campaign, one contact per person."""
    rng = np.random.default_rng(seed)
    rows, _ = _rows(people, 1, 1, rng)
    return Problem(people, 1, 1, rows, Limits(_budget(rows, rng)))


def wide_problem(people: int, seed: int = 0) -> Problem:
    """A week with every kind of limit."""
    rng = np.random.default_rng(seed)
    rows, segment = _rows(people, 7, 2, rng)
    budget = _budget(rows, rng)
    limits = Limits(
        budget,
        day_budget=even_pacing(budget, np.ones((CAMPAIGNS, 7), bool), 0.2),
        total_budget=0.9 * float(budget.sum()),
        caps=(ContactCap(2, 7), ContactCap(1, 3, (0,))),
        stock=np.full(20, float(people // 60)),
        members=csr_matrix(np.eye(4)[segment]),
        minimum_reach=np.full(4, people // 16),
    )
    return Problem(people, 7, 2, rows, limits)


def measure(kind: str, people: int, method: str) -> Figures:
    """Solves one problem and the rules of thumb; to be run in a process of its own."""
    problem = thin_problem(people) if kind == "thin" else wide_problem(people)
    processor = time.process_time()
    found = allocate(problem, AllocationConfig(method=method))
    processor = time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    figures: Figures = {
        "people": people,
        "rows": problem.candidates.rows,
        "method": found.method,
        "seconds": found.seconds,
        "processor_seconds": processor,
        "gigabytes": peak,
        "objective": found.objective,
        "upper_bound": found.upper_bound,
        "share_of_bound": found.objective / found.upper_bound,
        "chosen": len(found.chosen),
        "missing_reach": int(found.missing_reach.sum()),
        "violations": violations(problem, found.chosen),
    }
    if kind == "thin":
        figures |= {name: value / found.upper_bound for name, value in rules_of_thumb(problem).items()}
    return figures


def rules_of_thumb(problem: Problem) -> dict[str, float]:
    """Value of the two rules."""
    programme, rows = programme_of(problem), problem.candidates
    source = programme.source
    value, cost, campaign = rows.value[source], rows.cost[source], rows.campaign[source]
    density = value / np.maximum(cost, 1e-12)
    dense = FeasibleChoice(programme)
    dense.fill(np.arange(programme.rows), density, density)
    priority = FeasibleChoice(programme)
    mean = np.bincount(campaign, value, problem.campaigns) / np.maximum(
        np.bincount(campaign, minlength=problem.campaigns), 1
    )
    for one in np.argsort(-mean):
        priority.fill(np.flatnonzero(campaign == one), value, value)
    return {"priority_order": float(value[priority.rows].sum()), "density_greedy": float(value[dense.rows].sum())}


def run(sizes: Sequence[int] = SIZES) -> Figures:
    """Measures all sizes.

    Args:
        sizes: Numbers of people.

    Returns:
        `figures` by problem, and `requirements`: lines of name, value, interval, required, holds.
    """
    figures: Figures = {}
    requirements: list[Figures] = []

    def require(name: str, value: float, required: float, at_least: bool) -> None:
        holds = value >= required if at_least else value <= required
        sign = ">=" if at_least else "<="
        requirements.append(
            {"name": name, "value": value, "interval": None, "required": f"{sign} {required:g}", "holds": bool(holds)}
        )

    for people in sizes:
        label = f"{people:,} people"
        one = figures[f"thin_{people}"] = _in_own_process("thin", people, "prices")
        if people <= MOST_PEOPLE_LP:
            linear = figures[f"thin_lp_{people}"] = _in_own_process("thin", people, "lp")
            require(f"{label}: value of the LP optimum, prices", one["objective"] / linear["upper_bound"], OF_LP, True)
            require(f"{label}: value of the LP optimum, LP made feasible", linear["share_of_bound"], OF_LP, True)
        else:
            require(f"{label}: value of the dual bound", one["share_of_bound"], OF_DUAL, True)
        if people in SECONDS:
            require(f"{label}: seconds", one["seconds"], SECONDS[people], False)
        require(f"{label}: GB at the peak", one["gigabytes"], GIGABYTES, False)
        require(f"{label}: broken limits", len(one["violations"]), 0, False)
        for rule in ("priority_order", "density_greedy"):
            require(f"{label}: {rule.replace('_', ' ')} of the bound", one[rule], one["share_of_bound"], False)
    wide = min(_WIDE, max(sizes))
    one = figures[f"wide_{wide}"] = _in_own_process("wide", wide, "prices")
    require(f"a week with all limits, {wide:,} people: value of the dual bound", one["share_of_bound"], OF_DUAL, True)
    require(f"a week with all limits, {wide:,} people: broken limits", len(one["violations"]), 0, False)
    return {"figures": figures, "requirements": requirements}


def _rows(people: int, days: int, channels: int, rng: np.random.Generator) -> tuple[Candidates, np.ndarray]:
    person, campaign = np.nonzero(rng.random((people, CAMPAIGNS)) < 0.5)
    taste = rng.normal(0, 0.5, people)
    appeal, price = rng.lognormal(0, 0.3, CAMPAIGNS), rng.lognormal(-2, 0.3, CAMPAIGNS)
    rows = len(person)
    value = np.exp(rng.normal(0, 0.7, rows) + taste[person]) * appeal[campaign] - 0.4
    cost = price[campaign] * rng.uniform(0.7, 1.3, rows)
    item, day, channel = (rng.integers(0, most, rows) for most in (20, days, channels))
    segment = np.searchsorted(np.quantile(taste, [0.25, 0.5, 0.75]), taste)
    return Candidates(person, campaign, item, day, channel, value, cost), segment


def _budget(rows: Candidates, rng: np.random.Generator) -> np.ndarray:
    return np.bincount(rows.campaign, rows.cost, CAMPAIGNS) * rng.uniform(0.03, 0.2, CAMPAIGNS)


def _in_own_process(kind: str, people: int, method: str) -> Figures:
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.campaigns.allocation", "--measure", kind, str(people), method]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: Figures = json.loads(out.splitlines()[-1])
    print(
        f"allocation: {kind}, {people} people, {method}: {found['share_of_bound']:.5f} of the bound in {found['seconds']:.1f} s "
        f"({time.perf_counter() - started:.0f} s with making and checking)",
        file=sys.stderr,
        flush=True,
    )
    return found


def main() -> int:
    """Prints what is required, or with `--measure` the figures of one problem."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("people", nargs="*", type=int, metavar="PEOPLE")
    parser.add_argument("--measure", nargs=3, metavar=("KIND", "PEOPLE", "METHOD"))
    arguments = parser.parse_args()
    if arguments.measure:
        kind, people, method = arguments.measure
        print(json.dumps(measure(kind, int(people), method)))
        return 0
    found = run(arguments.people or SIZES)
    return print_found(found)


if __name__ == "__main__":
    sys.exit(main())

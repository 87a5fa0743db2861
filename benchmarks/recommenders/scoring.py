"""Scoring everyone on a landing of real ratings, beside the batch `recommend` of `implicit` for the same factors.

Usage: python -m benchmarks.recommenders.scoring LANDING

Both rank every item of each platform for every person, 100 for each, without what the person has rated. Ours starts from the
histories: it folds everyone in for each platform; `implicit` is given the finished factors of people. It is tried on some
people in every way in which it can be called (each platform by `items=`, or all items at once, which gives one list instead of
two; BLAS with one thread or its own), and compared in its fastest way. Rounds alternate in one process; a ratio is that of
one round, the figure its median, the interval the smallest and the largest. Seconds are those of the clock; the seconds of the
processors are beside them, for a machine that does other things too.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from benchmarks.recommenders.landing import read_ratings
from models_ml.als import ALSConfig, fit_als
from models_ml.factors import FactorModel
from models_ml.ials import IALSConfig, fit_ials
from models_ml.interactions import Interactions, interactions_from_arrow

K = 100
ROUNDS = 3
PEOPLE_TO_CHOOSE_BY = 2_000


def run(landing_dir: Path, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measures both factor models.

    Args:
        landing_dir: Landing folder with ratings.
        rounds: Alternating rounds, >= 3.

    Returns:
        `figures` by model (seconds, megabytes) and `requirements`: lines of name, value, interval, required, holds.
    """
    everyone = interactions_from_arrow(read_ratings(landing_dir))
    figures: dict[str, Any] = {"people": everyone.shape[0], "items": everyone.shape[1], "entries": everyone.entries}
    requirements = []
    fits: tuple[Callable[[], FactorModel], ...] = (
        lambda: fit_als(everyone, ALSConfig()),
        lambda: fit_ials(everyone, IALSConfig()),
    )
    for fit in fits:
        started = time.perf_counter()
        model = fit()
        name = model.config.name
        figures[name] = {"factors": model.config.factors, "seconds_of_training": time.perf_counter() - started}
        measured = measure(model, everyone, rounds)
        figures[name] |= measured["figures"]
        for what, required in (("lists", 1.0), ("lists_with_reasons", 2.0)):
            ratios = measured["ratios"][what]
            requirements.append(
                {
                    "name": f"{name}: seconds of {what} / seconds of implicit",
                    "value": float(np.median(ratios)),
                    "interval": [min(ratios), max(ratios)],
                    "required": f"<= {required}",
                    "holds": bool(np.median(ratios) <= required),
                }
            )
    return {"figures": figures, "requirements": requirements}


def measure(model: FactorModel, everyone: Interactions, rounds: int) -> dict[str, Any]:
    """Seconds and peak memory of lists, lists with reasons, and `implicit`, and the ratios of each round."""
    some = everyone.take(np.linspace(0, everyone.shape[0] - 1, min(PEOPLE_TO_CHOOSE_BY, everyone.shape[0])).astype(int))
    tried = {way: min(timed(call).seconds for _ in range(2)) for way, call in ways_of_implicit(model, some).items()}
    fastest = min(tried, key=lambda way: tried[way])
    calls = {
        "implicit": ways_of_implicit(model, everyone)[fastest],
        "lists": lambda: lists(model, everyone, reasons=False),
        "lists_with_reasons": lambda: lists(model, everyone, reasons=True),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            costs[name].append(timed(call))
    return {
        "figures": {
            "implicit_on_some_people_seconds": tried,
            "implicit_fastest": fastest,
            "median_seconds": {name: float(np.median([cost.seconds for cost in of])) for name, of in costs.items()},
            "median_processor_seconds": {
                name: float(np.median([cost.processor_seconds for cost in of])) for name, of in costs.items()
            },
            "peak_megabytes_above_start": {name: max(cost.megabytes for cost in of) for name, of in costs.items()},
        },
        "ratios": {
            name: [ours.seconds / theirs.seconds for ours, theirs in zip(costs[name], costs["implicit"], strict=True)]
            for name in ("lists", "lists_with_reasons")
        },
    }


def lists(model: FactorModel, everyone: Interactions, *, reasons: bool) -> None:
    """What the main job asks of a model: the lists of each platform, from histories."""
    for domain in everyone.domains:
        ranked = model.top_k(everyone, everyone.domain_range(domain), K)
        if reasons:
            model.explain(everyone, ranked.items)


def ways_of_implicit(model: FactorModel, everyone: Interactions) -> dict[str, Callable[[], object]]:
    """Calls of `implicit` with the factors of our model."""
    with warnings.catch_warnings():
        # It warns about BLAS threads, which are part of what is tried.
        warnings.simplefilter("ignore", RuntimeWarning)
        theirs = AlternatingLeastSquares(factors=model.config.factors)
    theirs.item_factors, theirs.user_factors = model.item_factors, model.fold_in(everyone)
    rated = everyone.csr(np.ones(everyone.entries, dtype=np.float32))
    people = np.arange(everyone.shape[0])
    columns = [np.asarray(everyone.domain_range(domain)) for domain in everyone.domains]

    def each_platform() -> None:
        for items in columns:
            theirs.recommend(people, rated, N=K, filter_already_liked_items=True, items=items)

    def all_at_once() -> None:
        theirs.recommend(people, rated, N=K, filter_already_liked_items=True)

    def one_blas_thread(call: Callable[[], None]) -> Callable[[], None]:
        def limited() -> None:
            with threadpool_limits(limits=1, user_api="blas"):
                call()

        return limited

    return {
        "each platform": each_platform,
        "each platform, one BLAS thread": one_blas_thread(each_platform),
        "all items at once": all_at_once,
        "all items at once, one BLAS thread": one_blas_thread(all_at_once),
    }


class Cost(NamedTuple):
    """What a call took: seconds by the clock, seconds of all processors, resident memory at its peak above that at its start."""

    seconds: float
    processor_seconds: float
    megabytes: float


def timed(call: Callable[[], object]) -> Cost:
    """Calls and measures. The peak of the memory is read from the kernel, which forgets the earlier one first (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    before, started, worked = _status("VmRSS"), time.perf_counter(), time.process_time()
    call()
    seconds, processor_seconds = time.perf_counter() - started, time.process_time() - worked
    return Cost(seconds, processor_seconds, (_status("VmHWM") - before) / 1024)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def main() -> int:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("landing", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    if not arguments.landing.is_dir():
        print(f"skipped: there is no landing folder {arguments.landing}")
        return 0
    print(json.dumps(run(arguments.landing, arguments.rounds), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

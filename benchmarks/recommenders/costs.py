"""What models take: seconds to search, fit, judge and score each of them, and the largest memory meanwhile.

Usage: python -m benchmarks.recommenders.costs [LANDING]

The warehouse is built from the landing folder (the demo's without one). Then the functions that the assets call choose and train
the models, score everyone and relate all items, in a fresh process, and what they note of their costs is the figure. Nothing
is required of these figures: they are of one machine and one run.
"""

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.figures import print_found
from benchmarks.recommenders.warehouse import build_warehouse
from orchestration.recommendations import steps
from orchestration.resources.artifacts import ArtifactStore
from orchestration.resources.warehouse import connect
from orchestration.settings import Settings
from simulation.demo import write_demo_landing

STAGES = ("search", "fit", "evaluate", "final fit", "score", "explain", "apply", "relate")
"""Stages of `models_ml.costs` in the order in which a run comes to them."""

Figures = dict[str, Any]


def run(landing: Path | None = None) -> Figures:
    """Measures everything that is tried and served.

    Args:
        landing: Landing folder; None measures the demo's.

    Returns:
        `figures` with the size of the input, `tables` with a line for each model and target, and no `requirements`.
    """
    with tempfile.TemporaryDirectory() as folder:
        if landing is None:
            landing = Path(folder) / "landing"
            write_demo_landing(landing)
        home = Path(folder) / "home"
        build_warehouse(landing, home)
        # A process of its own: what other benchmarks have left in memory is not the models'.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            size, noted = pool.submit(measure, landing, home).result()
    lines = by_model(noted)
    cells = [
        [line["model"], line["target"], *(line["seconds"].get(stage) for stage in STAGES), line["peak_megabytes"]]
        for line in lines
    ]
    columns = ["model", "target", *(f"{stage} (s)" for stage in STAGES), "peak memory (MB)"]
    return {
        "figures": size | {"models": lines},
        "tables": [{"columns": columns, "rows": cells}],
        "requirements": [],
    }


def measure(landing: Path, home: Path) -> tuple[Figures, list[Figures]]:
    """Trains, scores and relates in a home whose warehouse is built.

    Returns:
        The size of the input, and rows of `models_ml.costs.COSTS_SCHEMA`.
    """
    settings = Settings(home=home, landing=landing)
    store = ArtifactStore(root=str(home / "artifacts"))
    with connect(home / "warehouse" / "build.duckdb", memory_limit=settings.memory_limit) as connection:
        interactions = steps.collect_interactions(connection, store)
        models, _ = steps.train_models(interactions, store, steps.selection_config(settings))
        lists = steps.write_user_item(connection, models, interactions, list_length=settings.list_length)
        _, related = steps.write_item_item(connection, models, interactions, list_length=settings.related_length)
    noted = [*models.table("costs").to_pylist(), *lists.costs.to_pylist(), *related.to_pylist()]
    return {name: interactions.document[name] for name in ("people", "items", "pairs")}, noted


def by_model(noted: Iterable[Mapping[str, Any]]) -> list[Figures]:
    """One line for each model and target: seconds by stage and the largest memory, in the order in which they were noted.

    Args:
        noted: Rows of `models_ml.costs.COSTS_SCHEMA`. A search over several targets (joined by +) counts at the first, where
            the fit that follows from it stands too.
    """
    lines: dict[tuple[str, str], Figures] = {}
    for row in noted:
        key = row["model"], row["target_domain"].split("+")[0]
        line = lines.setdefault(key, {"model": key[0], "target": key[1], "seconds": {}, "peak_megabytes": 0.0})
        line["seconds"][row["stage"]] = line["seconds"].get(row["stage"], 0.0) + row["seconds"]
        line["peak_megabytes"] = max(line["peak_megabytes"], row["peak_megabytes"])
    return [*lines.values()]


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("landing", type=Path, nargs="?", metavar="LANDING")
    return print_found(run(parser.parse_args().landing))


if __name__ == "__main__":
    sys.exit(main())

"""What orchestration costs: `zhiying run` against the bare sum of its parts, on the same input, in one script.

Usage: python benchmarks/orchestration_cost.py LANDING [--rounds 3]

Each round makes two fresh homes. One side is the command, as a whole process. The other calls the same parts directly, without
Dagster: loading, the two dbt builds, collecting, training and scoring, publishing. The sides alternate, so that a machine
whose speed drifts does not favour one; medians are quoted.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from orchestration.landing.loading import load_landing
from orchestration.landing.run_context import write_run_context
from orchestration.publication.assets import publish, write_accounts, write_check_results
from orchestration.publication.promise import promised_tables
from orchestration.recommendations import steps
from orchestration.resources.artifacts import ArtifactStore
from orchestration.resources.dbt import dbt_executable, load_manifest, point_dbt_at
from orchestration.resources.warehouse import WarehouseResource
from orchestration.settings import DBT_PROJECT_DIR, Settings
from orchestration.warehouse.assets import AFTER_MODELS, PASSES, record_pass

BIN = Path(sys.executable).parent


def run_command(landing: Path, home: Path) -> dict[str, float]:
    """Wall time of the command, in seconds."""
    started = time.perf_counter()
    subprocess.run(
        [BIN / "zhiying", "run", "--landing", str(landing), "--home", str(home)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return {"zhiying run": time.perf_counter() - started}


def run_parts(landing: Path, home: Path) -> dict[str, float]:
    """Wall time of each part called directly, in seconds."""
    settings = Settings(home=home, landing=landing)
    settings.prepare_home()
    point_dbt_at(settings.warehouse_file, settings.memory_limit)
    warehouse = WarehouseResource(path=str(settings.warehouse_file), memory_limit=settings.memory_limit)
    store = ArtifactStore(root=str(settings.models_dir))
    promised = promised_tables(load_manifest())
    seconds: dict[str, float] = {}

    def timed(name: str, part: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = part()
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started
        return result

    def load() -> None:
        with warehouse.writer() as connection:
            load_landing(connection, landing, secret=settings.secret())
            write_run_context(connection)

    def dbt(*selection: str) -> None:
        target = {"DBT_TARGET_PATH": str(home / "dbt"), "DBT_LOG_PATH": str(home / "dbt")}
        subprocess.run(
            [
                dbt_executable(),
                "--quiet",
                "build",
                "--exclude-resource-type",
                "unit_test",
                "--profiles-dir",
                ".",
                *selection,
            ],
            check=True,
            cwd=DBT_PROJECT_DIR,
            env={**os.environ, **target},
            stdout=subprocess.DEVNULL,
        )

    def collect() -> Any:
        with warehouse.reader() as connection:
            return steps.collect_interactions(connection, store)

    def write(models: Any, interactions: Any) -> None:
        with warehouse.writer() as connection:
            steps.write_evaluation(connection, models)
            steps.write_user_item(connection, models, interactions, list_length=settings.list_length)
            steps.write_item_item(connection, models, interactions, list_length=settings.related_length)

    def publication() -> None:
        with warehouse.writer() as connection:
            write_check_results(connection, [])
        write_accounts(
            settings.warehouse_file, settings.restricted_dir / "accounts.duckdb", memory_limit=settings.memory_limit
        )
        publish(settings, promised, warehouse)

    timed("loading", load)
    timed("dbt, first pass", lambda: dbt("--exclude", AFTER_MODELS))
    interactions = timed("training", collect)
    models, _ = timed("training", lambda: steps.train_models(interactions, store, steps.selection_config(settings)))
    timed("scoring", lambda: write(models, interactions))
    timed("dbt, second pass", lambda: dbt("--select", AFTER_MODELS))
    record_pass(warehouse, PASSES[0], of="raw.run")
    record_pass(warehouse, PASSES[1], of="meta.scored")
    timed("publishing", publication)
    return seconds


def main() -> int:
    """Runs the rounds and prints both sides."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("landing", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if not arguments.landing.is_dir():
        print(f"skipped: there is no landing folder {arguments.landing}")
        return 0
    load_manifest()  # parsed once, outside of what is measured; every installation has it
    rounds: list[dict[str, float]] = []
    for number in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            first, second = (run_command, run_parts) if number % 2 == 0 else (run_parts, run_command)
            measured = {
                **first(arguments.landing.resolve(), Path(scratch) / "first"),
                **second(arguments.landing.resolve(), Path(scratch) / "second"),
            }
        rounds.append(measured)
    parts = [name for name in rounds[0] if name != "zhiying run"]
    medians = {name: statistics.median(each[name] for each in rounds) for name in ("zhiying run", *parts)}
    for name in parts:
        print(f"{name:<20} {medians[name]:7.1f} s")
    everything = [each["zhiying run"] / sum(each[name] for name in parts) for each in rounds]
    core = [name for name in parts if name not in {"loading", "publishing"}]
    without = [each["zhiying run"] / sum(each[name] for name in core) for each in rounds]
    print(f"{'sum of the parts':<20} {statistics.median(sum(each[n] for n in parts) for each in rounds):7.1f} s")
    print(f"{'zhiying run':<20} {medians['zhiying run']:7.1f} s")
    print(
        f"ratio to all parts                     {statistics.median(everything):.2f}  (rounds: {_listed(everything)})"
    )
    print(f"ratio to dbt, training and scoring     {statistics.median(without):.2f}  (rounds: {_listed(without)})")
    return 0


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())

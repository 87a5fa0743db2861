"""The main job on a landing folder of real data: what it makes, how long it takes, how much memory it needs, and the second run.

Usage: python benchmarks/real_input.py LANDING

Memory is the largest sum of resident sizes of the command and its children, looked at ten times a second.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

BIN = Path(sys.executable).parent

FIGURES = """
select
    (select count(*) from core.dim_user) as people,
    (select count(*) from core.dim_user where is_linked) as linked,
    (select count(*) from core.dim_film) as films,
    (select count(*) from core.dim_content) as contents,
    (select count(*) from core.fct_interaction where event_type = 'rating') as ratings,
    (select count(*) from quality.load_audit where rows_read <> rows_loaded + rows_quarantined + rows_duplicate) as files_astray,
    (select count(distinct user_key) from recommendations.user_item where target_domain = 'film') as people_with_film_list,
    (select count(distinct user_key) from recommendations.user_item where target_domain = 'knowledge')
        as people_with_knowledge_list
"""


def run(landing: Path, home: Path) -> tuple[float, float, dict[str, Any]]:
    """Runs the command; returns seconds, peak resident megabytes, and what it said."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [BIN / "zhiying", "run", "--landing", str(landing), "--home", str(home), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, resident_megabytes(process.pid))
        time.sleep(0.1)
    said = process.stdout.read() if process.stdout else ""
    if process.returncode != 0:
        raise SystemExit(f"zhiying run ended with {process.returncode}:\n{said}")
    return time.perf_counter() - started, peak, json.loads(said)


def resident_megabytes(pid: int) -> float:
    """Resident size of a process and its descendants, 0 once it has ended."""
    try:
        children = (Path("/proc") / str(pid) / "task" / str(pid) / "children").read_text().split()
        status = (Path("/proc") / str(pid) / "status").read_text()
    except OSError:
        return 0.0
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return own / 1024 + sum(resident_megabytes(int(child)) for child in children)


def main() -> int:
    """Runs twice over a fresh home and prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("landing", type=Path)
    arguments = parser.parse_args()
    if not arguments.landing.is_dir():
        print(f"skipped: there is no landing folder {arguments.landing}")
        return 0
    with tempfile.TemporaryDirectory() as home:
        seconds, megabytes, said = run(arguments.landing.resolve(), Path(home))
        with duckdb.connect(f"{home}/published/current.duckdb", read_only=True) as connection:
            result = connection.execute(FIGURES)
            names = [column[0] for column in result.description or []]
            for name, value in zip(names, result.fetchall()[0], strict=True):
                print(f"{name:<28} {value:>10,}")
        print(f"{'first run':<28} {seconds:>10.1f} s")
        print(f"{'peak resident memory':<28} {megabytes:>10,.0f} MB")
        for step, taken in said["step_seconds"].items():
            print(f"  {step:<60} {taken:>6.1f} s")
        for champion in said["publication"]["champions"]:
            print(
                f"  {champion['target_domain']}, {champion['segment']}: {champion['model']} NDCG@10 {champion['value']:.4f} "
                f"({champion['ci_low']:.4f} to {champion['ci_high']:.4f}), popularity {champion['popularity']:.4f}"
            )
        before = said["publication"]["id"]
        seconds, _, said = run(arguments.landing.resolve(), Path(home))
        print(f"{'second run':<28} {seconds:>10.1f} s")
        print(f"{'second run changed nothing':<28} {said['nothing_new'] and said['publication']['id'] == before!s:>10}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

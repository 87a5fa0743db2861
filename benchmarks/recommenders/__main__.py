"""All figures about the recommenders, by one command.

Usage: python -m benchmarks.recommenders [--movielens DIR] [--epinions LANDING] [--only PART ...] [--out FOLDER]

DIR holds MovieLens 1M as `ml-1m.inter`; LANDING is a landing folder of Epinions ratings. A part whose data is not given is
skipped and says so; the demo needs none. Parts: demo, movielens, epinions, scoring. Writes `figures.json` (everything) and
`figures.md` (what is required, and whether it holds); parts that are not run keep their figures. Exit status 1 if a
requirement does not hold.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.recommenders import demo, epinions, movielens, scoring

Figures = dict[str, Any]
PARTS = ("demo", "movielens", "epinions", "scoring")


def main() -> int:
    """Runs the parts one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--movielens", type=Path, metavar="DIR")
    parser.add_argument("--epinions", type=Path, metavar="LANDING")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="FOLDER")
    arguments = parser.parse_args()
    runs: dict[str, Callable[[], Figures] | None] = {
        "demo": lambda: demo.run(None),
        "movielens": _with(movielens.run, arguments.movielens),
        "epinions": _with(epinions.run, arguments.epinions),
        "scoring": _with(scoring.run, arguments.epinions),
    }
    file = arguments.out / "figures.json"
    found: dict[str, Figures] = json.loads(file.read_text()) if file.exists() else {}
    for part in arguments.only:
        run = runs[part]
        if run is None:
            print(f"{part}: skipped, its data is not given")
            continue
        print(f"{part}:")
        started = time.perf_counter()
        found[part] = {**run(), "seconds": round(time.perf_counter() - started)}
        file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    text = table_of(found)
    (arguments.out / "figures.md").write_text(text)
    print(text)
    lines = [line for part in found.values() for line in part["requirements"]]
    return 0 if all(line["holds"] for line in lines) else 1


def _with(run: Callable[[Path], Figures], data: Path | None) -> Callable[[], Figures] | None:
    """The part on its data; None if that is not there."""
    return None if data is None or not data.is_dir() else lambda: run(data)


def table_of(found: dict[str, Figures]) -> str:
    """Markdown of what is required, part by part."""
    lines = [
        "# Figures about the recommenders",
        "",
        "Written by `python -m benchmarks.recommenders`; all figures are in `figures.json`.",
    ]
    for part in PARTS:
        if part not in found:
            continue
        lines += [
            "",
            f"## {part} ({found[part]['seconds']} s)",
            "",
            "| | value | interval | required | holds |",
            "| --- | ---: | --- | --- | --- |",
        ]
        for line in found[part]["requirements"]:
            low, high = line["interval"] or (None, None)
            interval = "" if low is None else f"{low:.4f} to {high:.4f}"
            holds = "yes" if line["holds"] else "**no**"
            lines.append(f"| {line['name']} | {line['value']:.4f} | {interval} | {line['required']} | {holds} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

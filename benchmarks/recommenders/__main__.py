"""All figures about the recommenders, by one command.

Usage: python -m benchmarks.recommenders [--movielens DIR] [--epinions LANDING] [--only NAME ...] [--out FOLDER]

DIR holds MovieLens 1M as `ml-1m.inter`; LANDING is a landing folder of Epinions ratings. What needs data that is not given is
skipped and says so; the demo needs none. Writes `figures.json` and `figures.md`.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.recommenders import demo, epinions, movielens, odd_worlds, scoring

Figures = dict[str, Any]


def main() -> int:
    """Runs the parts one after the other; returns 1 if a requirement does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--movielens", type=Path)
    parser.add_argument("--epinions", type=Path)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    parts: dict[str, tuple[Path | None, Callable[[Path], Figures]]] = {
        "movielens": (arguments.movielens, movielens.run),
        "epinions": (arguments.epinions, epinions.run),
        "scoring": (arguments.epinions, scoring.run),
    }
    file = arguments.out / "figures.json"
    figures: dict[str, Figures] = json.loads(file.read_text()) if file.exists() else {}
    return 0


if __name__ == "__main__":
    sys.exit(main())

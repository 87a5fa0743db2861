"""All figures about the recommenders, by one command.

Usage: python -m benchmarks.recommenders [--movielens DIR] [--epinions LANDING] [--only PART ...] [--out FOLDER]

DIR holds MovieLens 1M as `ml-1m.inter`; LANDING is a landing folder of Epinions ratings. A part whose data is not given is
skipped and says so; the demo needs none. Parts: demo, movielens, epinions, scoring, costs_demo, costs_epinions. Writes
`figures.json` (everything) and `figures.md` (what is required, whether it holds, and what models take); parts that are not run
keep their figures. Exit status 1 if a requirement does not hold.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.figures import on_data, run_parts
from benchmarks.recommenders import costs, demo, epinions, movielens, scoring

PARTS = ("demo", "movielens", "epinions", "scoring", "costs_demo", "costs_epinions")


def main() -> int:
    """Runs the parts one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--movielens", type=Path, metavar="DIR")
    parser.add_argument("--epinions", type=Path, metavar="LANDING")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="FOLDER")
    arguments = parser.parse_args()
    runs = {
        "demo": lambda: demo.run(None),
        "movielens": on_data(movielens.run, arguments.movielens),
        "epinions": on_data(epinions.run, arguments.epinions),
        "scoring": on_data(scoring.run, arguments.epinions),
        "costs_demo": lambda: costs.run(None),
        "costs_epinions": on_data(costs.run, arguments.epinions),
    }
    title, command = "Figures about the recommenders", "python -m benchmarks.recommenders"
    return run_parts(title, command, runs, arguments.only, arguments.out)


if __name__ == "__main__":
    sys.exit(main())

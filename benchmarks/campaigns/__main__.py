"""All figures about campaigns, by one command.

Usage: python -m benchmarks.campaigns [--hillstrom DIR] [--open-bandit DIR] [--home DIR] [--only PART ...] [--out FOLDER]

The first DIR holds `hillstrom.csv.gz`, the second the sample of the Open Bandit data with its folders `random` and `bts`. A part
whose data is not given is skipped and says so; allocation and the closed loop need none, and of the experiments the simulated ones
are run without. In the third DIR, a new home, sixty days of the whole product are lived, which takes an hour. Parts: allocation,
experiments, uplift, off_policy, closed_loop, sixty_days. It writes `figures.json` and `figures.md` (what is required and whether it
holds); parts not run keep their figures. Exit status 1 if a requirement does not hold.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.campaigns import allocation, closed_loop, experiments, off_policy, sixty_days, uplift
from benchmarks.figures import on_data, run_parts

PARTS = ("allocation", "experiments", "uplift", "off_policy", "closed_loop", "sixty_days")


def main() -> int:
    """Runs the parts one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hillstrom", type=Path, metavar="DIR")
    parser.add_argument("--open-bandit", type=Path, metavar="DIR")
    parser.add_argument("--home", type=Path, metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="FOLDER")
    arguments = parser.parse_args()
    runs = {
        "allocation": allocation.run,
        "experiments": lambda: experiments.run(arguments.hillstrom),
        "uplift": on_data(uplift.run, arguments.hillstrom),
        "off_policy": on_data(off_policy.run, arguments.open_bandit),
        "closed_loop": closed_loop.run,
        "sixty_days": None if arguments.home is None else lambda: sixty_days.run(arguments.home),
    }
    return run_parts("Figures about campaigns", "python -m benchmarks.campaigns", runs, arguments.only, arguments.out)


if __name__ == "__main__":
    sys.exit(main())

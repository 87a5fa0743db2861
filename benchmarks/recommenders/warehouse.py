"""A warehouse for benchmarks that start where the recommenders do: from a landing folder up to the features."""

import subprocess
import sys
from pathlib import Path

STATIONS = ("raw", "seeds", "staging", "snapshots", "intermediate", "core", "features")
# The command of the code that is measured, which an installed script may not be.
_ZHIYING = "import sys; from orchestration.cli import main; sys.exit(main())"


def build_warehouse(landing: Path, home: Path) -> Path:
    """Runs the product up to the features in a home.

    Args:
        landing: What to load.
        home: Where to build.

    Returns:
        The build file.

    Raises:
        SystemExit: If there is no build file in the end; with what the run said.
    """
    selected = " or ".join(f"group:{station}" for station in STATIONS)
    call = ["run", "--landing", f"{landing}", "--home", f"{home}", "--select", selected, "--json"]
    done = subprocess.run([sys.executable, "-c", _ZHIYING, *call], capture_output=True, text=True, check=False)
    build_file = home / "warehouse" / "build.duckdb"
    if not build_file.exists():
        raise SystemExit(f"zhiying run ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return build_file

"""Running the parts of a benchmark and writing what they found.

Holds what the folders of benchmarks share: a part that is not given its data is skipped and says so, one that is not asked for
keeps its earlier figures, and what is required is a line with a value, its interval and whether it holds. Figures that nothing
is required of are shown in `tables`: names of columns, and rows of texts and numbers.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Figures = dict[str, Any]
Run = Callable[[], Figures]


def on_data(run: Callable[[Path], Figures], data: Path | None) -> Run | None:
    """The part on its data; None if that is not there."""
    return None if data is None or not data.is_dir() else lambda: run(data)


def print_found(found: Figures) -> int:
    """Prints what one part found as JSON; returns 1 if a requirement does not hold, else 0."""
    print(json.dumps(found, indent=1))
    return 0 if all(line["holds"] for line in found["requirements"]) else 1


def run_parts(title: str, command: str, runs: Mapping[str, Run | None], only: Sequence[str], folder: Path) -> int:
    """Runs parts and writes `figures.json` (everything) and `figures.md` (what is required, and the tables of a part).

    Args:
        title: First line of `figures.md`.
        command: What writes the figures, for the second line.
        runs: Each part in order; None if its data is not given.
        only: Parts to run.
        folder: Where the figures are.

    Returns:
        1 if a requirement does not hold, else 0.
    """
    file = folder / "figures.json"
    found: dict[str, Figures] = json.loads(file.read_text()) if file.exists() else {}
    for part in only:
        run = runs[part]
        if run is None:
            print(f"{part}: skipped, its data is not given")
            continue
        print(f"{part}:")
        started = time.perf_counter()
        found[part] = {**run(), "seconds": round(time.perf_counter() - started)}
        file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    lines = [f"# {title}", "", f"Written by `{command}`; all figures are in `figures.json`."]
    for part in runs:
        if part in found:
            lines += ["", f"## {part} ({found[part]['seconds']} s)"]
            if required := found[part]["requirements"]:
                lines += ["", *_requirements(required)]
            for table in found[part].get("tables", ()):
                lines += ["", *_table(table["columns"], table["rows"])]
    text = "\n".join(lines) + "\n"
    (folder / "figures.md").write_text(text)
    print(text)
    return 0 if all(line["holds"] for part in found.values() for line in part["requirements"]) else 1


def _table(columns: Sequence[str], rows: Sequence[Sequence[str | float | None]]) -> list[str]:
    """Markdown of figures of which nothing is required; empty where there is none."""
    numeric = [all(not isinstance(row[place], str) for row in rows) for place in range(len(columns))]
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join('---:' if is_number else '---' for is_number in numeric)} |"]
    for row in rows:
        cells = (
            "" if cell is None else cell if isinstance(cell, str) else f"{cell:,.{_decimals(cell)}f}" for cell in row
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _decimals(value: float) -> int:
    """Three digits say enough of a figure that differs from run to run."""
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2


def _requirements(requirements: Sequence[Figures]) -> list[str]:
    lines = ["| | value | interval | required | holds |", "| --- | ---: | --- | --- | --- |"]
    for line in requirements:
        low, high = line["interval"] or (None, None)
        interval = "" if low is None else f"{low:.4g} to {high:.4g}"
        holds = "yes" if line["holds"] else "**no**"
        lines.append(f"| {line['name']} | {line['value']:.4g} | {interval} | {line['required']} | {holds} |")
    return lines

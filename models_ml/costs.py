"""What each stage of each model took, on this machine, this time.

Holds the ledger that selection, the final fit and scoring note their time and memory in. Costs differ from run to run: they are
no part of a choice, a version or a published row.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa

COSTS_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("target_domain", pa.string()),
        ("stage", pa.string()),
        ("seconds", pa.float64()),
        ("peak_megabytes", pa.float64()),
    ]
)
"""One row for each model, target and stage: seconds in all, and the largest memory of the process meanwhile.

Stages are `search`, `fit` and `evaluate` on what is held out, `final fit` on everything, `score` and `explain` for the lists of
people, `apply` for what rules and exploration make of them, and `relate` for the lists of items. A model of several targets
has its cost at the first one that needs it; its search names all of them, joined by +.
"""


class Ledger:
    """Notes what each stage of each model took.

    Args:
        progress: Called with one line when a stage starts.
        peak_megabytes: Gives the largest memory of the process since it was last asked; without it costs have time only.
    """

    def __init__(
        self,
        progress: Callable[[str], None] = lambda line: None,
        peak_megabytes: Callable[[], float] = lambda: 0.0,
    ):
        self.progress = progress
        self._peak_megabytes = peak_megabytes
        self._costs: dict[tuple[str, str, str], tuple[float, float]] = {}

    @contextmanager
    def stage(self, name: str, domain: str, stage: str) -> Iterator[None]:
        """Says that a stage starts, and notes its time and the largest memory in it.

        A stage that comes again, as with each block of people, adds its time to what is noted and keeps the larger memory.
        Stages do not nest: the inner one would set back the mark of memory of the outer one.
        """
        self.progress(f"{stage} {name} {domain}")
        self._peak_megabytes()
        started = time.perf_counter()
        yield
        seconds, peak = time.perf_counter() - started, self._peak_megabytes()
        before, highest = self._costs.get((name, domain, stage), (0.0, 0.0))
        self._costs[name, domain, stage] = (before + seconds, max(highest, peak))

    def table(self) -> pa.Table:
        """What was noted so far, `COSTS_SCHEMA`, in the order in which stages first ended."""
        rows = [(*key, *cost) for key, cost in self._costs.items()]
        return pa.Table.from_pylist([dict(zip(COSTS_SCHEMA.names, row, strict=True)) for row in rows], COSTS_SCHEMA)

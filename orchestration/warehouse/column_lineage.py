"""Which columns each column of a model is made from, worked out once for a version of the dbt project.

Reading it off the SQL (sqlglot, by way of dagster-dbt) takes about as long as building the models of a small home, and it changes
with the project only, not with the data. It is kept beside what dbt compiles, for all homes that use this project.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dagster import AssetKey, Output, TableColumnDep, TableColumnLineage
from dagster_dbt import DbtCliInvocation
from dagster_dbt.core.dbt_event_iterator import DbtEventIterator

from orchestration.resources.durable import write_whole

LINEAGE = "dagster/column_lineage"

# Key and column of what each column is made from.
Deps = Mapping[str, list[tuple[list[str], str]]]


class KnownLineage:
    """Column lineage by output, kept in a file.

    Args:
        folder: Where to keep it; files of other versions stay there.
        of: Version of the dbt project.
    """

    def __init__(self, folder: Path, of: str) -> None:
        self._file = folder / f"column_lineage.{of}.dagster_dbt-{version('dagster-dbt')}.json"
        self._known: dict[str, Deps | None] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def with_metadata(self, built: Iterable[Output[None]], invocation: DbtCliInvocation) -> Iterator[Output[None]]:
        """Outputs with rows, columns and column lineage; what was not known is known afterwards.

        Args:
            built: Outputs as dbt reported them.
            invocation: Of dbt, which has ended.
        """
        outputs = list(built)
        # All at once, since Dagster wants them in the order of the graph.
        are_known = all(output.output_name in self._known for output in outputs)
        counted = DbtEventIterator(iter(outputs), invocation).fetch_row_counts()
        found: dict[str, Deps | None] = {}
        output: Any
        for output in counted.fetch_column_metadata(with_column_lineage=not are_known):
            name, metadata = output.output_name, output.metadata
            if are_known:
                deps = self._known[name]
                yield output if deps is None else output.with_metadata({**metadata, LINEAGE: _lineage(deps)})
            else:
                if LINEAGE in metadata:
                    found[name] = _deps(metadata[LINEAGE].value)
                elif not metadata["unique_id"].value.startswith("model."):
                    found[name] = (
                        None  # seeds and snapshots have none; a model whose SQL could not be read is tried again
                    )
                yield output
        if found:
            self._keep(found)

    def _keep(self, found: Mapping[str, Deps | None]) -> None:
        """Whole or not at all, since other runs may read it now; what one of two at once loses is found again."""
        self._known |= found
        write_whole(self._file, json.dumps(self._known))


def _deps(lineage: TableColumnLineage) -> Deps:
    return {
        column: sorted((list(dep.asset_key.path), dep.column_name) for dep in deps)
        for column, deps in lineage.deps_by_column.items()
    }


def _lineage(deps: Deps) -> TableColumnLineage:
    return TableColumnLineage(
        {column: [TableColumnDep(AssetKey(path), name) for path, name in of] for column, of in deps.items()}
    )

"""What is promised to readers, read from dbt's manifest.

A table is promised when its model or source carries `meta.published: true`. Its columns, types, order and descriptions are
those of its enforced dbt contract, so the promise is written down once. Copying and verifying is `publication.build`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PromisedColumn:
    """A column as readers see it."""

    name: str
    data_type: str
    description: str


@dataclass(frozen=True)
class PromisedTable:
    """A table as readers see it.

    Args:
        schema: Station it belongs to.
        name: Its name.
        description: Its grain sentence and what else dbt says of it.
        columns: In the order of the contract.
        order_by: Columns that its rows are sorted by, so that equal content is an equal file.
    """

    schema: str
    name: str
    description: str
    columns: tuple[PromisedColumn, ...]
    order_by: tuple[str, ...]

    @property
    def qualified_name(self) -> str:
        """`schema.name`."""
        return f"{self.schema}.{self.name}"


def promised_tables(manifest: Mapping[str, Any]) -> list[PromisedTable]:
    """Reads the promise.

    Args:
        manifest: dbt's manifest.

    Returns:
        Promised tables, sorted by qualified name.

    Raises:
        ValueError: If a promised table has no columns, a column without a type, or nothing to sort its rows by.
    """
    tables = []
    for node in [*manifest["nodes"].values(), *manifest["sources"].values()]:
        meta = {**node.get("meta", {}), **node.get("config", {}).get("meta", {})}
        if not meta.get("published"):
            continue
        table = PromisedTable(
            schema=node["schema"],
            name=node.get("alias") or node["identifier"],
            description=node["description"].strip(),
            columns=tuple(
                PromisedColumn(c["name"], c.get("data_type") or "", (c.get("description") or "").strip())
                for c in node["columns"].values()
            ),
            order_by=tuple(meta.get("order_by", ())),
        )
        untyped = [c.name for c in table.columns if not c.data_type]
        if not table.columns or untyped or not table.order_by:
            raise ValueError(
                f"{table.qualified_name} is marked as published in {node['original_file_path']}, but has "
                + (
                    "no columns"
                    if not table.columns
                    else f"no data_type on {untyped}"
                    if untyped
                    else "no meta.order_by"
                )
            )
        tables.append(table)
    return sorted(tables, key=lambda table: table.qualified_name)

"""What people and dbt read of the landing contract: `docs/landing.md` and the dbt sources, written by

    python -m orchestration.landing.generate

Both files are generated; a test says when they are not up to date.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from orchestration.landing.contract import Column, Contract, Rule, Table, project_contract
from orchestration.landing.raw_schema import BOOKS, SCHEMA, StoredTable, stored_table

PROJECT = Path(__file__).resolve().parents[2]
DOCS_PATH = PROJECT / "docs" / "landing.md"
DBT_SOURCES_PATH = PROJECT / "dbt_project" / "models" / "staging" / "_sources.yml"

_DBT_HEADER = (
    "# Generated from orchestration/landing/contract.yml: python -m orchestration.landing.generate\n"
    "# Change the contract, not this file.\n"
)


def render_dbt_sources(contract: Contract | None = None) -> str:
    """The dbt sources file: a source per landing source, and `raw` for the books of landing.

    Args:
        contract: The landing contract; by default the one of the project.

    Returns:
        YAML with the description and type of every column, and the asset key of every table.
    """
    contract = contract or project_contract()
    sources = [
        {
            "name": source,
            "schema": SCHEMA,
            "description": f"Landing files of {source}, checked and typed.",
            "tables": [
                {"name": table.name, "identifier": table.raw_name, **_dbt_table(stored_table(table))}
                for table in contract.tables
                if table.source == source
            ],
        }
        for source in contract.sources
    ]
    sources.append(
        {
            "name": SCHEMA,
            "schema": SCHEMA,
            "description": "The books of landing: deliveries, refusals, removals, accounts and the run.",
            "tables": [{"name": book.name, **_dbt_table(book)} for book in BOOKS],
        }
    )
    document = {"version": 2, "sources": sources}
    return _DBT_HEADER + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def _dbt_table(table: StoredTable) -> dict[str, Any]:
    return {
        "description": table.description,
        "config": {"meta": {"dagster": {"asset_key": [SCHEMA, table.name]}}},
        "columns": [
            {"name": column.name, "description": column.description, "data_type": column.sql_type}
            for column in table.columns
        ],
    }


def main() -> None:
    """Write both files."""
    for path, text in ((DBT_SOURCES_PATH, render_dbt_sources()),):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

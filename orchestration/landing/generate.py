"""What people and dbt read of the landing contract: `docs/landing.md` and the dbt sources.

Both files are written by `python -m orchestration.landing.generate`; a test says when they are not up to date.
"""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any

import yaml

from orchestration.landing.checking import EARLIEST, MASK
from orchestration.landing.contract import Column, Contract, Rule, Table, project_contract
from orchestration.landing.discovery import EXTENSIONS
from orchestration.landing.raw_schema import BOOKS, SCHEMA, StoredTable, stored_table

INTRODUCTION_PATH = Path(__file__).with_name("introduction.md")
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


def render_docs(contract: Contract | None = None) -> str:
    """The documentation page of the landing contract.

    Args:
        contract: The landing contract; by default the one of the project.

    Returns:
        Markdown.
    """
    contract = contract or project_contract()
    introduction = Template(INTRODUCTION_PATH.read_text(encoding="utf-8")).substitute(
        extensions=", ".join(f"`{extension}`" for extension in EXTENSIONS), earliest=EARLIEST.year, mask=MASK
    )
    parts = [introduction, "## Tables\n"]
    parts += [_docs_table(table) for table in contract.tables]
    parts.append("## Codes\n")
    for code_set in contract.code_sets:
        case = " Lower case is accepted too." if code_set.any_case else ""
        codes = ", ".join(code_set.codes)
        parts.append(f"**{code_set.name}**: {code_set.description}{case} {codes}.\n")
    return "\n".join(parts)


def _docs_table(table: Table) -> str:
    lines = [f"### `{table.path}`\n", f"{table.grain} {table.description} Key: {', '.join(table.key)}.\n"]
    lines += ["| column | type | what it is |", "| --- | --- | --- |"]
    lines += [
        f"| {column.name}{'*' * column.required} | {column.type} | {_docs_column(column)} |" for column in table.columns
    ]
    lines += [f"\n{_docs_rule(rule)}" for rule in table.rules]
    return "\n".join(lines) + "\n"


def _docs_column(column: Column) -> str:
    notes = [column.description]
    if column.unit is not None:
        notes.append(f"Unit: {column.unit}.")
    if column.codes is not None:
        notes.append(f"Codes: {column.codes.name}.")
    if column.range is not None:
        notes.append(f"From {column.range[0]:g} to {column.range[1]:g}.")
    if column.planned:
        notes.append("May lie in the future.")
    if column.personal:
        notes.append("Personal.")
    return " ".join(notes)


def _docs_rule(rule: Rule) -> str:
    span = "" if rule.range is None else f" from {rule.range[0]:g} to {rule.range[1]:g}"
    step = "" if rule.step is None else f" in steps of {rule.step:g}"
    required = " and is required" if rule.required else ""
    return f"Where {rule.when_column} is {rule.when_value}, {rule.column} is{span}{step}{required}."


def main() -> None:
    """Write both files."""
    for path, text in ((DOCS_PATH, render_docs()), (DBT_SOURCES_PATH, render_dbt_sources())):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""The landing folder and the raw station in the graph.

Every table of the contract is an external asset (the folder that a platform delivers to) and a raw table; all raw tables are
loaded by one step, because one ledger and one transaction cover them. How files are read is in `reading` and `loading`.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    MaterializeResult,
    MetadataValue,
    TableColumn,
    TableColumnDep,
    TableColumnLineage,
    TableSchema,
    multi_asset,
)

from orchestration.landing.contract import Contract, Table, project_contract
from orchestration.landing.loading import load_landing
from orchestration.landing.raw_schema import BOOKS, StoredTable, stored_table
from orchestration.landing.report import FileOutcome, LoadReport, TableOutcome
from orchestration.landing.run_context import write_run_context
from orchestration.resources.transient import retried_when_transient
from orchestration.resources.warehouse import WRITER_POOL, WarehouseResource
from orchestration.settings import Settings

_LEDGER = AssetKey(["raw", "delivery"])


def landing_specs(contract: Contract) -> list[AssetSpec]:
    """The folders that the platforms deliver to, as external assets."""
    return [
        AssetSpec(
            key=["landing", table.source, table.name],
            group_name="landing",
            kinds={"file"},
            description=f"{table.grain} {table.description}",
            metadata={
                "required columns": ", ".join(table.required_columns),
                "columns": len(table.columns),
                "layout": f"<landing>/{table.path}/**/*.(parquet|csv|csv.gz|ndjson|ndjson.gz)",
            },
        )
        for table in contract.tables
    ]


def build_landing_assets(settings: Settings) -> list[AssetsDefinition | AssetSpec]:
    """External landing assets and the raw station.

    Args:
        settings: Landing folder, secret, limits and point in time.
    """
    contract = project_contract()
    specs = [_raw_spec(table) for table in contract.tables]
    lineage = {table.raw_name: _column_lineage(table) for table in contract.tables}
    books = [
        AssetSpec(
            key=["raw", book.name],
            group_name="raw",
            kinds={"python", "duckdb"},
            description=book.description,
            metadata={"dagster/column_schema": _column_schema(book)},
            deps=[["landing", table.source, table.name] for table in contract.tables],
        )
        for book in BOOKS
    ]

    @multi_asset(
        name="raw",
        specs=[*specs, *books],
        check_specs=[
            AssetCheckSpec(
                "every_row_is_accounted_for",
                asset=_LEDGER,
                blocking=True,
                description="For every file: rows read = rows loaded + rows quarantined + rows duplicate.",
            ),
            AssetCheckSpec(
                "quarantine_within_limit",
                asset=_LEDGER,
                blocking=True,
                description="No table has a larger share of quarantined rows than the settings allow.",
            ),
        ],
        pool=WRITER_POOL,
    )
    def raw(context: AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[Any]:
        with retried_when_transient(), warehouse.writer() as connection:
            report = load_landing(
                connection,
                settings.landing,
                contract=contract,
                secret=settings.secret(),
                max_quarantine_share=settings.max_quarantine_share,
                progress=lambda state: context.log.info("%s", state),
            )
            as_of = write_run_context(connection, as_of=settings.as_of, time_zone=settings.time_zone)
            rows = {
                spec.key: connection.execute(f"select count(*) from {'.'.join(spec.key.path)}").fetchall()[0][0]
                for spec in [*specs, *books]
            }
        tables = {f"{table.source}__{table.table_name}": table for table in report.tables}
        for spec in [*specs, *books]:
            name = spec.key.path[-1]
            described = (
                {**_table_metadata(tables[name], report), "dagster/column_lineage": lineage[name]}
                if name in tables
                else _book_metadata(name, report, as_of)
            )
            yield MaterializeResult(asset_key=spec.key, metadata={"dagster/row_count": rows[spec.key], **described})
        yield _accounted_for(report)
        yield _within_limit(report, settings.max_quarantine_share)

    return [*landing_specs(contract), raw]


def _raw_spec(table: Table) -> AssetSpec:
    return AssetSpec(
        key=["raw", table.raw_name],
        group_name="raw",
        kinds={"python", "duckdb"},
        deps=[["landing", table.source, table.name]],
        metadata={"dagster/column_schema": _column_schema(stored_table(table))},
        description=f"{table.grain} All valid rows of the deliveries in force; `_is_current` marks the row that wins its key.",
    )


def _column_schema(table: StoredTable) -> TableSchema:
    return TableSchema([TableColumn(column.name, column.sql_type, column.description) for column in table.columns])


def _column_lineage(table: Table) -> TableColumnLineage:
    delivered = AssetKey(["landing", table.source, table.name])
    return TableColumnLineage({column.name: [TableColumnDep(delivered, column.name)] for column in table.columns})


def _table_metadata(table: TableOutcome, report: LoadReport) -> dict[str, Any]:
    files = [file for file in report.files if (file.source, file.table_name) == (table.source, table.table_name)]
    return {
        "files": table.files,
        "files refused": table.files_refused,
        "rows read": table.rows_read,
        "rows loaded": table.rows_loaded,
        "rows quarantined": table.rows_quarantined,
        "rows duplicate": table.rows_duplicate,
        "quarantine share": table.quarantine_share,
        "unknown columns": ", ".join(sorted({name for file in files for name in file.unknown_columns})) or "none",
    }


def _book_metadata(name: str, report: LoadReport, as_of: datetime) -> dict[str, Any]:
    match name:
        case "delivery":
            return {
                "new files": len(report.new_files),
                "changed files": len(report.changed_files),
                "unchanged files": len(report.unchanged_files),
                "refused files": len(report.refused_files),
                "rows removed": report.rows_removed,
                "unknown folders": ", ".join(report.unknown_folders) or "none",
                "unread files": ", ".join(report.unread_files) or "none",
                "seconds": report.seconds,
            }
        case "quarantine":
            return {"first refusals": MetadataValue.md(_as_list(str(refusal) for refusal in report.refusals) or "none")}
        case "run":
            return {"as of": str(as_of)}
        case _:
            return {}


def _accounted_for(report: LoadReport) -> AssetCheckResult:
    astray = [file for file in report.files if not _balances(file)]
    return AssetCheckResult(
        check_name="every_row_is_accounted_for",
        asset_key=_LEDGER,
        passed=not astray,
        severity=AssetCheckSeverity.ERROR,
        description="; ".join(f"{file.file}: {file.rows_read} rows read do not add up" for file in astray[:5]) or None,
        metadata={"observed": f"{len(astray)} files astray", "expected": "0 files astray"},
    )


def _balances(file: FileOutcome) -> bool:
    return file.rows_read == file.rows_loaded + file.rows_quarantined + file.rows_duplicate


def _within_limit(report: LoadReport, limit: float) -> AssetCheckResult:
    over = report.tables_over_limit
    worst = max(report.tables, key=lambda table: table.quarantine_share)
    return AssetCheckResult(
        check_name="quarantine_within_limit",
        asset_key=_LEDGER,
        passed=not over,
        severity=AssetCheckSeverity.ERROR,
        description=_over_limit(over, limit) if over else None,
        metadata={
            "observed": f"{worst.quarantine_share:.2%} of {worst.source}/{worst.table_name}",
            "expected": f"at most {limit:.2%} of any table",
            "first refusals": MetadataValue.md(_as_list(str(refusal) for refusal in report.refusals) or "none"),
        },
    )


def _over_limit(tables: Iterable[TableOutcome], limit: float) -> str:
    named = ", ".join(
        f"{table.source}/{table.table_name} {table.rows_quarantined:,} of {table.rows_read:,} ({table.quarantine_share:.1%})"
        for table in tables
    )
    return (
        f"quarantined {named}; at most {limit:.1%} is allowed. Look at raw.quarantine (zhiying check shows the same), have the "
        "files corrected and delivered again, or raise ZHIYING_MAX_QUARANTINE_SHARE"
    )


def _as_list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)

"""The landing folder and the raw station in the graph.

Every table of the contract is an external asset (the folder that a platform delivers to) and a raw table; all raw tables are
loaded by one step, because one ledger and one transaction cover them. How files are read is in `reading` and `loading`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
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
    multi_asset,
)

from orchestration.landing.contract import Contract, Table, load_contract
from orchestration.landing.loading import load_landing
from orchestration.landing.raw_schema import BOOKS
from orchestration.landing.report import LoadReport
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
    contract = load_contract()
    specs = [_raw_spec(table) for table in contract.tables]
    books = [
        AssetSpec(
            key=["raw", book.name],
            group_name="raw",
            kinds={"python", "duckdb"},
            description=book.description,
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
                now=datetime.now(UTC).replace(tzinfo=None),
                progress=lambda message: context.log.info("%s", message),
            )
            write_run_context(connection, as_of=settings.as_of, time_zone=settings.time_zone)
            rows = dict(
                connection.execute(
                    "select table_name, estimated_size from duckdb_tables() where schema_name = 'raw'"
                ).fetchall()
            )
        for spec in [*specs, *books]:
            yield MaterializeResult(
                asset_key=spec.key,
                metadata={"dagster/row_count": int(rows[spec.key.path[-1]]), **_load_metadata(report, spec.key)},
            )
        yield _accounted_for(report)
        yield _within_limit(report, settings.max_quarantine_share)

    return [*landing_specs(contract), raw]


def _raw_spec(table: Table) -> AssetSpec:
    return AssetSpec(
        key=["raw", table.raw_name],
        group_name="raw",
        kinds={"python", "duckdb"},
        deps=[["landing", table.source, table.name]],
        description=f"{table.grain} All valid rows of the deliveries in force; `_is_current` marks the row that wins its key.",
    )

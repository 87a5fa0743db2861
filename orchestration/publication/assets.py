"""Publishing as assets: the record of this run's checks, the restricted account list, and the publication itself.

Order matters: the checks are recorded once everything that can fail has passed, the restricted file is replaced before the
publication is, and the one switch that readers see is the last thing that happens.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    DagsterEventType,
    MaterializeResult,
    MetadataValue,
    asset,
)

from orchestration.landing.checking import literal
from orchestration.landing.ledger import data_version
from orchestration.publication.build import build_publication
from orchestration.publication.promise import PromisedTable, promised_tables
from orchestration.publication.store import Publication, PublicationStore
from orchestration.resources.dbt import load_manifest, source_schema
from orchestration.resources.warehouse import WRITER_POOL, WarehouseResource, connect
from orchestration.settings import Settings
from orchestration.sql import has_relation
from orchestration.versions import code_version, product_version
from orchestration.warehouse.assets import PASSES

CHECK_RESULT = AssetKey(["quality", "check_result"])
ACCOUNTS = AssetKey(["restricted", "account"])
PUBLICATION = AssetKey(["meta", "publication"])


class IncompleteBuildError(RuntimeError):
    """The build file holds tables of different states."""


# Written while publishing, so their content differs from one run to the next although nothing of the data has changed.
_ABOUT_THE_RUN = frozenset({"meta.publication", "quality.check_result"})


def build_publication_assets(settings: Settings) -> list[AssetsDefinition]:
    """The assets of the station.

    Args:
        settings: Where to publish and how many publications to keep.
    """
    promised = promised_tables(load_manifest())
    from_dbt = [
        AssetKey([table.schema, table.name]) for table in promised if table.qualified_name not in _ABOUT_THE_RUN
    ]

    @asset(
        key=CHECK_RESULT,
        metadata={"dagster/column_schema": source_schema("quality", "check_result")},
        deps=from_dbt,
        group_name="quality",
        kinds={"python", "duckdb"},
        pool=WRITER_POOL,
        description="One row per check of this run, dbt's tests and the checks of the Python assets alike.",
    )
    def check_result(context: AssetExecutionContext, warehouse: WarehouseResource) -> MaterializeResult[Any]:
        rows = [_check_row(evaluation, checked_at) for evaluation, checked_at in _evaluations(context)]
        with warehouse.writer() as connection:
            write_check_results(connection, rows)
        failed = [row for row in rows if row[2] != "passed"]
        return MaterializeResult(
            metadata={
                "dagster/row_count": len(rows),
                "passed": len(rows) - len(failed),
                "warned": len(failed),
                "warnings": MetadataValue.md(
                    "\n".join(f"- `{row[1]}`: {row[0]} ({row[4]})" for row in failed) or "none"
                ),
            }
        )

    @asset(
        key=ACCOUNTS,
        deps=[AssetKey(["core", "dim_user"])],
        group_name="publication",
        kinds={"python", "duckdb"},
        pool=WRITER_POOL,
        description="One row per account: which person a platform's account belongs to. For those who deliver; mode 0600.",
    )
    def accounts(context: AssetExecutionContext, warehouse: WarehouseResource) -> MaterializeResult[Any]:
        target = settings.restricted_dir / "accounts.duckdb"
        rows = write_accounts(Path(warehouse.path), target, memory_limit=warehouse.memory_limit)
        return MaterializeResult(metadata={"dagster/row_count": rows, "file": MetadataValue.path(target)})

    @asset(
        key=PUBLICATION,
        metadata={"dagster/column_schema": source_schema("meta", "publication")},
        deps=[*from_dbt, CHECK_RESULT, ACCOUNTS],
        group_name="publication",
        kinds={"python", "duckdb"},
        pool=WRITER_POOL,
        description=(
            "What people read: every promised table in a fresh file, verified against its source, swapped in at once, "
            "with a Parquet mirror. Nothing is swapped when the content is what readers have already."
        ),
    )
    def publication(context: AssetExecutionContext, warehouse: WarehouseResource) -> MaterializeResult[Any]:
        made, is_new = publish(
            settings, promised, warehouse, progress=lambda name: context.log.info("copying %s", name)
        )
        rows: Mapping[str, int] = made.document["rows"]
        return MaterializeResult(
            metadata={
                "publication": made.publication_id,
                "is_new": is_new,
                "file": MetadataValue.path(PublicationStore(settings.published_dir).current_file),
                "tables": len(rows),
                "dagster/row_count": sum(rows.values()),
                "rows": MetadataValue.md(_rows_as_table(rows)),
                "as_of": str(made.document["as_of"]),
            }
        )

    return [check_result, accounts, publication]


def publish(
    settings: Settings,
    promised: Sequence[PromisedTable],
    warehouse: WarehouseResource,
    *,
    progress: Any = lambda _: None,
) -> tuple[Publication, bool]:
    """Builds, verifies and swaps in a publication, unless readers have the same content already.

    Returns:
        The publication that readers see, and whether it is new.

    Raises:
        IncompleteBuildError: If the build file is not of one piece.
        VerificationError: If the copy is not what was promised; readers keep what they have.
    """
    store = PublicationStore(settings.published_dir)
    published_at = datetime.now(UTC).replace(tzinfo=None)
    with warehouse.writer() as connection:
        expect_whole_build(connection)
        version = data_version(connection, settings)
        publication_id = f"{published_at:%Y%m%dT%H%M%S%f}Z-{version[:8]}"
        rows = {table.qualified_name: _count(connection, table.qualified_name) for table in promised}
        rows["meta.publication"] = 1
        document = {
            "publication_id": publication_id,
            "published_at": published_at.isoformat(),
            "as_of": str(_as_of(connection)),
            "data_version": version,
            "code_version": code_version(),
            "zhiying_version": product_version(),
            "model_versions": _model_versions(connection),
            "rows": rows,
        }
        write_publication_row(connection, document)
    scratch = store.scratch(publication_id)
    content = build_publication(
        Path(warehouse.path),
        scratch / "publication.duckdb",
        scratch / "parquet",
        promised,
        memory_limit=warehouse.memory_limit,
        progress=progress,
    )
    document["content"] = {name: table.checksum for name, table in content.items()}
    current = store.current()
    if current is not None and _same(current.document, document):
        shutil.rmtree(scratch)
        return current, False
    return store.put(scratch, document, keep=settings.keep_publications), True


def expect_whole_build(connection: duckdb.DuckDBPyConnection) -> None:
    """Refuses a build file whose tables are of different load batches, or of one that has not passed its tests.

    That is what a job over a part of the graph can leave: a load that was stopped by a check, say, and then lists of before.

    Raises:
        IncompleteBuildError: If either dbt pass was not built to the end from the present state of raw.
    """
    [present] = connection.execute("select batch, as_of from raw.run").fetchall()
    built = {name: row for name, *row in connection.execute("select pass, batch, as_of from meta.build").fetchall()}
    behind = [name for name in PASSES if built.get(name) != list(present)]
    if behind:
        raise IncompleteBuildError(
            f"Not published: {' and '.join(behind)} (dbt) was not built to the end and tested from what is loaded now; "
            "run everything (zhiying run, or the job everything)"
        )


def write_check_results(connection: duckdb.DuckDBPyConnection, rows: Sequence[Sequence[Any]]) -> None:
    """Replaces `quality.check_result` by the checks of this run.

    Args:
        connection: Writer of the build file.
        rows: check_name, table_name, status, severity, observed, expected, checked_at.
    """
    connection.execute("create schema if not exists quality")
    connection.execute("begin")
    connection.execute(
        "create or replace table quality.check_result (check_name varchar, table_name varchar, status varchar, "
        "severity varchar, observed varchar, expected varchar, checked_at timestamp)"
    )
    if rows:
        connection.executemany(
            "insert into quality.check_result values (?, ?, ?, ?, ?, ?, ?)", [list(row) for row in rows]
        )
    connection.execute("commit")


def write_publication_row(connection: duckdb.DuckDBPyConnection, document: Mapping[str, Any]) -> None:
    """Replaces the one row of `meta.publication`."""
    connection.execute("create schema if not exists meta")
    connection.execute(
        """
        create or replace table meta.publication as
        select
            $publication_id::varchar as publication_id,
            $published_at::timestamp as published_at,
            $as_of::timestamp as as_of,
            $data_version::varchar as data_version,
            $code_version::varchar as code_version,
            $model_versions::varchar as model_versions,
            $table_rows::varchar as table_rows,
            $zhiying_version::varchar as zhiying_version
        """,
        {
            **{
                key: document[key]
                for key in ("publication_id", "published_at", "as_of", "data_version", "code_version")
            },
            "model_versions": json.dumps(document["model_versions"], sort_keys=True),
            "table_rows": json.dumps(document["rows"], sort_keys=True),
            "zhiying_version": document["zhiying_version"],
        },
    )


def write_accounts(build_file: Path, target: Path, *, memory_limit: str) -> int:
    """Writes the restricted account list, whole or not at all.

    Args:
        build_file: The pipeline's own file.
        target: `accounts.duckdb` of the restricted folder.
        memory_limit: DuckDB memory limit.

    Returns:
        Number of accounts.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = target.with_name(".accounts.writing")
    scratch.unlink(missing_ok=True)
    with connect(scratch, memory_limit=memory_limit) as connection:
        scratch.chmod(0o600)
        connection.execute(f"attach {literal(str(build_file))} as build (read_only)")
        connection.execute(
            """
            create table account as
            select joined.user_key, account.platform, account.user_id
            from build.raw.account as account
            inner join build.intermediate.int_account__joined as joined on account.account_key = joined.account_key
            order by all
            """
        )
        rows = _count(connection, "account")
        connection.execute("detach build")
        connection.execute("checkpoint")
    os.replace(scratch, target)
    return rows


def _evaluations(context: AssetExecutionContext) -> list[tuple[AssetCheckEvaluation, datetime]]:
    records = context.instance.get_records_for_run(
        context.run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION, limit=10_000
    ).records
    return [
        (
            record.event_log_entry.dagster_event.asset_check_evaluation_data,
            datetime.fromtimestamp(record.event_log_entry.timestamp, UTC).replace(tzinfo=None),
        )
        for record in records
        if record.event_log_entry.dagster_event is not None
    ]


def _check_row(evaluation: AssetCheckEvaluation, checked_at: datetime) -> tuple[str, str, str, str, str, str, datetime]:
    metadata = {name: value.value for name, value in evaluation.metadata.items()}
    observed = metadata.get("observed", metadata.get("dagster_dbt/failed_row_count"))
    return (
        evaluation.check_name,
        ".".join(evaluation.asset_key.path),
        "passed" if evaluation.passed else "warned" if evaluation.severity == AssetCheckSeverity.WARN else "failed",
        evaluation.severity.value.lower(),
        str(observed if observed is not None else (0 if evaluation.passed else "see the run")),
        str(metadata.get("expected", "0 rows")),
        checked_at,
    )


def _same(current: Mapping[str, Any], built: Mapping[str, Any]) -> bool:
    def content(document: Mapping[str, Any]) -> dict[str, str]:
        return {name: value for name, value in document["content"].items() if name not in _ABOUT_THE_RUN}

    return content(current) == content(built) and all(
        current[version] == built[version] for version in ("data_version", "code_version")
    )


def _model_versions(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Versions by model, of every model that made a published row or was evaluated."""
    return dict(
        connection.execute(
            """
            with made as (
                select strategy as model, model_version from recommendations.user_item
                union
                select strategy, model_version from recommendations.item_item
                union
                select model, model_version from recommendations.evaluation
            )
            select model, list(model_version order by model_version) from made group by model order by model
            """
        ).fetchall()
    )


def _as_of(connection: duckdb.DuckDBPyConnection) -> datetime:
    row = connection.execute("select as_of from raw.run").fetchone()
    if row is None:
        raise LookupError("raw.run is empty; materialise the raw station first")
    moment: datetime = row[0]
    return moment


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    if not has_relation(connection, relation if "." in relation else f"main.{relation}"):
        return 0
    row = connection.execute(f"select count(*) from {relation}").fetchone()
    return int(row[0]) if row else 0


def _rows_as_table(rows: Mapping[str, int]) -> str:
    return "\n".join(
        ["| table | rows |", "| --- | ---: |", *(f"| {name} | {count:,} |" for name, count in rows.items())]
    )

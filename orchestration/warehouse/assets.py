"""dbt's models, seeds, snapshots and tests as assets and checks, in two passes.

The first pass builds everything up to the features and what accounts for the load; the second builds what stands downstream of
the Python models. What a model computes is written in `dbt_project`; here is only how it shows in the graph.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dagster import AssetExecutionContext, AssetKey, AssetsDefinition, Config, Output
from dagster_dbt import DagsterDbtTranslator, DbtCliInvocation, DbtCliResource, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from pydantic import Field

from orchestration.resources.dbt import load_manifest, point_dbt_at, release_build_file
from orchestration.resources.transient import retried_when_transient
from orchestration.resources.warehouse import WRITER_POOL, WarehouseResource
from orchestration.sql import has_relation
from orchestration.versions import warehouse_version
from orchestration.warehouse.column_lineage import KnownLineage

AFTER_MODELS = "tag:after_models"
# Names of the two passes, in their order, as they stand in `meta.build`.
PASSES = ("up_to_features", "after_models")


class DbtBuild(Config):
    """How a pass builds."""

    full_refresh: bool = Field(default=False, description="Build incremental tables anew from everything in raw.")


class StationTranslator(DagsterDbtTranslator):
    """Names of assets and groups: the key is schema and table, the group is the schema, which is the station."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> AssetKey:
        """`[schema, table]`, unless the resource names its key itself."""
        named = {**dbt_resource_props.get("meta", {}), **dbt_resource_props.get("config", {}).get("meta", {})}
        if named.get("dagster", {}).get("asset_key"):
            return super().get_asset_key(dbt_resource_props)
        table = dbt_resource_props.get("alias") or dbt_resource_props.get("identifier") or dbt_resource_props["name"]
        return AssetKey([dbt_resource_props["schema"], table])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """The station."""
        return str(dbt_resource_props["schema"])

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """What the contract says; the SQL is a click away and would hide it."""
        return str(dbt_resource_props.get("description", ""))


def build_warehouse_assets(*, target_root: Path) -> list[AssetsDefinition]:
    """The two passes.

    Args:
        target_root: Folder for what dbt writes (log, results, parsed project). Both passes share it, so that the second finds
            the project parsed: dbt parses anew when the path of the build file changes, that is, once a home.
    """
    manifest = load_manifest()
    translator = StationTranslator()

    def run_pass(
        context: AssetExecutionContext, dbt: DbtCliResource, warehouse: WarehouseResource, config: DbtBuild
    ) -> Iterator[Any]:
        point_dbt_at(Path(warehouse.path), warehouse.memory_limit)
        # Reading table metadata goes on in threads that each change the working directory and back (dagster-dbt 0.29.27); where
        # they overlap, the process would be left in the dbt project.
        with contextlib.chdir(Path.cwd()), retried_when_transient():
            full_refresh = config.full_refresh or incremental_tables_are_stale(warehouse)
            arguments = ["build", "--exclude-resource-type", "unit_test", *(["--full-refresh"] if full_refresh else [])]
            invocation = dbt.cli(arguments, context=context, target_path=target_root)
            try:
                yield from stream_with_table_metadata(invocation)
            finally:
                release_build_file()

    @dbt_assets(
        manifest=manifest,
        name="dbt_up_to_features",
        exclude=AFTER_MODELS,
        dagster_dbt_translator=translator,
        pool=WRITER_POOL,
    )
    def up_to_features(
        context: AssetExecutionContext, dbt: DbtCliResource, warehouse: WarehouseResource, config: DbtBuild
    ) -> Iterator[Any]:
        yield from run_pass(context, dbt, warehouse, config)
        if not context.is_subset:
            record_pass(warehouse, PASSES[0], of="raw.run")

    @dbt_assets(
        manifest=manifest,
        name="dbt_after_models",
        select=AFTER_MODELS,
        dagster_dbt_translator=translator,
        pool=WRITER_POOL,
    )
    def after_models(
        context: AssetExecutionContext, dbt: DbtCliResource, warehouse: WarehouseResource, config: DbtBuild
    ) -> Iterator[Any]:
        yield from run_pass(context, dbt, warehouse, config)
        if not context.is_subset:
            record_pass(warehouse, PASSES[1], of="meta.scored")

    return [up_to_features, after_models]


def stream_with_table_metadata(invocation: DbtCliInvocation) -> Iterator[Any]:
    """Checks as dbt reports them; tables, with rows, columns and column lineage, once dbt has let go of the build file.

    Recording a check takes as long as running it, so the two go on side by side. A failed invocation raises after the tables
    that it did build.
    """
    built: list[Any] = []
    failure: DagsterDbtCliRuntimeError | None = None
    try:
        for event in invocation.stream():
            if isinstance(event, Output):
                built.append(event)
            else:
                yield event
    except DagsterDbtCliRuntimeError as error:
        failure = error
    yield from KnownLineage(invocation.project_dir / "target", warehouse_version()).with_metadata(built, invocation)
    if failure is not None:
        raise failure


def incremental_tables_are_stale(warehouse: WarehouseResource) -> bool:
    """Whether incremental tables were built by another version of the dbt project or for another time zone.

    Their rows would then be of two kinds; they are built anew instead. So are those of a first build that broke off.
    """
    with warehouse.reader() as connection:
        if not has_relation(connection, "meta.build"):
            return True
        built = connection.execute(
            "select warehouse_version, build.time_zone = run.time_zone from meta.build as build, raw.run as run "
            "where build.pass = ?",
            [PASSES[0]],
        ).fetchall()
    return built != [(warehouse_version(), True)]


def record_pass(warehouse: WarehouseResource, name: str, *, of: str) -> None:
    """Notes that a pass was built to the end and passed its tests, by which version and from which load batch.

    What is published must be of one piece; `publication.assets.expect_whole_build` asks for these notes.

    Args:
        warehouse: The build file.
        name: Name of the pass.
        of: Table with the batch and the point in time that the pass was built from.
    """
    with warehouse.writer() as connection:
        connection.execute("create schema if not exists meta")
        connection.execute(
            "create table if not exists meta.build "
            "(pass varchar, warehouse_version varchar, time_zone varchar, batch bigint, as_of timestamp)"
        )
        connection.execute("begin")
        connection.execute("delete from meta.build where pass = ?", [name])
        connection.execute(
            f"insert into meta.build select ?, ?, time_zone, batch, as_of from {of}", [name, warehouse_version()]
        )
        connection.execute("commit")

"""Interactions, models and scored lists as assets.

An asset hands the next one the address of an artifact; the scored tables go into the build file, where dbt's second pass reads
them as sources.
"""

from typing import Any

import pyarrow as pa
from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetIn,
    AssetKey,
    AssetsDefinition,
    MaterializeResult,
    MetadataValue,
    Output,
    TableColumnDep,
    TableColumnLineage,
    asset,
)

from models_ml.rules import RulesReport
from orchestration.recommendations import steps
from orchestration.recommendations.charts import evaluation_picture
from orchestration.recommendations.tuning import read_tuned
from orchestration.resources.artifacts import ArtifactStore
from orchestration.resources.dbt import source_schema
from orchestration.resources.transient import retried_when_transient
from orchestration.resources.warehouse import WRITER_POOL, WarehouseResource
from orchestration.settings import Settings
from orchestration.versions import models_version

_GROUP = "recommendations"
INTERACTIONS = AssetKey([_GROUP, "interactions"])
MODELS = AssetKey([_GROUP, "models"])
_USER_ITEM = AssetKey([_GROUP, "scored_user_item"])
_CATALOGUE = [
    AssetKey(["core", name])
    for name in (
        "bridge_item_person",
        "bridge_item_topic",
        "dim_content",
        "dim_film",
        "dim_item",
        "dim_person",
        "dim_topic",
        "dim_user",
        "dim_user_history",
        "fct_interaction",
    )
]
_PREFERRED_ITEM = TableColumnDep(AssetKey(["features", "user_item_preference"]), "item_key")
# What nobody has had to do with is known from the catalogue only.
_ANY_ITEM = [_PREFERRED_ITEM, TableColumnDep(AssetKey(["core", "dim_item"]), "item_key")]


def addressed(key: AssetKey) -> AssetIn:
    """The input of an asset that takes the address of an artifact."""
    return AssetIn(key=key, input_manager_key="addresses")


def build_recommendation_assets(settings: Settings) -> list[AssetsDefinition]:
    """The Python assets of the station.

    Args:
        settings: Seed, sizes and lengths of lists.
    """
    config = steps.selection_config(settings)

    @asset(
        key=INTERACTIONS,
        deps=[AssetKey(["features", "user_item_preference"]), *_CATALOGUE],
        group_name=_GROUP,
        kinds={"python", "arrow"},
        io_manager_key="addresses",
        pool=WRITER_POOL,
        description=(
            "People x items with weight, strength and what was consumed, who the people are and what the items are about, stored "
            "under the hash of its content."
        ),
    )
    def interactions(
        context: AssetExecutionContext, warehouse: WarehouseResource, artifacts: ArtifactStore
    ) -> Output[str]:
        with retried_when_transient(), warehouse.reader() as connection:
            artifact = steps.collect_interactions(connection, artifacts)
        document = artifact.document
        return Output(
            artifact.address,
            metadata={
                "address": artifact.address,
                **{
                    name.replace("_", " "): document[name]
                    for name in (
                        "people",
                        "people_with_history",
                        "items",
                        "items_with_history",
                        "items_with_content",
                        "pairs",
                    )
                },
                "pairs by domain": MetadataValue.json(document["pairs_by_domain"]),
                "filled share of the matrix": document["pairs"] / max(1, document["people"] * document["items"]),
            },
        )

    @asset(
        key=MODELS,
        ins={"interactions": addressed(INTERACTIONS)},
        group_name=_GROUP,
        kinds={"python", "implicit"},
        io_manager_key="addresses",
        code_version=models_version(),
        description=(
            "Popularity, ALS, EASE, neighbours, content, models of the other side and blends of them: parameters searched and "
            "champions chosen on an inner split, judged on an outer one, fitted on everything. Trained once for the same input, "
            "code and parameters."
        ),
    )
    def models(context: AssetExecutionContext, artifacts: ArtifactStore, interactions: str) -> Output[str]:
        artifact, is_new = steps.train_models(
            artifacts.get(interactions),
            artifacts,
            config,
            lambda line: context.log.info("%s", line),
            read_tuned(settings.tuned_file),
        )
        for address in artifacts.prune("models", keep=settings.keep_publications):
            context.log.info("forgot %s", address)
        artifacts.prune("interactions", keep=settings.keep_publications)
        document = artifact.document
        return Output(
            artifact.address,
            metadata={
                "address": artifact.address,
                "trained now": is_new,
                "champions": MetadataValue.json(document["choice"]["champions"]),
                "parameters": MetadataValue.json(document["choice"]["configs"]),
                "seconds": MetadataValue.json(document["seconds"]),
                "costs": MetadataValue.md(costs_table(artifact.table("costs"))),
                "people evaluated": MetadataValue.json(document["choice"]["people"]),
            },
        )

    @asset(
        key=[_GROUP, "model_evaluation"],
        metadata={"dagster/column_schema": source_schema(_GROUP, "model_evaluation")},
        ins={"models": addressed(MODELS)},
        group_name=_GROUP,
        kinds={"python", "duckdb"},
        pool=WRITER_POOL,
        description="One row per model, target domain, segment, metric and cutoff, with its interval, on what was held out.",
    )
    def model_evaluation(
        context: AssetExecutionContext, warehouse: WarehouseResource, artifacts: ArtifactStore, models: str
    ) -> MaterializeResult[Any]:
        artifact = artifacts.get(models)
        with retried_when_transient(), warehouse.writer() as connection:
            rows = steps.write_evaluation(connection, artifact)
        return MaterializeResult(
            metadata={"dagster/row_count": rows, "picture": evaluation_picture(artifact.table("evaluation"))}
        )

    @asset(
        key=[_GROUP, "model_comparison"],
        metadata={"dagster/column_schema": source_schema(_GROUP, "model_comparison")},
        ins={"models": addressed(MODELS)},
        group_name=_GROUP,
        kinds={"python", "duckdb"},
        pool=WRITER_POOL,
        description="The champion of each target and segment against every other model, paired over the people, with its interval.",
    )
    def model_comparison(
        context: AssetExecutionContext, warehouse: WarehouseResource, artifacts: ArtifactStore, models: str
    ) -> MaterializeResult[Any]:
        with retried_when_transient(), warehouse.writer() as connection:
            rows = steps.write_comparison(connection, artifacts.get(models))
        return MaterializeResult(metadata={"dagster/row_count": rows})

    @asset(
        key=_USER_ITEM,
        metadata={"dagster/column_schema": source_schema(_GROUP, "scored_user_item")},
        ins={"models": addressed(MODELS), "interactions": addressed(INTERACTIONS)},
        deps=[
            AssetKey(["features", "user_item_preference"]),
            AssetKey(["seeds", "recommendation_rules"]),
            *_CATALOGUE,
        ],
        group_name=_GROUP,
        kinds={"python", "duckdb"},
        pool=WRITER_POOL,
        check_specs=[
            AssetCheckSpec(
                "rules_leave_no_list_empty",
                asset=_USER_ITEM,
                description="Warns of rules that emptied a list, or that change nothing because what they name is not there.",
            )
        ],
        description="One row per person, target domain and rank: everyone's list on both sides, without what was consumed.",
    )
    def scored_user_item(
        context: AssetExecutionContext,
        warehouse: WarehouseResource,
        artifacts: ArtifactStore,
        models: str,
        interactions: str,
        # With a check beside the table, dagster 1.13 knows a result by the bare class only.
    ) -> MaterializeResult:  # type: ignore[type-arg]
        with retried_when_transient(), warehouse.writer() as connection:
            written = steps.write_user_item(
                connection,
                artifacts.get(models),
                artifacts.get(interactions),
                list_length=settings.list_length,
                exploration=steps.exploration_config(settings),
            )
            strategies = dict(
                connection.execute(
                    "select target_domain || ': ' || strategy, count(distinct user_key) "
                    "from recommendations.scored_user_item group by all order by all"
                ).fetchall()
            )
        return MaterializeResult(
            metadata={
                "dagster/row_count": written.rows,
                "people by strategy": MetadataValue.json(strategies),
                "places decided by rules": MetadataValue.json(dict(written.report.places)),
                "lists shortened by rules": len(written.report.shortened),
                "costs": MetadataValue.md(costs_table(written.costs)),
                "dagster/column_lineage": TableColumnLineage(
                    {
                        "user_key": [TableColumnDep(AssetKey(["core", "dim_user"]), "user_key")],
                        "item_key": _ANY_ITEM,
                        **{
                            column: [_PREFERRED_ITEM]
                            for column in ("reason_item_key", "reason_item_key_2", "reason_item_key_3")
                        },
                    }
                ),
            },
            check_results=[judge_rules(written.report, written.warnings)],
        )

    @asset(
        key=[_GROUP, "scored_item_item"],
        metadata={"dagster/column_schema": source_schema(_GROUP, "scored_item_item")},
        ins={"models": addressed(MODELS), "interactions": addressed(INTERACTIONS)},
        group_name=_GROUP,
        kinds={"python", "duckdb"},
        pool=WRITER_POOL,
        description="One row per item, target domain and rank: items that the same people enjoy, within and across platforms.",
    )
    def scored_item_item(
        context: AssetExecutionContext,
        warehouse: WarehouseResource,
        artifacts: ArtifactStore,
        models: str,
        interactions: str,
    ) -> MaterializeResult[Any]:
        with retried_when_transient(), warehouse.writer() as connection:
            rows, costs = steps.write_item_item(
                connection, artifacts.get(models), artifacts.get(interactions), list_length=settings.related_length
            )
        lineage = TableColumnLineage(dict.fromkeys(("item_key", "related_item_key"), _ANY_ITEM))
        return MaterializeResult(
            metadata={
                "dagster/row_count": rows,
                "costs": MetadataValue.md(costs_table(costs)),
                "dagster/column_lineage": lineage,
            }
        )

    return [interactions, models, model_evaluation, model_comparison, scored_user_item, scored_item_item]


def judge_rules(report: RulesReport, warnings: tuple[str, ...]) -> AssetCheckResult:
    """The verdict on what rules did to lists.

    Args:
        report: What they did.
        warnings: A sentence for each rule that changes nothing.
    """
    found = [*warnings]
    if report.emptied:
        found.append(f"{len(report.emptied):,} of {report.lists:,} lists were emptied by exclusions")
    return AssetCheckResult(
        passed=not found,
        severity=AssetCheckSeverity.WARN,
        check_name="rules_leave_no_list_empty",
        asset_key=_USER_ITEM,
        description="; ".join(found) or None,
        metadata={
            "observed": len(report.emptied),
            "expected": "no list emptied, no idle rule",
            "lists shortened": len(report.shortened),
            "lists in which a cap gave way": report.relaxed,
            "people with an emptied list (first 20)": MetadataValue.json(list(report.emptied[:20])),
        },
    )


def costs_table(costs: pa.Table) -> str:
    """Markdown of what each model took, the dearest first.

    Args:
        costs: Rows of `models_ml.costs.COSTS_SCHEMA`.
    """
    lines = ["| model | targets | stage | seconds | peak memory (MB) |", "| --- | --- | --- | ---: | ---: |"]
    lines.extend(
        "| {model} | {target_domain} | {stage} | {seconds:.2f} | {peak_megabytes:,.0f} |".format(**row)
        for row in costs.sort_by([("seconds", "descending")]).to_pylist()
    )
    return "\n".join(lines)

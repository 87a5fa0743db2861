"""Segments of taste, what campaigns caused, what is planned next and what could be proposed, as assets; and lists handed over.

Tastes come first, from the models: whatever asks for segments asks for those of taste too. Measuring comes before planning,
because a plan learns from what earlier contacts caused. The tables go into the build file, where dbt's second pass reads them as
sources. Lists leave the house last of all, once readers see the plan that they belong to.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    MaterializeResult,
    MetadataValue,
    asset,
    multi_asset,
)

from orchestration.landing.ledger import data_version
from orchestration.marketing import charts
from orchestration.marketing.hand_over import hand_over
from orchestration.marketing.ledger import DecisionLedger
from orchestration.marketing.measuring import measure, write_measurement
from orchestration.marketing.outcomes import read_outcomes
from orchestration.marketing.planning import make_plan, write_plan
from orchestration.marketing.policies import measure_policies
from orchestration.marketing.proposing import propose, write_proposals
from orchestration.marketing.reliabilities import followed_reliability
from orchestration.marketing.tastes import find_tastes, write_tastes
from orchestration.recommendations.assets import INTERACTIONS, MODELS, addressed
from orchestration.resources.artifacts import ArtifactStore
from orchestration.resources.dbt import source_description, source_schema
from orchestration.resources.transient import retried_when_transient
from orchestration.resources.warehouse import WRITER_POOL, WarehouseResource, replace_table
from orchestration.settings import Settings

_GROUP = "marketing"
_PAST = AssetKey([_GROUP, "past_contact"])
_TASTES = ("taste_segment", "taste_stay", "observed_segment", "observed_stay", "known_segment", "known_membership")
_MEASURED = ("result", "day", "lift", "attribution", "rate", "reach", "reliability", "policy")
_DECIDED = ("plan", "campaign", "eligibility", "limit", "reliability", "contact", "uplift")
_CONTACT_LISTS = AssetKey(["exports", "contact_list"])


def _keys(*names: str) -> list[AssetKey]:
    return [AssetKey(name.split(".")) for name in names]


_LIKED = _keys(
    "core.dim_topic",
    "core.dim_user",
    "features.user_interest",
    "marketing.defined_segment",
    "marketing.defined_stay",
)
_OUTCOMES = _keys(
    "core.dim_campaign",
    "core.dim_user",
    "core.fct_exposure",
    "core.fct_interaction",
    "core.fct_purchase",
    "core.fct_rating",
    "core.fct_response",
    "marketing.known_membership",
    "staging.stg_marketing__responses",
)
_KNOWN_OF_PEOPLE = _keys(
    "core.dim_campaign",
    "core.dim_item",
    "core.dim_user",
    "core.fct_exposure",
    "core.fct_interaction",
    "core.fct_purchase",
    "core.fct_response",
    "intermediate.int_account__contactable",
    "marketing.known_membership",
    "marketing.known_segment",
    "marketing.measured_rate",
    "marketing.observed_segment",
    "recommendations.scored_user_item",
    "seeds.campaign_limits",
    "snapshots.snapshot_contents",
    "snapshots.snapshot_films",
    "staging.stg_marketing__responses",
)
_THEMES = _keys(
    "core.bridge_item_topic",
    "core.dim_campaign",
    "core.dim_item",
    "core.dim_topic",
    "core.fct_purchase",
    "features.user_interest",
    "intermediate.int_account__contactable",
    "marketing.known_membership",
    "marketing.known_segment",
    "marketing.measured_lift",
    "marketing.measured_rate",
    "recommendations.scored_user_item",
)


def build_marketing_assets(settings: Settings) -> list[AssetsDefinition]:
    """The Python assets of the station, and the hand-over.

    Args:
        settings: How tastes are clustered, days that are planned and handed over, and where decisions and lists are kept.
    """
    ledger = DecisionLedger(settings.decisions_dir)

    @multi_asset(
        name="tastes",
        specs=[_spec(name, [MODELS, INTERACTIONS, *_LIKED]) for name in _TASTES],
        ins={"models": addressed(MODELS), "interactions": addressed(INTERACTIONS)},
        pool=WRITER_POOL,
    )
    def tastes(
        context: AssetExecutionContext,
        warehouse: WarehouseResource,
        artifacts: ArtifactStore,
        models: str,
        interactions: str,
    ) -> Iterator[MaterializeResult[Any]]:
        with retried_when_transient(), warehouse.writer() as connection:
            found = find_tastes(connection, artifacts.get(models), artifacts.get(interactions), settings)
            write_tastes(connection, found)
            yield from _written(connection, {name: {} for name in _TASTES} | {"taste_segment": found.report})

    # Of the warehouse only whose accounts are whose is read.
    @multi_asset(
        name="past",
        specs=[_spec(f"past_{name}", _keys("intermediate.int_account__contactable")) for name in ("plan", "contact")],
        pool=WRITER_POOL,
    )
    def past(context: AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[MaterializeResult[Any]]:
        with retried_when_transient(), warehouse.writer() as connection:
            ledger.load(connection)
            yield from _written(connection, {"past_plan": {}, "past_contact": {}})

    @multi_asset(
        name="measured",
        specs=[_spec(f"measured_{name}", [_PAST, *_OUTCOMES]) for name in _MEASURED],
        pool=WRITER_POOL,
    )
    def measured(context: AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[MaterializeResult[Any]]:
        with retried_when_transient(), warehouse.writer() as connection:
            known = read_outcomes(connection)
            write_measurement(connection, measure(connection, known))
            replace_table(connection, f"{_GROUP}.measured_reliability", followed_reliability(connection))
            policies = measure_policies(connection, known, settings.seed)
            replace_table(connection, f"{_GROUP}.measured_policy", policies.table)
            yield from _written(
                connection,
                {
                    "measured_result": {
                        "lift": charts.lift_picture(connection),
                        "reach": charts.reach_picture(connection),
                    },
                    "measured_day": {"budget": charts.pacing_picture(connection)},
                    "measured_lift": {},
                    "measured_attribution": {},
                    "measured_rate": {},
                    "measured_reach": {},
                    "measured_reliability": {"reliability": charts.reliability_picture(connection)},
                    "measured_policy": {
                        "policies": charts.policy_picture(connection),
                        "qini": charts.qini_picture(policies.decisions),
                    },
                },
            )

    @multi_asset(
        name="decided",
        specs=[_spec(f"decided_{name}", [_PAST, *_KNOWN_OF_PEOPLE]) for name in _DECIDED],
        pool=WRITER_POOL,
    )
    def decided(
        context: AssetExecutionContext, warehouse: WarehouseResource, artifacts: ArtifactStore
    ) -> Iterator[MaterializeResult[Any]]:
        with retried_when_transient(), warehouse.writer() as connection:
            plan, is_new = make_plan(
                connection,
                artifacts,
                settings,
                data_version=data_version(connection, settings),
                committed=ledger.commitments(),
            )
            write_plan(connection, plan)
            seen = {"eligibility": {"reach": charts.planned_picture(connection)}}
            yield from _written(connection, {f"decided_{name}": seen.get(name, {}) for name in _DECIDED})
        context.log.info("%s %s", "planned" if is_new else "found", plan.address)
        artifacts.prune("plan", keep=settings.keep_publications)

    @asset(
        key=[_GROUP, "proposed_campaign"],
        metadata={"dagster/column_schema": source_schema(_GROUP, "proposed_campaign")},
        deps=_THEMES,
        group_name=_GROUP,
        kinds={"python", "duckdb"},
        pool=WRITER_POOL,
        description=source_description(_GROUP, "proposed_campaign"),
    )
    def proposed_campaign(context: AssetExecutionContext, warehouse: WarehouseResource) -> MaterializeResult[Any]:
        with retried_when_transient(), warehouse.writer() as connection:
            proposals = propose(connection, settings)
            write_proposals(connection, proposals)
        return MaterializeResult(
            metadata={
                "dagster/row_count": proposals.num_rows,
                "best": MetadataValue.json(proposals["name"][:5].to_pylist()),
            }
        )

    @asset(
        key=_CONTACT_LISTS,
        deps=[
            AssetKey(["meta", "publication"]),
            AssetKey(["restricted", "account"]),
            AssetKey([_GROUP, "decided_contact"]),
        ],
        group_name="publication",
        kinds={"python", "parquet"},
        pool=WRITER_POOL,
        description=(
            "Lists for those who deliver, a folder per day and a file per campaign and channel, with accounts of the platforms "
            "(mode 0600). Decisions are committed to the ledger first; a list that is there already stays as it is."
        ),
    )
    def contact_list(
        context: AssetExecutionContext, warehouse: WarehouseResource, artifacts: ArtifactStore
    ) -> MaterializeResult[Any]:
        with retried_when_transient(), warehouse.reader() as connection:
            made = hand_over(connection, artifacts, settings)
        return MaterializeResult(metadata=made.metadata())

    return [tastes, past, measured, decided, proposed_campaign, contact_list]


def _spec(table: str, deps: list[AssetKey]) -> AssetSpec:
    return AssetSpec(
        [_GROUP, table],
        deps=[AssetDep(key) for key in deps],
        description=source_description(_GROUP, table),
        metadata={"dagster/column_schema": source_schema(_GROUP, table)},
        group_name=_GROUP,
        kinds={"python", "duckdb"},
    )


def _written(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Mapping[str, Any]]
) -> Iterator[MaterializeResult[Any]]:
    """Each table of a step with its number of rows and what there is to look at."""
    for table, seen in tables.items():
        ((rows,),) = connection.execute(f"select count(*) from {_GROUP}.{table}").fetchall()
        yield MaterializeResult(asset_key=AssetKey([_GROUP, table]), metadata={"dagster/row_count": rows, **seen})

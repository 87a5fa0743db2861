"""The code location: the only place where the graph is put together.

`build_definitions` returns a fresh graph for the given settings, so a test builds the real one over a temporary home. Dagster
itself finds the lazily built `defs`; nothing is read from the environment when this module is merely imported.
"""

from collections.abc import Mapping
from typing import Any

from dagster import Definitions, definitions, in_process_executor

from orchestration.automation.jobs import build_jobs
from orchestration.automation.policies import with_policies
from orchestration.automation.schedules import build_schedules
from orchestration.automation.sensors import build_sensors
from orchestration.landing.assets import build_landing_assets
from orchestration.marketing.assets import build_marketing_assets
from orchestration.publication.assets import build_publication_assets
from orchestration.publication.promise import promised_tables
from orchestration.recommendations.assets import build_recommendation_assets
from orchestration.recommendations.checks import build_recommendation_checks
from orchestration.resources.artifacts import AddressIOManager, ArtifactStore
from orchestration.resources.dbt import dbt_resource, load_manifest, point_dbt_at
from orchestration.resources.warehouse import WarehouseResource
from orchestration.settings import Settings
from orchestration.warehouse.assets import build_warehouse_assets


def build_definitions(settings: Settings, overrides: Mapping[str, Any] | None = None) -> Definitions:
    """Puts the graph together.

    Args:
        settings: Where it works and with which numbers.
        overrides: Replaces resources by name (`resources`) or adds jobs (`jobs`).

    Returns:
        A fresh graph; two calls share nothing.
    """
    overrides = overrides or {}
    point_dbt_at(settings.warehouse_file, settings.memory_limit)
    published = {table.qualified_name for table in promised_tables(load_manifest())}
    assets = [
        *build_landing_assets(settings),
        *build_warehouse_assets(target_root=settings.dagster_dir / "dbt"),
        *build_recommendation_assets(settings),
        *build_marketing_assets(settings),
        *build_publication_assets(settings),
    ]
    resources = {
        "warehouse": WarehouseResource(path=str(settings.warehouse_file), memory_limit=settings.memory_limit),
        "dbt": dbt_resource(),
        "artifacts": ArtifactStore(root=str(settings.models_dir)),
        "addresses": AddressIOManager(root=str(settings.models_dir / "addresses")),
    }
    return Definitions(
        assets=with_policies(assets, published=published),
        asset_checks=build_recommendation_checks(),
        jobs=[*build_jobs(), *overrides.get("jobs", [])],
        schedules=build_schedules(settings),
        sensors=build_sensors(settings),
        resources={**resources, **overrides.get("resources", {})},
        # One process: a step in its own would cost seconds before the first line of it runs.
        executor=in_process_executor,
    )


@definitions
def defs() -> Definitions:
    """The code location that Dagster loads, for the settings of the environment."""
    return build_definitions(Settings.from_environment())

"""Policies written once over a selection, never per asset: owners, tags, retries, freshness."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from dagster import AssetsDefinition, AssetSpec, FreshnessPolicy

# Who answers for a station. Teams, because people change.
_OWNERS: Mapping[str, str] = {
    "landing": "team:data-engineering",
    "raw": "team:data-engineering",
    "seeds": "team:data-engineering",
    "staging": "team:data-engineering",
    "snapshots": "team:data-engineering",
    "intermediate": "team:data-engineering",
    "core": "team:data-engineering",
    "quality": "team:data-engineering",
    "features": "team:recommendations",
    "recommendations": "team:recommendations",
    "marketing": "team:marketing-analytics",
    "publication": "team:data-engineering",
}

# A publication is expected every day; the windows leave room for one late delivery and for one failed night.
_FRESH_FOR_READERS = FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=26))


def with_policies(assets: list[AssetsDefinition | AssetSpec], *, published: set[str]) -> list[Any]:
    """Returns the assets with owners, tags and freshness.

    Args:
        assets: Every asset of the code location.
        published: Qualified names of the tables that readers are promised.
    """

    def policy(spec: AssetSpec) -> AssetSpec:
        station = spec.group_name or "default"
        name = ".".join(spec.key.path)
        spec = spec.replace_attributes(
            owners=[_OWNERS[station]],
            tags={**spec.tags, "station": station, **({"published": "true"} if name in published else {})},
        )
        return spec.replace_attributes(freshness_policy=_FRESH_FOR_READERS) if name in published else spec

    return [_mapped(asset, policy) for asset in assets]


def _mapped(asset: AssetsDefinition | AssetSpec, change: Callable[[AssetSpec], AssetSpec]) -> Any:
    return change(asset) if isinstance(asset, AssetSpec) else asset.map_asset_specs(change)

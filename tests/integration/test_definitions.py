"""The graph as Dagster sees it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetsDefinition, AssetSpec, Definitions

from orchestration.definitions import build_definitions
from orchestration.resources.dbt import load_manifest
from orchestration.settings import Settings

SNAPSHOT = Path(__file__).with_name("asset_specs.json")
STATIONS = {
    "landing",
    "raw",
    "seeds",
    "staging",
    "snapshots",
    "intermediate",
    "core",
    "features",
    "recommendations",
    "marketing",
    "quality",
    "publication",
}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Definitions:
    home = tmp_path_factory.mktemp("home")
    return build_definitions(Settings(home=home, landing=home / "landing"))


@pytest.fixture(scope="module")
def specs(graph: Definitions) -> list[AssetSpec]:
    return list(graph.resolve_all_asset_specs())


def described(spec: AssetSpec) -> dict[str, Any]:
    return {
        "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        "group": spec.group_name,
        "owners": list(spec.owners),
        "kinds": sorted(spec.kinds),
    }


def test_every_asset_is_as_it_was_agreed(specs: list[AssetSpec]) -> None:
    """A change of the graph shows as a change of the snapshot; UPDATE_SNAPSHOTS=1 writes it anew."""
    found = {spec.key.to_user_string(): described(spec) for spec in specs}
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(SNAPSHOT.read_text())


def test_every_asset_can_be_read_about(specs: list[AssetSpec]) -> None:
    lacking = [
        spec.key.to_user_string()
        for spec in specs
        if not (spec.description and spec.owners and spec.kinds and spec.tags.get("station"))
    ]
    assert lacking == []


def test_groups_are_the_stations(specs: list[AssetSpec]) -> None:
    assert {spec.group_name for spec in specs} == STATIONS


def test_lineage_is_unbroken_from_landing_to_the_publication(specs: list[AssetSpec]) -> None:
    upstream = {spec.key: {dep.asset_key for dep in spec.deps} for spec in specs}
    reached, waiting = set(), [key for key in upstream if key.path == ["meta", "publication"]]
    while waiting:
        key = waiting.pop()
        if key not in reached:
            reached.add(key)
            waiting.extend(upstream[key])
    landing = {spec.key for spec in specs if spec.group_name == "landing"}
    assert landing <= reached
    sources = {key for key in reached if not upstream[key]}
    assert {key.path[0] for key in sources} <= {"landing", "seeds"}


def test_every_asset_that_writes_the_build_file_is_in_the_writers_pool(graph: Definitions) -> None:
    writers = {"raw", "dbt_up_to_features", "dbt_after_models"}
    pools = {
        definition.op.name: definition.op.pool
        for definition in graph.assets or []
        if isinstance(definition, AssetsDefinition) and definition.is_executable
    }
    assert {name: pools[name] for name in writers} == dict.fromkeys(writers, "warehouse_writer")
    assert {name for name, pool in pools.items() if pool is None} <= {
        "recommendations__models",
    }


def test_published_tables_have_a_freshness_policy(specs: list[AssetSpec]) -> None:
    published = [spec for spec in specs if spec.tags.get("published") == "true"]
    assert len(published) >= 20
    assert [spec.key for spec in published if spec.freshness_policy is None] == []


def test_every_table_shows_its_columns_with_a_description_each(specs: list[AssetSpec]) -> None:
    artifacts_and_files = {"interactions", "models", "account", "contact_list"}
    tables = [s for s in specs if s.group_name != "landing" and s.key.path[-1] not in artifacts_and_files]
    lacking = [
        s.key.to_user_string()
        for s in tables
        if not (schema := s.metadata.get("dagster/column_schema")) or not all(c.description for c in schema.columns)
    ]
    assert lacking == []


def test_every_data_test_of_dbt_is_a_check_in_the_graph(graph: Definitions) -> None:
    """One over several tables has to name the one that it belongs to, or it would only be an observation."""
    tests = {node["name"] for node in load_manifest()["nodes"].values() if node["resource_type"] == "test"}
    checks = {key.name for key in graph.resolve_asset_graph().asset_check_keys}
    assert tests - checks == set()


def test_two_graphs_share_nothing(tmp_path: Path) -> None:
    first, second = (build_definitions(Settings(home=tmp_path / n, landing=tmp_path)) for n in ("a", "b"))
    assert first.resources["warehouse"].path != second.resources["warehouse"].path


@pytest.mark.parametrize("job", ["everything", "warehouse", "recommendations"])
def test_a_job_resolves(graph: Definitions, job: str) -> None:
    assert graph.resolve_job_def(job).nodes


def test_the_recommendations_job_builds_the_second_pass_as_a_whole(graph: Definitions) -> None:
    """A pass over a part of its tables is not noted as built, and the publication would be refused."""
    selected = graph.resolve_job_def("recommendations").asset_layer.selected_asset_keys
    second_pass = next(
        definition
        for definition in graph.assets or []
        if isinstance(definition, AssetsDefinition) and definition.op.name == "dbt_after_models"
    )
    assert set(second_pass.keys) <= set(selected)


def test_the_warehouse_job_trains_and_publishes_nothing(graph: Definitions) -> None:
    names = {node.name for node in graph.resolve_job_def("warehouse").nodes}
    assert names == {"raw", "dbt_up_to_features"}

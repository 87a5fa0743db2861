"""Segments of taste as the graph makes them: from trained factors and the features of a small warehouse to tables and views."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from models_ml.als import ALSConfig
from models_ml.cold_items import ColdItemsConfig
from models_ml.evaluation import EVALUATION_SCHEMA
from models_ml.ials import IALSConfig
from models_ml.model import ModelConfig
from models_ml.popularity import PopularityConfig
from models_ml.registry import fit_model
from models_ml.selection import FittedModels
from orchestration.marketing.tastes import TasteSegments, best_joint_factors, find_tastes, write_tastes
from orchestration.recommendations import steps
from orchestration.resources.artifacts import Artifact, ArtifactStore
from orchestration.settings import Settings
from tests.integration.test_training import WAREHOUSE

# 120 people of three tastes, a third of each; what a person likes is mostly of one topic.
LIKED = """
create schema marketing;
create table features.user_interest as
with strengths as (
    select preferences.user_key, topics.topic_key, sum(preferences.weight) as strength
    from features.user_item_preference as preferences
    inner join core.bridge_item_topic as topics on preferences.item_key = topics.item_key
    group by all
)
select user_key, topic_key, strength / sum(strength) over (partition by user_key) as weight from strengths;

create table marketing.defined_segment as
select 'lifecycle:joined:new' as segment_key, 'lifecycle' as family, 'New' as name, 'joined' as platform, 'Is new.' as definition;
create table marketing.defined_stay as
select 'lifecycle:joined:new' as segment_key, user_key, timestamp '2026-01-01' as entered_at,
    if(user_key = 'u001', timestamp '2026-02-01', null) as exited_at
from core.dim_user where user_key in ('u001', 'u002');
"""
AS_OF = datetime(2026, 6, 1, 12)
JOINT = ALSConfig(factors=8, regularization=1.0)


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(WAREHOUSE)
        connection.execute(LIKED)
        yield connection


class Trained:
    """Models that were fitted on the warehouse, as artifacts."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path, *configs: ModelConfig) -> None:
        self.connection, self.settings = connection, Settings(home=folder, landing=folder, taste_clusters=3)
        store = ArtifactStore(root=str(folder))
        self.interactions = steps.collect_interactions(connection, store)
        history = steps.load_interactions(self.interactions)
        fitted = {config.name: fit_model(history, config) for config in configs}
        manifest, arrays = FittedModels(history.item_keys, fitted, {}, None).to_arrays()
        self.models: Artifact = store.put(
            "models-test",
            document={"fitted": manifest},
            arrays={"models": arrays},
            tables={"evaluation": EVALUATION_SCHEMA.empty_table()},
        )

    def found(self, **settings: Any) -> TasteSegments:
        return find_tastes(self.connection, self.models, self.interactions, replace(self.settings, **settings))

    def written(self, found: TasteSegments) -> list[tuple[Any, ...]]:
        write_tastes(self.connection, found)
        return self.connection.execute("from marketing.known_membership order by all").fetchall()


@pytest.fixture
def trained(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> Trained:
    return Trained(warehouse, tmp_path, JOINT, PopularityConfig())


def test_people_of_one_taste_are_one_segment_that_is_called_by_it(trained: Trained) -> None:
    found = trained.found()
    assert sorted(found.segments["segment_key"].to_pylist()) == [f"taste:joined:t{taste}" for taste in range(3)]
    assert sorted(found.segments["name"].to_pylist()) == [f"Taste {taste}" for taste in range(3)]
    assert found.members.num_rows == 120
    for row in found.members.to_pylist():
        assert row["segment_key"] == f"taste:joined:t{int(row['user_key'][1:]) % 3}"
    assert found.report["people"] == dict.fromkeys(found.segments["name"].to_pylist(), 40)
    assert "at least 5 items" in found.segments["definition"][0].as_py()
    assert "3 clusters" in found.segments["definition"][0].as_py()


def test_the_views_hold_the_segments_of_both_kinds_and_who_is_in_them_now(trained: Trained) -> None:
    rows = trained.written(trained.found())
    assert rows[:2] == [
        ("lifecycle:joined:new", "u001", False, datetime(2026, 1, 1), datetime(2026, 2, 1)),
        ("lifecycle:joined:new", "u002", True, datetime(2026, 1, 1), None),
    ]
    assert len(rows) == 122
    assert {(is_current, entered, exited) for _, _, is_current, entered, exited in rows[2:]} == {(True, AS_OF, None)}
    keys = trained.connection.execute("select segment_key, family from marketing.known_segment order by 1").fetchall()
    assert keys == [("lifecycle:joined:new", "lifecycle"), *((f"taste:joined:t{n}", "taste") for n in range(3))]


def test_a_second_run_writes_the_same(trained: Trained) -> None:
    assert trained.written(trained.found()) == trained.written(trained.found())


def test_whoever_has_done_little_is_in_no_taste(trained: Trained) -> None:
    items = dict(
        trained.connection.execute(
            "select user_key, count(*) from features.user_item_preference group by all"
        ).fetchall()
    )
    least = sorted(items.values())[60]
    found = trained.found(taste_min_items=least)
    assert set(found.members["user_key"].to_pylist()) == {user for user, count in items.items() if count >= least}
    assert 0 < found.members.num_rows < 120


@pytest.mark.parametrize(
    ("configs", "settings", "reason"),
    [
        ([PopularityConfig()], {}, "No model with factors"),
        ([ALSConfig(domain="film"), PopularityConfig()], {}, "No model with factors"),
        ([JOINT, PopularityConfig()], {"taste_min_items": 1000}, "0 people have had to do with 1000 items"),
    ],
)
def test_without_factors_or_people_there_are_no_tastes_and_the_others_stay(
    warehouse: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    configs: list[ModelConfig],
    settings: dict[str, int],
    reason: str,
) -> None:
    made = Trained(warehouse, tmp_path, *configs)
    found = made.found(**settings)
    assert reason in found.report["none"]
    assert [row[1] for row in made.written(found)] == ["u001", "u002"]
    assert warehouse.execute("select count(*) from marketing.known_segment").fetchall() == [(1,)]


def test_the_joint_model_that_ranks_best_tells_the_tastes(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    content = ColdItemsConfig(base=JOINT)
    made = Trained(warehouse, tmp_path, JOINT, content, IALSConfig(factors=8), ALSConfig(domain="film"))
    models = steps.load_models(made.models)

    def judged(**values: list[tuple[str, float]]) -> pa.Table:
        rows = [
            {
                "model_version": version,
                "metric": "ndcg",
                "cutoff": 10,
                "segment": "warm",
                "split": split,
                "value": value,
                "target_domain": f"side {side}",
            }
            for version, found in values.items()
            for side, (split, value) in enumerate(found)
        ]
        return pa.Table.from_pylist(rows, EVALUATION_SCHEMA)

    held_out, at_once = "time_per_user", "global_time"
    # The mean over the sides counts; who is judged at one point in time, or for one side only, is not ahead by it.
    table = judged(
        als=[(held_out, 0.9)],
        als_joint=[(held_out, 0.1), (held_out, 0.2), (at_once, 0.9)],
        als_content=[(held_out, 0.3), (held_out, 0.1)],
    )
    version, model = best_joint_factors(models, table) or ("", None)
    assert (version, model) == ("als_content", models.models["als_content"].base)
    best = best_joint_factors(models, judged(ials_joint=[(held_out, 0.01)]))
    assert best is not None
    assert best[0] == "ials_joint"

"""What the assets of the station do, without the graph: read from the warehouse, call `models_ml`, write back.

Here tables and artifacts meet the library; how a model works is in `models_ml`, when a step runs is in `assets`.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import duckdb
import pyarrow as pa

from models_ml import (
    RELATED_SCHEMA,
    SCORED_SCHEMA,
    EvaluationConfig,
    FittedModels,
    Interactions,
    SearchConfig,
    SelectionConfig,
    SplitConfig,
    fit_models,
    interactions_from_arrow,
    score_people,
    score_related_items,
    select_models,
)
from orchestration.resources.artifacts import Artifact, ArtifactStore
from orchestration.settings import Settings
from orchestration.versions import models_version

DOMAINS = ("film", "knowledge")
SCHEMA = "recommendations"


def selection_config(settings: Settings) -> SelectionConfig:
    """The whole protocol with the settings' seed and size."""
    return SelectionConfig(
        split=replace(SplitConfig(), seed=settings.seed),
        search=replace(SearchConfig(), seed=settings.seed, max_people=settings.evaluated_people),
        evaluation=replace(EvaluationConfig(), seed=settings.seed),
    )


def collect_interactions(connection: duckdb.DuckDBPyConnection, store: ArtifactStore) -> Artifact:
    """Stores the preferences of the warehouse under the hash of their content.

    Args:
        connection: Reader of the build file.
        store: Where artifacts are kept.
    """
    table = connection.execute(
        """
        select user_key, item_key, domain, weight, strength, is_consumed, last_at
        from features.user_item_preference
        order by user_key, item_key
        """
    ).to_arrow_table()
    interactions = interactions_from_arrow(table, domains=DOMAINS)
    address = store.address("interactions", inputs=[interactions.fingerprint()], code="", parameters={})
    users, items = interactions.shape
    document = {
        "people": users,
        "items": items,
        "pairs": interactions.entries,
        "pairs_by_domain": {domain: int(interactions.domain_mask(domain).sum()) for domain in DOMAINS},
        "consumed": int(interactions.is_consumed.sum()),
    }
    return store.put(address, document=document, tables={"preference": table})


def load_interactions(artifact: Artifact) -> Interactions:
    """The interactions of an artifact that `collect_interactions` stored."""
    return interactions_from_arrow(artifact.table("preference"), domains=DOMAINS)


def train_models(
    interactions: Artifact,
    store: ArtifactStore,
    config: SelectionConfig,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Artifact, bool]:
    """Chooses the models by evaluation and fits them on everything, unless that was done before.

    Args:
        interactions: What to learn from.
        store: Where artifacts are kept.
        config: The protocol.
        progress: Told each step that takes time.

    Returns:
        The artifact, and whether it was made now.
    """
    address = store.address("models", inputs=[interactions.address], code=models_version(), parameters=config.to_json())
    found = store.find(address)
    if found is not None:
        return found, False
    started = time.perf_counter()
    history = load_interactions(interactions)
    selection = select_models(history, config, progress)
    selected = time.perf_counter()
    fitted = fit_models(history, selection)
    manifest, arrays = fitted.to_arrays()
    document = {
        "choice": selection.to_json(),
        "fitted": manifest,
        "config": config.to_json(),
        "seconds": {
            "search and evaluation": round(selected - started, 2),
            "fitting": round(time.perf_counter() - selected, 2),
        },
    }
    tables = {"evaluation": selection.evaluation, "comparison": selection.comparison, "search": selection.search}
    return store.put(address, document=document, arrays={"models": arrays}, tables=tables), True


def load_models(artifact: Artifact) -> FittedModels:
    """The models of an artifact that `train_models` stored."""
    return FittedModels.from_arrays(artifact.document["fitted"], artifact.arrays("models"))


def write_evaluation(connection: duckdb.DuckDBPyConnection, models: Artifact) -> int:
    """Replaces `recommendations.model_evaluation`; returns its number of rows."""
    table = models.table("evaluation")
    return _replace(connection, "model_evaluation", pa.RecordBatchReader.from_batches(table.schema, table.to_batches()))


def write_user_item(
    connection: duckdb.DuckDBPyConnection, models: Artifact, interactions: Artifact, *, list_length: int
) -> int:
    """Replaces `recommendations.scored_user_item` by lists for every person of `core.dim_user`; returns its number of rows."""
    user_keys = connection.execute("select user_key from core.dim_user order by user_key").to_arrow_table()["user_key"]
    batches = score_people(load_models(models), load_interactions(interactions), user_keys, k=list_length)
    rows = _replace(connection, "scored_user_item", _reader(SCORED_SCHEMA, batches))
    # Which state of the warehouse the lists are of; the marts take it over (see `warehouse.assets.record_pass`).
    connection.execute("create schema if not exists meta")
    connection.execute("create or replace table meta.scored as select time_zone, batch, as_of from raw.run")
    return rows


def write_item_item(
    connection: duckdb.DuckDBPyConnection, models: Artifact, interactions: Artifact, *, list_length: int
) -> int:
    """Replaces `recommendations.scored_item_item` by the neighbours of every item with history; returns its number of rows."""
    batches = score_related_items(load_models(models), load_interactions(interactions), k=list_length)
    return _replace(connection, "scored_item_item", _reader(RELATED_SCHEMA, batches))


def _reader(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(schema, batches)


def _replace(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.RecordBatchReader) -> int:
    """Replaces a table of the station by streamed rows, whole or not at all."""
    connection.execute(f"create schema if not exists {SCHEMA}")
    connection.register("scored_rows", rows)
    try:
        connection.execute(f"create or replace table {SCHEMA}.{table} as from scored_rows")
    finally:
        connection.unregister("scored_rows")
    return int(connection.execute(f"select count(*) from {SCHEMA}.{table}").fetchall()[0][0])

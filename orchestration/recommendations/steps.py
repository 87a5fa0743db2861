"""What the assets of the station do, without the graph: read from the warehouse, call `models_ml`, write back.

Here tables and artifacts meet the library; how a model works is in `models_ml`, when a step runs is in `assets`.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast, get_args
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa

from models_ml.blend import Calibration
from models_ml.candidates import candidate_names
from models_ml.content import ItemContent, item_content_from_arrow
from models_ml.costs import Ledger
from models_ml.evaluation import EvaluationConfig
from models_ml.exploration import ExplorationConfig
from models_ml.interactions import Interactions, interactions_from_arrow
from models_ml.related import RELATED_SCHEMA, score_related_items
from models_ml.rules import RulesReport, rules_from_arrow
from models_ml.scoring import SCORED_SCHEMA, ListMaker, ScoringConfig
from models_ml.search import SearchConfig
from models_ml.selection import FittedModels, Known, SelectionConfig, fit_models, select_models
from models_ml.split import SplitConfig
from models_ml.traits import traits_from_arrow
from orchestration.recommendations.memory import PeakMemory
from orchestration.resources.artifacts import Artifact, ArtifactStore
from orchestration.resources.warehouse import replace_table
from orchestration.settings import Settings, SettingsError
from orchestration.versions import models_version

DOMAINS = ("film", "knowledge")
SCHEMA = "recommendations"
TRAITS = ("country", "region", "device", "gender", "birth_decade")

_PREFERENCES = """
select user_key, item_key, domain, weight, strength, is_consumed, last_at
from features.user_item_preference
where may_be_personalised = $may_be_personalised
order by user_key, item_key
"""

# The time of a run that looks back, infinity for any other: with its time at the latest event there is, nothing is yet to come, and
# what the platforms have delivered is what they show and know now.
_HORIZON = """
horizon as (
    select if(as_of < (select max(occurred_at) from core.fct_interaction), as_of, timestamp 'infinity') as seen_until
    from raw.run
)
"""

# Who people were by then. Of those who came later their first version is known: they get lists too, and what it says of them does
# not come from what they did.
_VERSIONS = f"""
with {_HORIZON}

select versions.*, users.may_be_personalised
from core.dim_user_history as versions
inner join core.dim_user as users on versions.user_key = users.user_key
cross join horizon
where versions.valid_from <= horizon.seen_until or versions.version_number = 1
qualify row_number() over (partition by versions.user_key order by versions.version_number desc) = 1
"""

# Everyone is among the people, to be served; who may not be profiled without anything that could tell them from others.
_PEOPLE = f"""
select user_key, {", ".join(f"if(may_be_personalised, {trait}, null) as {trait}" for trait in TRAITS)}
from ({_VERSIONS})
order by user_key
"""

# What they are all the same decides what rules keep from them.
_UNPROFILED = f"""
select user_key, {", ".join(TRAITS)}
from ({_VERSIONS})
where not may_be_personalised
order by user_key
"""

# Whatever a platform can show by then, whether anybody has had to do with it or not, and all that is said about it. What people
# already had to do with was there, whatever its date says.
_ITEMS = f"""
with {_HORIZON},

topics as (
    select bridges.item_key, list(topics.topic order by topics.topic) as topics
    from core.bridge_item_topic as bridges
    inner join core.dim_topic as topics on bridges.topic_key = topics.topic_key
    group by all
),

people as (
    select bridges.item_key, list(distinct people.person_name order by people.person_name) as people
    from core.bridge_item_person as bridges
    inner join core.dim_person as people on bridges.person_key = people.person_key
    group by all
)

select
    items.item_key,
    items.domain,
    items.item_id,
    items.title,
    items.kind,
    items.language,
    items.series,
    concat_ws(' ', contents.summary, films.original_title, films.synopsis) as text,
    topics.topics,
    people.people
from core.dim_item as items
left join core.dim_content as contents on items.item_key = contents.item_key
left join core.dim_film as films on items.item_key = films.item_key
left join topics on items.item_key = topics.item_key
left join people on items.item_key = people.item_key
cross join horizon
where
    coalesce(contents.published_at, cast(items.published_date as timestamp), horizon.seen_until) <= horizon.seen_until
    or items.item_key in (select item_key from features.user_item_preference)
order by items.item_key
"""


def selection_config(settings: Settings) -> SelectionConfig:
    """The whole protocol with the settings' seed, size and candidates, and what is explored.

    Raises:
        SettingsError: If a candidate or a calibration is not known.
    """
    known = candidate_names()
    if unknown := sorted(set(settings.candidates or ()) - set(known)):
        raise SettingsError(f"ZHIYING_CANDIDATES: no model is named {', '.join(unknown)}; known are {', '.join(known)}")
    if unknown := sorted(set(settings.blend_calibrations) - set(get_args(Calibration))):
        raise SettingsError(
            f"ZHIYING_BLEND_CALIBRATIONS: {', '.join(unknown)} is none; known are {', '.join(get_args(Calibration))}"
        )
    return SelectionConfig(
        candidates=None if settings.candidates is None else tuple(sorted(set(settings.candidates))),
        split=replace(SplitConfig(), seed=settings.seed),
        search=replace(SearchConfig(), seed=settings.seed, max_people=settings.evaluated_people),
        evaluation=replace(EvaluationConfig(), seed=settings.seed),
        # Where nothing is explored, how it would be is no reason to train again.
        exploration=exploration_config(settings) if settings.exploration_share else ExplorationConfig(),
        blend_calibrations=cast(tuple[Calibration, ...], tuple(dict.fromkeys(settings.blend_calibrations))),
        ease_items=settings.ease_items,
        choose_as_of=settings.choose_as_of,
    )


def exploration_config(settings: Settings) -> ExplorationConfig:
    """How much is explored, by the settings."""
    return ExplorationConfig(
        share=settings.exploration_share,
        first_place=settings.exploration_first_place,
        most_interactions=settings.exploration_most_interactions,
        most_items=settings.exploration_most_items,
        favour=settings.exploration_favour,
        fit=settings.exploration_fit,
        seed=settings.seed,
    )


def of_the_day(exploration: ExplorationConfig, as_of: datetime, time_zone: str) -> ExplorationConfig:
    """The same with a draw of its own for each calendar day: the same day explores the same again, another day something else.

    Args:
        exploration: Parameters, with the seed of all days.
        as_of: Moment of the run, UTC.
        time_zone: IANA name of the time zone whose days are counted.
    """
    day = as_of.replace(tzinfo=UTC).astimezone(ZoneInfo(time_zone)).date()
    return replace(exploration, seed=exploration.seed * 10**8 + int(f"{day:%Y%m%d}"))


def read_interactions(connection: duckdb.DuckDBPyConnection) -> Interactions:
    """What people did, who they are and what the items are about, from the warehouse; nothing of people who may not be profiled."""
    people = connection.execute(_PEOPLE).to_arrow_table()
    items = connection.execute(_ITEMS).to_arrow_table()
    history = _history(_preferences(connection, may_be_personalised=True), people, items)
    return history.with_content(item_content_from_arrow(items, history.item_keys))


def read_unprofiled(connection: duckdb.DuckDBPyConnection, items: pa.Table) -> Interactions:
    """People who may not be profiled, with what they have consumed and their traits; only to keep from them what is kept.

    Args:
        connection: Reader of the build file.
        items: The catalogue that models were trained on.
    """
    people = connection.execute(_UNPROFILED).to_arrow_table()
    return _history(_preferences(connection, may_be_personalised=False), people, items)


def _preferences(connection: duckdb.DuckDBPyConnection, *, may_be_personalised: bool) -> pa.Table:
    return connection.execute(_PREFERENCES, {"may_be_personalised": may_be_personalised}).to_arrow_table()


def collect_interactions(connection: duckdb.DuckDBPyConnection, store: ArtifactStore) -> Artifact:
    """Stores the preferences of the warehouse, its people and its catalogue under the hash of their content.

    Args:
        connection: Reader of the build file.
        store: Where artifacts are kept.
    """
    interactions = read_interactions(connection)
    content = interactions.content
    assert content is not None
    address = store.address("interactions", inputs=[interactions.fingerprint()], code="", parameters={})
    users, catalogue = interactions.shape
    document = {
        "people": users,
        "people_with_history": int((np.diff(interactions.indptr) > 0).sum()),
        "items": catalogue,
        "items_with_history": len(np.unique(interactions.indices)),
        "items_with_content": int((np.diff(content.features.indptr) > 0).sum()),
        "pairs": interactions.entries,
        "pairs_by_domain": {domain: int(interactions.domain_mask(domain).sum()) for domain in DOMAINS},
        "consumed": int(interactions.is_consumed.sum()),
    }
    tables = {
        "preference": _preferences(connection, may_be_personalised=True),
        "person": connection.execute(_PEOPLE).to_arrow_table(),
        "item": connection.execute(_ITEMS).to_arrow_table(),
    }
    return store.put(address, document=document, tables=tables, arrays={"content": content.to_arrays()})


def load_interactions(artifact: Artifact) -> Interactions:
    """The interactions of an artifact that `collect_interactions` stored."""
    history = _history(artifact.table("preference"), artifact.table("person"), artifact.table("item"))
    return history.with_content(ItemContent.from_arrays(artifact.arrays("content")))


def _history(preferences: pa.Table, people: pa.Table, items: pa.Table) -> Interactions:
    history = interactions_from_arrow(preferences, domains=DOMAINS, users=people["user_key"], items=items)
    return history.with_traits(traits_from_arrow(people, history.user_keys, TRAITS))


def train_models(
    interactions: Artifact,
    store: ArtifactStore,
    config: SelectionConfig,
    progress: Callable[[str], None] = lambda _: None,
    known: Known | None = None,
) -> tuple[Artifact, bool]:
    """Chooses the models by evaluation and fits them on everything, unless that was done before.

    Args:
        interactions: What to learn from.
        store: Where artifacts are kept.
        config: The protocol.
        progress: Told each step that takes time.
        known: Parameters that a long search has found.

    Returns:
        The artifact, and whether it was made now.
    """
    found_before = {"/".join(key): dict(parameters) for key, parameters in sorted((known or {}).items())}
    code = models_version()
    address = store.address(
        "models",
        inputs=[interactions.address],
        code=code,
        parameters={"protocol": config.to_json(), "tuned": found_before},
    )
    found = store.find(address)
    if found is not None:
        return found, False
    started = time.perf_counter()
    history = load_interactions(interactions)
    selection = select_models(history, config, progress, known=known, peak_megabytes=PeakMemory(), code=code)
    selected = time.perf_counter()
    final = Ledger(progress, PeakMemory())
    fitted = fit_models(history, selection, final)
    manifest, arrays = fitted.to_arrays()
    document = {
        "choice": selection.to_json(),
        "fitted": manifest,
        "config": config.to_json(),
        "tuned": found_before,
        "seconds": {
            "search and evaluation": round(selected - started, 2),
            "fitting": round(time.perf_counter() - selected, 2),
        },
    }
    tables = {
        "evaluation": selection.evaluation,
        "comparison": selection.comparison,
        "search": selection.search,
        "costs": pa.concat_tables([selection.costs, final.table()]),
    }
    return store.put(address, document=document, arrays={"models": arrays}, tables=tables), True


def load_models(artifact: Artifact) -> FittedModels:
    """The models of an artifact that `train_models` stored."""
    return FittedModels.from_arrays(artifact.document["fitted"], artifact.arrays("models"))


def write_evaluation(connection: duckdb.DuckDBPyConnection, models: Artifact) -> int:
    """Replaces `recommendations.model_evaluation`; returns its number of rows."""
    return replace_table(connection, f"{SCHEMA}.model_evaluation", models.table("evaluation"))


def write_comparison(connection: duckdb.DuckDBPyConnection, models: Artifact) -> int:
    """Replaces `recommendations.model_comparison`; returns its number of rows."""
    return replace_table(connection, f"{SCHEMA}.model_comparison", models.table("comparison"))


@dataclass(frozen=True)
class WrittenLists:
    """What came of writing everyone's lists.

    Args:
        rows: Number of rows.
        report: What the rules did.
        warnings: A sentence for each rule that changes nothing.
        costs: What it took, `COSTS_SCHEMA`.
    """

    rows: int
    report: RulesReport
    warnings: tuple[str, ...]
    costs: pa.Table


def write_user_item(
    connection: duckdb.DuckDBPyConnection,
    models: Artifact,
    interactions: Artifact,
    *,
    list_length: int,
    exploration: ExplorationConfig | None = None,
) -> WrittenLists:
    """Replaces `recommendations.scored_user_item` by lists for every person of `core.dim_user`.

    Args:
        connection: Writer of the build file.
        models: What to score with.
        interactions: What it was trained on.
        list_length: Ranks per person and target.
        exploration: What share of the places is for items that little is known about; nothing is explored without it. What is
            drawn changes with the day of the run.
    """
    user_keys = connection.execute("select user_key from core.dim_user order by user_key").to_arrow_table()["user_key"]
    history = load_interactions(interactions)
    ((as_of, time_zone),) = connection.execute("select as_of, time_zone from raw.run").fetchall()
    unprofiled = read_unprofiled(connection, interactions.table("item"))
    rules = rules_from_arrow(
        connection.execute("from seeds.recommendation_rules").to_arrow_table(),
        # As it is now: an artifact is found again under the hash of what models learn from, and rules look at more than that.
        connection.execute(_ITEMS).to_arrow_table(),
        history,
        int(np.datetime64(as_of, "us").astype(np.int64)),
        unprofiled,
    )
    config = ScoringConfig(k=list_length, exploration=of_the_day(exploration or ExplorationConfig(), as_of, time_zone))
    ledger = Ledger(peak_megabytes=PeakMemory())
    lists = ListMaker(load_models(models), history, config, rules, ledger, unprofiled)
    rows = replace_table(connection, f"{SCHEMA}.scored_user_item", _reader(SCORED_SCHEMA, lists.batches(user_keys)))
    # Which state of the warehouse the lists are of; the marts take it over (see `warehouse.assets.record_pass`).
    connection.execute("create schema if not exists meta")
    connection.execute("create or replace table meta.scored as select time_zone, batch, as_of from raw.run")
    return WrittenLists(rows, lists.report, rules.warnings, ledger.table())


def write_item_item(
    connection: duckdb.DuckDBPyConnection, models: Artifact, interactions: Artifact, *, list_length: int
) -> tuple[int, pa.Table]:
    """Replaces `recommendations.scored_item_item` by the neighbours of every item.

    Args:
        connection: Writer of the build file.
        models: What to relate with.
        interactions: What it was trained on.
        list_length: Ranks per item and target.

    Returns:
        Number of rows, and what it took, `COSTS_SCHEMA`.
    """
    ledger = Ledger(peak_megabytes=PeakMemory())
    history = load_interactions(interactions)
    batches = score_related_items(load_models(models), history, k=list_length, ledger=ledger)
    return replace_table(connection, f"{SCHEMA}.scored_item_item", _reader(RELATED_SCHEMA, batches)), ledger.table()


def _reader(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(schema, batches)

"""Training as the graph does it: from the tables of the warehouse to a stored artifact and to lists, and what a crash leaves."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from models_ml.evaluation import EvaluationConfig
from models_ml.rules import RULE_COLUMNS
from models_ml.scoring import score_people
from models_ml.selection import SelectionConfig
from orchestration.recommendations import steps
from orchestration.recommendations.tuning import NothingToTuneError, read_tuned, tune
from orchestration.resources.artifacts import Artifact, ArtifactStore
from orchestration.resources.warehouse import connect
from orchestration.settings import Settings

# 120 people of three tastes on both platforms, each with 7 of 18 items a side; u000 to u009 are on the film side only, and
# nobody has had to do with the last item of each side.
WAREHOUSE = """
create schema core; create schema features; create schema raw;

create table raw.run as select timestamp '2026-06-01 12:00:00' as as_of;
create table core.fct_interaction as select timestamp '2026-06-01 12:00:00' as occurred_at;

create table core.dim_user as
select printf('u%03d', n) as user_key, 'CN' as country, ['east', 'west', null][1 + n % 3] as region, 'phone' as device,
    null::varchar as gender, null::integer as birth_decade, true as may_be_personalised
from range(120) as people(n);

create table core.dim_user_history as
select * exclude (may_be_personalised), 1 as version_number, timestamp '2025-01-01' as valid_from, null::timestamp as valid_to
from core.dim_user;

create table core.dim_item as
select domain || ':' || printf('%02d', n) as item_key, domain, n::varchar as item_id, 'Item ' || n as title,
    if(domain = 'film', 'movie', 'course') as kind, 'en' as language, null::varchar as series, null::date as published_date
from (values ('film'), ('knowledge')) as domains(domain), range(19) as items(n);

create table core.dim_content as
select item_key, 'Something to learn' as summary, null::timestamp as published_at from core.dim_item where domain = 'knowledge';
create table core.dim_film as
select item_key, null::varchar as original_title, 'A story' as synopsis from core.dim_item where domain = 'film';
create table core.dim_topic as select 't' || n as topic_key, 'Taste ' || n as topic from range(3) as topics(n);
create table core.bridge_item_topic as
select item_key, 't' || (item_id::integer % 3) as topic_key, 1.0 as weight from core.dim_item;
create table core.dim_person as select 'p0' as person_key, 'Wang Li' as person_name;
create table core.bridge_item_person as select item_key, 'p0' as person_key from core.dim_item where item_id = '3';

create table features.user_item_preference as
select users.user_key, items.item_key, items.domain, users.may_be_personalised, 5.0 as weight, 5.0 as strength,
    true as is_consumed,
    timestamp '2026-01-01' + interval 1 hour * (hash(users.user_key, items.item_key) % 2000)::integer as last_at
from core.dim_user as users, core.dim_item as items
where items.item_id::integer < 18
    and (items.domain = 'film' or users.user_key >= 'u010')
    and if(items.item_id::integer % 3 = substr(users.user_key, 2)::integer % 3, 12, 2)
        > (hash(items.item_key, users.user_key) % 13)::integer;
"""

PROTOCOL = SelectionConfig(
    candidates=("als_joint", "als_content", "ials_joint", "item_neighbours_joint"),
    evaluation=EvaluationConfig(cutoffs=(5,), draws=50),
    min_people=10,
)


@pytest.fixture(scope="module")
def warehouse() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(WAREHOUSE)
    return connection


def store_at(folder: Path) -> ArtifactStore:
    folder.mkdir(parents=True, exist_ok=True)
    return ArtifactStore(root=str(folder))


def lists_of(models: Artifact, interactions: Artifact) -> pa.Table:
    history = steps.load_interactions(interactions)
    return pa.Table.from_batches(score_people(steps.load_models(models), history, history.user_keys))


def test_people_and_items_that_have_done_nothing_are_part_of_what_is_learned_from(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    store = store_at(tmp_path)
    artifact = steps.collect_interactions(warehouse, store)
    history = steps.load_interactions(artifact)
    assert history.shape == (120, 38)
    assert artifact.document["items_with_history"] == 36
    assert artifact.document["items_with_content"] == 38
    assert history.content is not None
    assert "Taste 0" in history.content.names
    assert history.traits is not None
    assert history.traits.names == steps.TRAITS
    assert history.fingerprint() == steps.read_interactions(warehouse).fingerprint()


def knowledge_of(warehouse: str, latest_event: str) -> tuple[set[str], list[str | None]]:
    """What a run as of noon on 1 June knows of a warehouse that goes up to an event.

    Returns:
        The items of which anything is known, and the regions of the first four people.
    """
    with duckdb.connect() as connection:
        connection.execute(warehouse)
        connection.execute("update core.fct_interaction set occurred_at = $at", {"at": latest_event})
        history = steps.read_interactions(connection)
    assert history.traits is not None
    assert history.content is not None
    described = history.item_keys.filter(pa.array(np.diff(history.content.features.indptr) > 0))
    region = history.traits.names.index("region")
    names = [*history.traits.values[region], None]
    assert history.user_keys[:4].to_pylist() == ["u000", "u001", "u002", "u003"]
    return set(described.to_pylist()), [names[code] for code in history.traits.codes[:4, region].tolist()]


def test_a_run_as_of_an_earlier_time_knows_the_items_and_the_people_of_then() -> None:
    # Nobody has used items 17 and 18 of either side, and film 17 has no date. Film 3 is said to be of later, and yet people have
    # had to do with it.
    # u000 moves north the day after; u001 has moved south before; u003 comes the day after, and then moves north.
    changed = f"""
    {WAREHOUSE}
    delete from features.user_item_preference where item_key like '%:17';
    update core.dim_item set published_date = '2026-06-02' where item_key in ('film:18', 'film:03');
    update core.dim_item set published_date = '2026-06-01' where item_key in ('knowledge:17', 'knowledge:18');
    update core.dim_content set published_at = '2026-06-01 11:00:00' where item_key = 'knowledge:17';
    update core.dim_content set published_at = '2026-06-01 13:00:00' where item_key = 'knowledge:18';
    update core.dim_user_history set valid_to = '2026-06-02' where user_key = 'u000';
    update core.dim_user_history set valid_to = '2026-05-01' where user_key = 'u001';
    update core.dim_user_history set valid_from = '2026-06-02', valid_to = '2026-06-03' where user_key = 'u003';
    insert into core.dim_user_history
    select * replace (
        2 as version_number, if(user_key = 'u001', 'south', 'north') as region, valid_to as valid_from, null as valid_to
    )
    from core.dim_user_history where valid_to is not null;
    """
    items, regions = knowledge_of(changed, latest_event="2026-06-30")
    everything = {f"{side}:{item:02}" for side in ("film", "knowledge") for item in range(19)}
    assert items == everything - {"film:18", "knowledge:18"}
    assert regions == ["east", "south", None, "east"]

    items, regions = knowledge_of(changed, latest_event="2026-06-01 12:00:00")
    assert items == everything, "a run that does not look back shows whatever has been delivered"
    assert regions == ["north", "south", None, "north"]


# What the warehouse does when u050 takes back the consent to personalisation.
REFUSES = """
update core.dim_user set may_be_personalised = false where user_key = 'u050';
update features.user_item_preference set may_be_personalised = false, weight = 0, strength = 0 where user_key = 'u050';
"""
FEW_MODELS = SelectionConfig(
    candidates=("item_neighbours_joint", "segment_popularity"),
    evaluation=EvaluationConfig(cutoffs=(5,), draws=20),
    min_people=10,
    blend_members=0,
    global_time=False,
)


def test_who_takes_consent_back_is_served_as_a_stranger_until_they_give_it_again(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    listed, learnt = [], []
    for change in ("", REFUSES, ""):
        with duckdb.connect() as connection:
            connection.execute(WAREHOUSE + change)
            connection.execute("alter table raw.run add column time_zone varchar default 'UTC'")
            connection.execute("alter table raw.run add column batch bigint default 1")
            connection.execute("create schema seeds")
            columns = ", ".join(f"null::varchar as {name}" for name in RULE_COLUMNS)
            connection.execute(f"create table seeds.recommendation_rules as select {columns} limit 0")
            connection.execute("insert into core.dim_user (user_key, may_be_personalised) values ('stranger', true)")
            interactions = steps.collect_interactions(connection, store)
            models, is_new = steps.train_models(interactions, store, FEW_MODELS)
            learnt.append((interactions, is_new))
            steps.write_user_item(connection, models, interactions, list_length=30)
            listed.append(
                connection.execute(
                    "select user_key, target_domain, item_key, score, strategy, reason_code, reason_item_key, reason_segment "
                    "from recommendations.scored_user_item order by user_key, target_domain, rank"
                ).fetchall()
            )
    before, refused, again = listed
    assert again == before
    assert [is_new for _, is_new in learnt] == [True, True, False]

    history = steps.load_interactions(learnt[1][0])
    [u050] = history.positions_of_users(pa.array(["u050"]))
    assert history.take(np.array([u050])).entries == 0
    assert history.traits is not None
    assert (history.traits.codes[u050] == -1).all()
    assert (np.diff(history.indptr) > 0).sum() == 119

    own = [row[1:] for row in refused if row[0] == "u050"]
    assert {row[5] for row in before if row[0] == "u050"} & {"because_you_enjoyed", "other_side_taste"}
    shown = {row[1] for row in own}
    assert own == [row[1:] for row in refused if row[0] == "stranger" and row[2] in shown]
    left_out = {row[2] for row in refused if row[0] == "stranger"} - shown
    with duckdb.connect() as connection:
        connection.execute(WAREHOUSE)
        taken = connection.execute(
            "select item_key from features.user_item_preference where user_key = 'u050'"
        ).fetchall()
    assert left_out == {item for (item,) in taken}


def test_the_same_input_gives_the_same_lists_also_after_a_crash_in_the_middle_of_training(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    crashed, fresh = store_at(tmp_path / "crashed"), store_at(tmp_path / "fresh")
    interactions = steps.collect_interactions(warehouse, crashed)
    script = f"""
from tests.integration.test_training import PROTOCOL, ArtifactStore, steps
store = ArtifactStore(root={str(tmp_path / "crashed")!r})
steps.train_models(store.get({interactions.address!r}), store, PROTOCOL, lambda line: print(line, flush=True))
print("ended")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line.strip())
        if line.startswith("fit als_joint"):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert "ended" not in said, "it was to be killed before its end"
    assert not list((tmp_path / "crashed").glob("models-*")), "half a model can be found"

    after, is_new = steps.train_models(interactions, crashed, PROTOCOL)
    assert is_new
    other, _ = steps.train_models(steps.collect_interactions(warehouse, fresh), fresh, PROTOCOL)
    assert after.address == other.address
    served = {model.config.name for model in steps.load_models(after).models.values()}
    costs = after.table("costs").to_pylist()
    fitted = {row["model"] for row in costs if row["stage"] == "final fit"}
    assert fitted == {name for name in served if not name.startswith("blend")}
    assert all(row["peak_megabytes"] > 0 for row in costs)
    assert after.table("evaluation").equals(other.table("evaluation"))
    assert lists_of(after, interactions).equals(lists_of(other, interactions))
    assert steps.train_models(interactions, crashed, PROTOCOL)[1] is False, "what was trained is trained again"


def test_a_long_search_is_kept_and_used_by_the_next_training(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path, landing=tmp_path / "landing")
    with pytest.raises(NothingToTuneError, match="run `zhiying run` first"):
        tune(settings, 0.0)
    settings.prepare_home()
    with connect(settings.warehouse_file) as connection:
        connection.execute(WAREHOUSE)
    monkeypatch.setattr("orchestration.recommendations.tuning.selection_config", lambda _: PROTOCOL)
    before = settings.fingerprint()
    first = tune(settings, 0.0)
    second = tune(settings, 0.0)
    tried = {(entry.candidate, entry.targets): entry.trials for entry in first}
    assert tried["als_joint", "film+knowledge"] == 1
    # An entry more for each call, and what an earlier one found is not tried again.
    assert all(
        entry.trials == tried[entry.candidate, entry.targets] + 1 for entry in second if entry.candidate == "als_joint"
    )
    assert settings.fingerprint() != before, "the next run would say that there is nothing new"

    known = read_tuned(settings.tuned_file)
    searched = {"factors", "regularization", "alpha", "weighting", "half_life_days", "half_life_events"}
    assert known["als_joint", "film+knowledge"].keys() == searched
    store = store_at(tmp_path / "models")
    interactions = steps.collect_interactions(warehouse, store)
    config = replace(PROTOCOL, candidates=("als_joint",))
    with_it, _ = steps.train_models(interactions, store, config, known=known)
    without, _ = steps.train_models(interactions, store, config)
    assert with_it.address != without.address


def test_a_damaged_file_of_parameters_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "parameters.json"
    file.write_text('{"als": 1')
    with pytest.raises(ValueError, match="delete it and search again"):
        read_tuned(file)

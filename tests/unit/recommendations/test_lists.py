"""Training and the lists of a day, on a small world without a warehouse behind it."""

from collections import Counter
from dataclasses import replace
from datetime import datetime

import duckdb
import pyarrow as pa
import pytest

from models_ml.content import item_content_from_arrow
from models_ml.evaluation import EvaluationConfig
from models_ml.exploration import ExplorationConfig
from models_ml.rules import RULE_COLUMNS
from models_ml.selection import SelectionConfig
from orchestration.recommendations import steps
from orchestration.resources.artifacts import ArtifactStore
from orchestration.resources.warehouse import replace_table
from tests.unit.models_ml.conftest import planted_rows, preference_table

# What the catalogue says besides the items, which is nothing.
CATALOGUE = """
create table core.dim_content (item_key varchar, summary varchar, published_at timestamp);
create table core.dim_film (item_key varchar, original_title varchar, synopsis varchar);
create table core.dim_topic (topic_key varchar, topic varchar);
create table core.dim_person (person_key varchar, person_name varchar);
create table core.bridge_item_topic (item_key varchar, topic_key varchar);
create table core.bridge_item_person (item_key varchar, person_key varchar);
alter table core.dim_item add column series varchar;
alter table core.dim_item add column published_date date;
"""
POPULARITY = SelectionConfig(
    candidates=("popularity",), evaluation=EvaluationConfig(draws=10), blend_members=0, global_time=False
)
EXPLORATION = ExplorationConfig(share=0.5, most_interactions=1000, seed=7)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return ArtifactStore(root=str(tmp_path_factory.mktemp("artifacts")))


@pytest.fixture(scope="module")
def interactions(store):
    preference = preference_table(planted_rows(people=60))
    keys = sorted({*preference["item_key"].to_pylist()})
    users = sorted({*preference["user_key"].to_pylist()})
    item = pa.table(
        {
            "item_key": keys,
            "domain": [key.split(":")[0] for key in keys],
            "item_id": [key.split(":")[1] for key in keys],
            "kind": ["movie"] * len(keys),
            "language": ["en"] * len(keys),
            "title": keys,
            "text": pa.nulls(len(keys), pa.string()),
            "topics": [["drama"]] * len(keys),
            "people": pa.nulls(len(keys), pa.list_(pa.string())),
        }
    )
    person = pa.table({"user_key": users, **{trait: pa.nulls(len(users), pa.string()) for trait in steps.TRAITS}})
    content = item_content_from_arrow(item, pa.array(keys))
    return store.put(
        "interactions-planted",
        document={},
        tables={"preference": preference, "person": person, "item": item},
        arrays={"content": content.to_arrays()},
    )


@pytest.fixture(scope="module")
def models(store, interactions):
    return steps.train_models(interactions, store, POPULARITY)[0]


def lists_as_of(interactions, models, as_of, time_zone="UTC", exploration=EXPLORATION, change="", rule=None):
    with duckdb.connect() as connection:
        people = interactions.table("person")
        yes = pa.array([True] * people.num_rows)
        replace_table(connection, "core.dim_user", people.append_column("may_be_personalised", yes))
        history = people.append_column("version_number", pa.array([1] * people.num_rows))
        history = history.append_column("valid_from", pa.array([as_of] * people.num_rows))
        replace_table(connection, "core.dim_user_history", history)
        preference = interactions.table("preference")
        yes = pa.array([True] * preference.num_rows)
        preference = preference.append_column("may_be_personalised", yes).append_column(
            "strength", preference["weight"]
        )
        replace_table(connection, "features.user_item_preference", preference)
        replace_table(connection, "core.fct_interaction", pa.table({"occurred_at": [as_of]}))
        replace_table(connection, "core.dim_item", interactions.table("item"))
        connection.execute(CATALOGUE + change)
        replace_table(connection, "raw.run", pa.table({"as_of": [as_of], "time_zone": [time_zone], "batch": [1]}))
        rules = pa.table({name: pa.nulls(0, pa.string()) for name in RULE_COLUMNS})
        if rule is not None:
            rules = pa.table({name: [rule.get(name)] for name in RULE_COLUMNS})
        replace_table(connection, "seeds.recommendation_rules", rules)
        steps.write_user_item(connection, models, interactions, list_length=10, exploration=exploration)
        return connection.execute("from recommendations.scored_user_item order by all").fetchall()


def test_the_same_day_explores_the_same_and_another_day_something_else(interactions, models):
    morning = lists_as_of(interactions, models, datetime(2026, 1, 31, 3))
    assert any(row[-2] == "exploration" for row in morning)
    assert lists_as_of(interactions, models, datetime(2026, 1, 31, 22)) == morning
    assert lists_as_of(interactions, models, datetime(2026, 2, 1, 3)) != morning
    assert {row[-1] for row in lists_as_of(interactions, models, datetime(2026, 2, 1, 3))} == {
        row[-1] for row in morning
    }, "by the same models"
    # In Shanghai the evening of the 31st is the next day already.
    assert lists_as_of(interactions, models, datetime(2026, 1, 31, 22), "Asia/Shanghai") != morning


def test_a_cap_by_series_goes_by_what_the_catalogue_says_now(interactions, models):
    """The artifact says nothing of series; half of the films are of one by now."""
    of_one = "update core.dim_item set series = 'Saga' where domain = 'film' and item_id::integer % 2 = 0;"
    cap = {"rule_id": "two", "action": "cap", "per": "series", "number": 2.0, "is_active": True}

    def most(**given):
        rows = lists_as_of(interactions, models, datetime(2026, 1, 31), exploration=None, **given)
        films = [(user, item) for user, domain, _, item, *_ in rows if domain == "film"]
        counts = Counter(user for user, item in films if int(item.split(":")[1]) % 2 == 0)
        assert len(films) == 10 * 60
        return max(counts.values())

    assert most(change=of_one) > 2
    assert most(rule=cap) > 2
    assert most(change=of_one, rule=cap) == 2


def test_no_day_of_one_seed_is_a_day_of_another():
    days = [datetime(2025, 12, 31), datetime(2026, 1, 1), datetime(2027, 1, 1)]
    seeds = {
        steps.of_the_day(ExplorationConfig(seed=seed), day, "UTC").seed for seed in (0, 1, 2, 20260131) for day in days
    }
    assert len(seeds) == 12


def test_comparisons_are_written_as_they_were_measured(store, interactions):
    several = replace(POPULARITY, candidates=("recent_popularity", "rising"))
    models = steps.train_models(interactions, store, several)[0]
    with duckdb.connect() as connection:
        rows = steps.write_comparison(connection, models)
        written = connection.execute("from recommendations.model_comparison").to_arrow_table()
    assert rows == written.num_rows > 0
    assert written.equals(models.table("comparison"))


def test_changed_code_makes_another_version_of_the_same_model(monkeypatch, store, interactions, models):
    monkeypatch.setattr(steps, "models_version", lambda: "other code")
    other, is_new = steps.train_models(interactions, store, POPULARITY)
    assert is_new
    fitted, refitted = (set(artifact.document["fitted"]["models"]) for artifact in (models, other))
    assert fitted
    assert not fitted & refitted
    assert {name.rsplit("-", 1)[0] for name in fitted} == {name.rsplit("-", 1)[0] for name in refitted}
    judged = [set(artifact.table("evaluation")["model_version"].to_pylist()) for artifact in (models, other)]
    assert not judged[0] & judged[1]


def test_a_run_that_explores_says_in_its_tables_what_that_costs(store, interactions, models):
    """With the same settings the lists show explored items, and the evaluation has what that does to lists."""
    exploring = replace(POPULARITY, candidates=("als_joint", "als_content"), exploration=EXPLORATION)
    trained = steps.train_models(interactions, store, exploring)[0]
    assert any(row[-2] == "exploration" for row in lists_as_of(interactions, trained, datetime(2026, 1, 31)))
    with duckdb.connect() as connection:
        steps.write_evaluation(connection, trained)
        steps.write_comparison(connection, trained)
        judged = connection.execute(
            "select distinct target_domain, segment, split from recommendations.model_evaluation where model = $1 order by all",
            ["served_with_exploration"],
        ).fetchall()
        served = connection.execute(
            "select distinct target_domain, segment, split from recommendations.model_evaluation where model = $1 order by all",
            ["served"],
        ).fetchall()
        compared = connection.execute(
            "select distinct target_domain, segment, split from recommendations.model_comparison "
            "where model = 'served_with_exploration' and baseline = 'served' order by all"
        ).fetchall()
    assert judged == served == compared
    assert {domain for domain, _, _ in judged} == {"film", "knowledge"}
    assert "served_with_exploration" not in models.table("evaluation")["model"].to_pylist()

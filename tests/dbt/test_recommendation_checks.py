"""The blocking checks on recommended lists: each lets good lists pass and catches the fault that it is there for."""

import duckdb
import pytest

from tests.dbt.invocation import PASS_1, PASS_2
from tests.dbt.raw_schema import account_key

ANN, BEN = account_key("film", "ann"), account_key("film", "ben")
CAL = account_key("knowledge", "cal")

GOOD = [
    (ANN, "film", 1, "film:m2", 0.9, "als", "popular", None, "v1"),
    (ANN, "film", 2, "film:m3", 0.8, "als", "popular", None, "v1"),
    (ANN, "knowledge", 1, "knowledge:c1", 0.9, "als", "because_you_enjoyed", "film:m1", "v1"),
    (BEN, "film", 1, "film:m1", 0.9, "als", "popular", None, "v1"),
    (BEN, "knowledge", 1, "knowledge:c1", 0.9, "als", "popular", None, "v1"),
    (CAL, "film", 1, "film:m1", 0.9, "popularity", "popular", None, "v1"),
]


@pytest.fixture(scope="module")
def warehouse(dbt, fresh_raw):
    """Ann rated film m1; Ben watched m2 and m3 to the end and was shown m4; Cal finished the only content there is."""
    raw = fresh_raw()
    raw.deliver(
        "film__events",
        [
            {"event_id": "e1", "user_id": "ann", "film_id": "m1", "event_type": "rating", "value": 5},
            {"event_id": "e2", "user_id": "ben", "film_id": "m2", "event_type": "complete"},
            {"event_id": "e3", "user_id": "ben", "film_id": "m3", "event_type": "complete"},
            {"event_id": "e4", "user_id": "ben", "film_id": "m4", "event_type": "impression"},
        ],
        batch=1,
    )
    raw.deliver("knowledge__contents", [{"content_id": "c1", "title": "Course", "kind": "course"}], batch=1)
    raw.deliver(
        "knowledge__events",
        [{"event_id": "e5", "user_id": "cal", "content_id": "c1", "event_type": "complete"}],
        batch=1,
    )
    with raw.connect() as connection:
        connection.execute("update raw.film__events set occurred_at = timestamp '2026-01-01'")
        connection.execute("update raw.knowledge__events set occurred_at = timestamp '2026-01-01'")
    raw.run(as_of="2026-01-31", batch=1)
    built = dbt("build", *PASS_1)
    assert built.succeeded, built.output
    return dbt


def lists(warehouse, rows):
    """Runs the second pass over the given lists; returns the names of the tests that failed."""
    with duckdb.connect(str(warehouse.build_file)) as connection:
        connection.execute("create schema if not exists recommendations")
        connection.execute(
            "create or replace table recommendations.scored_user_item (user_key varchar, target_domain varchar, "
            "rank integer, item_key varchar, score double, strategy varchar, reason_code varchar, "
            "reason_item_key varchar, model_version varchar)"
        )
        connection.executemany("insert into recommendations.scored_user_item values (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute(
            "create or replace table recommendations.scored_item_item as select 'film:m1' as item_key, "
            "'film' as target_domain, 1::integer as rank, 'film:m2' as related_item_key, 0.5::double as score, "
            "'als' as strategy, 'v1' as model_version"
        )
        connection.execute(
            "create or replace table recommendations.model_evaluation as select 'als' as model, 'film' as target_domain, "
            "'all' as segment, 'ndcg' as metric, 10::integer as cutoff, 0.1::double as value, 0.05::double as ci_low, "
            "0.15::double as ci_high, 2::integer as users, 'time' as split, true as is_champion, 'v1' as model_version"
        )
    ran = warehouse("build", *PASS_2)
    assert ran.statuses, ran.output
    return ran


def test_good_lists_pass_and_read_well(warehouse):
    """Cal has no list of knowledge, because nothing is left for him there: that is said, and stops nobody."""
    ran = lists(warehouse, GOOD)
    assert ran.succeeded, ran.output
    assert ran.named("warn") == {"people_without_a_list"}
    with duckdb.connect(str(warehouse.build_file), read_only=True) as connection:
        rows = connection.execute(
            "select item_id, title, reason, scored_at::varchar from recommendations.user_item "
            "where user_key = ? order by target_domain, rank",
            [ANN],
        ).fetchall()
    assert rows == [
        ("m2", "m2", "Popular with everyone here", "2026-01-31 00:00:00"),
        ("m3", "m3", "Popular with everyone here", "2026-01-31 00:00:00"),
        ("c1", "Course", "Because you enjoyed m1", "2026-01-31 00:00:00"),
    ]


# What is wrong with each list -> the check that must say so. Every fault is in a list of its own, all in one run.
FAULTY = [
    *GOOD[:3],
    (ANN, "film", 4, "film:m4", 0.7, "als", "popular", None, "v1"),
    (BEN, "film", 1, "film:m2", float("nan"), "als", "popular", None, "v1"),
    (BEN, "film", 2, "knowledge:c1", 0.5, "als", "popular", None, "v1"),
    (ANN, "knowledge", 2, "knowledge:c1", 0.5, "als", "no_such_reason", None, "v1"),
]
CAUGHT_BY = {
    "a watched film": "nothing_consumed_is_recommended",
    "no list of knowledge for Ben": "every_person_has_a_list_for_each_side",
    "a content in a list of films": "every_item_is_of_the_target_domain",
    "a rank left out": "dense_ranks_user_item",
    "a score that is no number": "finite_user_item_score",
    "a reason without a sentence": "same_count_as_user_item",
}


@pytest.fixture(scope="module")
def failed_on_faulty_lists(warehouse):
    ran = lists(warehouse, FAULTY)
    assert not ran.succeeded
    return ran.named("fail")


@pytest.mark.parametrize("fault", CAUGHT_BY)
def test_a_faulty_list_is_caught(failed_on_faulty_lists, fault):
    assert any(name.startswith(CAUGHT_BY[fault]) for name in failed_on_faulty_lists), failed_on_faulty_lists

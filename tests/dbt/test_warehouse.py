"""The warehouse over three load batches: every delivery-driven change, by hand-made rows and hand-worked expectations.

After each batch the tables built step by step are compared with the same tables built at once. Batch 2 corrects, removes
and links; batch 3 takes a link back and moves a refund.
"""

import shutil

import duckdb
import pytest

from tests.dbt.invocation import PASS_1, WITHOUT_TESTS
from tests.dbt.raw_schema import RawSchema, account_key, make_scored_tables

BUILD = ("build", *PASS_1)
UNTESTED = ("--exclude-resource-type", *WITHOUT_TESTS)
BUILD_UNTESTED = ("build", "--exclude", "tag:after_models", *UNTESTED)
FACTS = ("fct_interaction", "fct_purchase", "fct_rating", "fct_exposure", "fct_response")
F1, F2, F3, F4, F5 = (account_key("film", user) for user in ("f1", "f2", "f3", "f4", "f5"))
K1, K2, K3, K4, K5 = (account_key("knowledge", user) for user in ("k1", "k2", "k3", "k4", "k5"))


def film(event_id, user_id, film_id, event_type, occurred_at, **rest):
    return {
        "event_id": event_id,
        "user_id": user_id,
        "film_id": film_id,
        "event_type": event_type,
        "occurred_at": occurred_at,
        **rest,
    }


def content(event_id, user_id, content_id, event_type, occurred_at, **rest):
    return {
        "event_id": event_id,
        "user_id": user_id,
        "content_id": content_id,
        "event_type": event_type,
        "occurred_at": occurred_at,
        **rest,
    }


def exposure(exposure_id, user_id, platform="film", item_id="c1", campaign_id="spring"):
    return {
        "exposure_id": exposure_id,
        "campaign_id": campaign_id,
        "platform": platform,
        "user_id": user_id,
        "item_id": item_id,
        "arm": "treatment",
        "propensity": 0.5,
        "shown_at": "2026-01-10",
    }


def deliver_batch_1(raw):
    raw.deliver(
        "film__users",
        [
            {"user_id": "f1", "gender": "F", "city": "Lyon", "signup_at": "2025-12-01", "updated_at": "2025-12-01"},
            {"user_id": "f2", "gender": "M", "city": "Oslo", "signup_at": "2025-12-02", "updated_at": "2025-12-02"},
        ],
        batch=1,
    )
    raw.deliver(
        "film__films",
        [
            {
                "film_id": "m1",
                "title": "Heat",
                "kind": "movie",
                "genres": ["Crime", "Drama"],
                "updated_at": "2025-01-01",
            },
            {"film_id": "m2", "title": "Ran", "kind": "movie", "genres": ["Drama"], "updated_at": "2025-01-01"},
        ],
        batch=1,
    )
    raw.deliver(
        "knowledge__contents",
        [{"content_id": "c1", "title": "Drama", "kind": "course", "topics": ["drama "], "authors": ["Ann Lee"]}],
        batch=1,
    )
    raw.deliver(
        "film__credits", [{"film_id": "m1", "person_id": "p1", "person_name": "Mann", "role": "director"}], batch=1
    )
    raw.deliver(
        "film__events",
        [
            film("e2", "f1", "m2", "purchase", "2026-01-02", amount=10, currency="CNY"),
            film("e3", "f2", "m9", "rating", "2026-01-03 23:30", value=3, campaign_id="spring"),
            film("e4", "f2", "m1", "view", "2026-01-04"),
            film("e5", "f3", "m1", "purchase", "2026-01-04", amount=8, currency="CNY"),
            film("e7", "f2", "m1", "purchase", "2026-01-04", amount=8, currency="CNY"),
            film("e9", "f5", "m2", "share", "2026-01-04"),
        ],
        batch=1,
    )
    raw.deliver(
        "film__events",
        [film("e1", "f5", "m1", "rating", "2026-01-01", value=5)],
        batch=1,
        file="film/events/rating.csv",
    )
    raw.deliver(
        "film__events",
        [film("e6", "f3", "m1", "refund", "2026-01-05", amount=8, currency="CNY")],
        batch=1,
        file="film/events/refund.csv",
    )
    raw.deliver(
        "knowledge__events",
        [
            content("e1", "k1", "c1", "complete", "2026-01-01"),
            content("e2", "k2", "c1", "purchase", "2026-01-02", amount=20, currency="CNY"),
            content("e3", "k3", "c2", "rating", "2026-01-03", value=3),
            content("e4", "k3", "c2", "refund", "2026-01-04", amount=1, currency="CNY"),
            content("e6", "k4", "c3", "purchase", "2026-01-03", amount=5, currency="CNY"),
            content("e7", "k5", "c3", "refund", "2026-01-05", amount=5, currency="CNY"),
        ],
        batch=1,
    )
    raw.deliver("marketing__exposures", [exposure("x1", "f1")], batch=1)
    raw.deliver(
        "marketing__responses",
        [
            {"response_id": "r1", "exposure_id": "x1", "response_type": "click", "occurred_at": "2026-01-11"},
            {"response_id": "r2", "exposure_id": "x2", "response_type": "click", "occurred_at": "2026-01-11"},
        ],
        batch=1,
    )
    raw.run(as_of="2026-01-31", batch=1)


def deliver_batch_2(raw):
    # The file of e1 comes again: the rating is another person's, of another film. Nothing in raw says whose it was.
    raw.deliver(
        "film__events",
        [film("e1", "f2", "m2", "rating", "2026-01-01", value=4)],
        batch=2,
        file="film/events/rating.csv",
    )
    # A rating comes late and for the past.
    raw.deliver("film__events", [film("e8", "f1", "m3", "rating", "2020-05-05", value=2)], batch=2)
    raw.withdraw("film__events", "event_id = 'e4'", batch=2)
    # A refund comes late, from the other of two accounts that a link joins in the same batch.
    raw.deliver(
        "knowledge__events", [content("e5", "k1", "c1", "refund", "2026-01-20", amount=20, currency="CNY")], batch=2
    )
    raw.deliver(
        "identity__account_links",
        [
            {"knowledge_user_id": "k1", "film_user_id": "f1", "method": "sso", "linked_at": "2026-01-15"},
            {"knowledge_user_id": "k2", "film_user_id": "f1", "method": "sso", "linked_at": "2026-01-15"},
            {"knowledge_user_id": "k4", "film_user_id": "f4", "method": "declared", "linked_at": "2026-01-16"},
            {"knowledge_user_id": "k5", "film_user_id": "f4", "method": "declared", "linked_at": "2026-01-16"},
        ],
        batch=2,
    )
    raw.deliver(
        "film__users",
        [
            {"user_id": "f1", "gender": "F", "city": "Paris", "signup_at": "2025-12-01", "updated_at": "2026-01-20"},
            {"user_id": "f4", "city": "Lyon", "updated_at": "2026-01-17"},
        ],
        batch=2,
    )
    raw.deliver("knowledge__users", [{"user_id": "k4", "city": "Oslo", "updated_at": "2026-01-25"}], batch=2)
    raw.deliver("film__films", [{"film_id": "m9", "title": "Dune", "kind": "movie"}], batch=2)
    raw.deliver(
        "marketing__campaigns",
        [
            {
                "campaign_id": "spring",
                "name": "Spring",
                "kind": "cross_ad",
                "source_platform": "film",
                "target_platform": "knowledge",
                "starts_at": "2026-01-01",
                "ends_at": "2026-03-01",
            }
        ],
        batch=2,
    )
    raw.deliver("marketing__exposures", [exposure("x2", "k3", platform="knowledge")], batch=2)
    raw.run(as_of="2026-01-31", batch=2)


def deliver_batch_3(raw):
    raw.withdraw("identity__account_links", "knowledge_user_id = 'k2'", batch=3)
    # The file of e6 comes again: the refund was of another person's purchase of the same film.
    raw.deliver(
        "film__events",
        [film("e6", "f2", "m1", "refund", "2026-01-05", amount=8, currency="CNY")],
        batch=3,
        file="film/events/refund.csv",
    )
    raw.deliver("knowledge__events", [content("e3", "k3", "c1", "rating", "2026-01-03", value=3)], batch=3)
    raw.withdraw("marketing__exposures", "exposure_id = 'x1'", batch=3)
    raw.run(as_of="2026-01-31", batch=3)


def published_tables(dbt):
    return sorted(
        f"{node['schema']}.{node['name']}"
        for node in dbt.manifest()["nodes"].values()
        if node["resource_type"] == "model"
        and node["config"]["meta"].get("published")
        and "after_models" not in node["tags"]
    )


def differing_tables(first, second, tables):
    """Tables whose rows are not the same in two build files."""
    connection = duckdb.connect()
    connection.execute(f"attach '{first}' as a (read_only)")
    connection.execute(f"attach '{second}' as b (read_only)")
    return [
        table
        for table in tables
        if connection.execute(
            f"select (select count(*) from (from a.{table} except all from b.{table})) "
            f"+ (select count(*) from (from b.{table} except all from a.{table}))"
        ).fetchall()
        != [(0,)]
    ]


class Stage:
    """The build file after one batch, and the same raw rows built at once."""

    def __init__(self, path, at_once, run, tables):
        self.path = path
        self.at_once = at_once
        self.run = run
        self.tables = tables

    def rows(self, sql, values=()):
        with duckdb.connect(str(self.path), read_only=True) as connection:
            return connection.execute(sql, list(values)).fetchall()


@pytest.fixture(scope="module")
def stages(dbt, fresh_raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    raw = fresh_raw()
    made = {}
    for batch, deliver in enumerate((deliver_batch_1, deliver_batch_2, deliver_batch_3), start=1):
        deliver(raw)
        run = dbt(*BUILD)
        assert run.statuses, run.output
        kept, at_once = folder / f"stepwise_{batch}.duckdb", folder / f"at_once_{batch}.duckdb"
        shutil.copy(dbt.build_file, kept)
        if batch > 1:
            rebuilt = dbt(*BUILD_UNTESTED, "--full-refresh")
            assert rebuilt.succeeded, rebuilt.output
            shutil.move(dbt.build_file, at_once)
            shutil.copy(kept, dbt.build_file)
        made[batch] = Stage(kept, at_once, run, [*published_tables(dbt), "features.user_item_preference"])
    return made


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_every_blocking_data_test_passes(stages, batch):
    assert stages[batch].run.named("fail", "error") == set(), stages[batch].run.output


@pytest.mark.parametrize("batch", [2, 3])
def test_tables_built_batch_by_batch_equal_those_built_at_once(stages, batch):
    stage = stages[batch]
    assert len(stage.tables) > 20
    assert differing_tables(stage.path, stage.at_once, stage.tables) == []


def test_a_refund_without_a_purchase_and_a_response_without_an_exposure_are_warned_of(stages):
    assert stages[1].run.named("warn") == {"every_refund_finds_a_purchase", "every_response_finds_its_exposure"}
    assert stages[2].run.named("warn") == {"every_refund_finds_a_purchase"}


def test_a_corrected_event_leaves_its_former_person_and_item(stages):
    ratings = "select user_key, item_key, rating from core.fct_rating where domain = 'film' order by all"
    assert set(stages[1].rows(ratings)) == {(F5, "film:m1", 5.0), (F2, "film:m9", 3.0)}
    assert set(stages[2].rows(ratings)) == {(F1, "film:m3", 2.0), (F2, "film:m2", 4.0), (F2, "film:m9", 3.0)}


def test_an_event_whose_row_vanished_is_gone(stages):
    views = "select count(*) from core.fct_interaction where event_type = 'view'"
    assert stages[1].rows(views) == [(1,)]
    assert stages[2].rows(views) == [(0,)]


def test_a_late_link_joins_three_accounts_under_the_film_account(stages):
    persons = "select user_key, is_linked, account_count from core.dim_user order by all"
    assert {key for key, _, _ in stages[1].rows(persons)} == {F1, F2, F3, F5, K1, K2, K3, K4, K5}
    assert set(stages[2].rows(persons)) == {
        (F1, True, 3),
        (F2, False, 1),
        (F3, False, 1),
        (F4, True, 3),
        (F5, False, 1),
        (K3, False, 1),
    }


def test_events_follow_the_surviving_person(stages):
    domains = f"select domain, count(*) from core.fct_interaction where user_key = '{F1}' group by all order by all"
    assert stages[1].rows(domains) == [("film", 1)]
    assert stages[2].rows(domains) == [("film", 2), ("knowledge", 3)]


def test_a_late_refund_from_the_persons_other_account_is_netted(stages):
    purchase = "select user_key, amount, is_refunded from core.fct_purchase where item_key = 'knowledge:c1'"
    assert stages[1].rows(purchase) == [(K2, 20, False)]
    assert stages[2].rows(purchase) == [(F1, 0, True)]


def test_a_link_alone_sets_an_old_refund_against_an_old_purchase(stages):
    purchase = "select user_key, amount, is_refunded from core.fct_purchase where item_key = 'knowledge:c3'"
    assert stages[1].rows(purchase) == [(K4, 5, False)]
    assert stages[2].rows(purchase) == [(F4, 0, True)]


def test_when_the_link_vanishes_the_person_is_parted_and_the_refund_is_no_longer_theirs(stages):
    purchase = "select user_key, amount, is_refunded from core.fct_purchase where item_key = 'knowledge:c1'"
    assert stages[3].rows(purchase) == [(K2, 20, False)]
    persons = "select user_key, account_count from core.dim_user order by all"
    assert set(stages[3].rows(persons)) == {(F1, 2), (F2, 1), (F3, 1), (F4, 3), (F5, 1), (K2, 1), (K3, 1)}


def test_a_refund_given_to_another_person_is_taken_back_from_the_first(stages):
    purchases = "select user_key, is_refunded from core.fct_purchase where item_key = 'film:m1' order by all"
    assert set(stages[2].rows(purchases)) == {(F2, False), (F3, True)}
    assert set(stages[3].rows(purchases)) == {(F2, True), (F3, False)}


def test_an_inferred_item_is_completed_when_its_catalogue_row_arrives(stages):
    item = "select title, is_inferred from core.dim_item where item_key = 'film:m9'"
    assert stages[1].rows(item) == [("m9", True)]
    assert stages[2].rows(item) == [("Dune", False)]


def test_an_exposure_changes_its_item_when_the_campaign_says_where_it_leads(stages):
    shown = "select item_key from core.fct_exposure where exposure_key = md5('x1')"
    assert stages[1].rows(shown) == [("film:c1",)]
    assert stages[2].rows(shown) == [("knowledge:c1",)]
    assert stages[3].rows(shown) == []


def test_a_response_waits_for_its_exposure_and_leaves_with_it(stages):
    answered = "select response_key = md5('r1'), user_key from core.fct_response order by 1"
    assert stages[1].rows(answered) == [(True, F1)]
    assert stages[2].rows(answered) == [(False, K3), (True, F1)]
    assert stages[3].rows(answered) == [(False, K3)]


def test_what_is_learned_follows_the_answers_when_they_come_late_move_or_leave(stages):
    """r1 moves to the knowledge side with its exposure and leaves with it; r2 waits for its exposure, and a rating joins it."""
    learned = "select user_key, item_key, strength from features.user_item_preference where item_key like '%:c1'"
    assert set(stages[1].rows(learned)) == {(F1, "film:c1", 0.5), (K1, "knowledge:c1", 4.0), (K2, "knowledge:c1", 4.0)}
    assert set(stages[2].rows(learned)) == {(F1, "knowledge:c1", 4.3), (K3, "knowledge:c1", 0.3)}
    assert set(stages[3].rows(learned)) == {
        (F1, "knowledge:c1", 4.0),
        (K2, "knowledge:c1", 4.0),
        (K3, "knowledge:c1", 2.8),
    }


def test_the_history_of_a_person_has_a_version_for_each_change(stages):
    versions = (
        "select city, is_linked, valid_from::varchar, valid_to::varchar from core.dim_user_history "
        f"where user_key = '{F1}' order by valid_from"
    )
    assert stages[1].rows(versions) == [("Lyon", False, "2025-12-01 00:00:00", None)]
    # First seen earlier than was known: the late rating is of 2020.
    assert stages[2].rows(versions) == [
        ("Lyon", False, "2020-05-05 00:00:00", "2026-01-20 00:00:00"),
        ("Paris", True, "2026-01-20 00:00:00", None),
    ]


def test_a_point_in_time_join_finds_the_version_that_held(stages):
    found = stages[2].rows(
        "select interactions.event_key = md5('film:e2') as bought, versions.city "
        "from core.fct_interaction as interactions inner join core.dim_user_history as versions "
        "on interactions.user_key = versions.user_key and interactions.occurred_at >= versions.valid_from "
        "and interactions.occurred_at < coalesce(versions.valid_to, timestamp 'infinity') "
        f"where interactions.user_key = '{F1}' and event_type in ('purchase', 'refund') and interactions.domain = 'film'"
    )
    assert found == [(True, "Lyon")]


def test_a_topic_and_a_genre_of_the_same_name_are_one(stages):
    topic = "select on_knowledge, on_film, item_count from core.dim_topic where topic_key = 'drama'"
    assert stages[1].rows(topic) == [(True, True, 3)]


def test_building_again_without_a_delivery_changes_nothing(stages, dbt, tmp_path):
    shutil.copy(stages[3].path, dbt.build_file)
    assert dbt(*BUILD_UNTESTED).succeeded
    assert (
        differing_tables(stages[3].path, dbt.build_file, [*stages[3].tables, "intermediate.int_account__joined"]) == []
    )


@pytest.fixture(scope="module")
def looked_back(stages, dbt, tmp_path_factory):
    """Batch 2 as of the day before its links were made, without a delivery; and after that as of now again."""
    folder = tmp_path_factory.mktemp("looked_back")
    shutil.copy(stages[2].path, dbt.build_file)
    made = []
    for as_of in ("2026-01-14", "2026-01-31"):
        with duckdb.connect(str(dbt.build_file)) as connection:
            connection.execute("update raw.run set as_of = ?", [as_of])
        run = dbt(*BUILD)
        assert run.statuses, run.output
        kept = folder / f"as_of_{as_of}.duckdb"
        shutil.copy(dbt.build_file, kept)
        made.append(Stage(kept, None, run, stages[2].tables))
    return made


def test_a_run_as_of_before_a_link_knows_two_people_each_with_a_history_of_their_own(looked_back, stages):
    then = looked_back[0]
    assert then.run.named("fail", "error") == set(), then.run.output
    persons = then.rows("select user_key, is_linked, account_count from core.dim_user")
    assert set(persons) == {(key, False, 1) for key in (F1, F2, F3, F4, F5, K1, K2, K3, K4, K5)}
    cities = "select user_key, city, is_linked from core.dim_user_history where is_current and user_key in (?, ?, ?)"
    assert set(then.rows(cities, [F1, F4, K4])) == {(F1, "Paris", False), (F4, "Lyon", False), (K4, "Oslo", False)}
    # Of people who are taken apart in looking back only, nothing is recorded.
    assert differing_tables(stages[2].path, then.path, ["snapshots.snapshot_users"]) == []
    # A completion and a purchase by two people, and a click of a third.
    learnt = "select user_key, strength from features.user_item_preference where item_key = 'knowledge:c1'"
    assert set(then.rows(learnt)) == {(K1, 4.0), (K2, 4.0), (F1, 0.3), (K3, 0.3)}


def test_the_run_after_it_knows_one_person_again_and_all_is_as_it_was(looked_back, stages):
    now = looked_back[1]
    assert now.run.named("fail", "error") == set(), now.run.output
    assert differing_tables(stages[2].path, now.path, now.tables) == []
    persons = f"select user_key from intermediate.int_account__joined where account_key in ('{K1}', '{K2}')"
    assert now.rows(persons) == [(F1,), (F1,)]


def test_what_is_refused_after_as_of_and_before_a_link_is_known_holds_for_the_person_in_every_run(stages, dbt):
    """A delivery of choices alone counts; a run that looks back takes F1 - K1 - K2 apart, and what one asks for is of all."""
    shutil.copy(stages[2].path, dbt.build_file)
    raw = RawSchema(dbt.build_file)
    said = {"changed_at": "2026-02-15", "granted": False}
    raw.deliver(
        "privacy__consents",
        [
            {"platform": "film", "user_id": "f2", "purpose": "personalisation", **said},
            {"platform": "film", "user_id": "f5", "purpose": "marketing", "granted": True, "changed_at": "2026-01-01"},
            {"platform": "film", "user_id": "f5", "purpose": "marketing", **said},
        ],
        batch=3,
    )
    raw.deliver(
        "privacy__erasure_requests", [{"platform": "knowledge", "user_id": "k2", "requested_at": "2026-02-15"}], batch=3
    )
    for as_of, erased in (("2026-01-31", {F1}), ("2026-01-14", {F1, K1, K2})):
        raw.run(as_of=as_of, batch=3)
        run = dbt("build", "--select", "+int_user__unprofiled", "+int_account__contactable", *UNTESTED)
        assert run.succeeded, run.output
        with raw.connect() as connection:
            unprofiled = connection.execute("from intermediate.int_user__unprofiled").fetchall()
            left_alone = connection.execute(
                "select distinct user_key, reason from intermediate.int_account__contactable "
                "where reason = 'erased' or since is not null"
            ).fetchall()
        assert {key for (key,) in unprofiled} == {F2} | erased
        assert set(left_alone) == {(key, "erased") for key in erased} | {(F5, "no_consent")}


def test_another_time_zone_moves_every_day_without_a_delivery(stages, dbt, fresh_raw):
    shutil.copy(stages[3].path, dbt.build_file)
    with duckdb.connect(str(dbt.build_file)) as connection:
        connection.execute("update raw.run set time_zone = 'Asia/Shanghai'")
    assert dbt(*BUILD_UNTESTED).succeeded
    with duckdb.connect(str(dbt.build_file)) as connection:
        day = "select event_date::varchar from core.fct_interaction where event_key = md5('film:e3')"
        assert connection.execute(day).fetchall() == [("2026-01-04",)]
    assert stages[3].rows(day) == [("2026-01-03",)]


def test_a_build_that_dies_leaves_tables_and_watermarks_as_they_were(stages, dbt):
    shutil.copy(stages[3].path, dbt.build_file)
    with duckdb.connect(str(dbt.build_file)) as connection:
        # The rows are deleted before the day of the first of them turns out to be impossible.
        connection.execute("update raw.run set time_zone = 'Nowhere/Land', batch = 4")
    failed = dbt("run", "--select", *FACTS)
    assert not failed.succeeded
    assert {"fct_interaction", "fct_purchase", "fct_exposure"} <= failed.named("error")
    tables = ("core.fct_interaction", "core.fct_purchase", "core.fct_exposure")
    assert differing_tables(stages[3].path, dbt.build_file, tables) == []
    with duckdb.connect(str(dbt.build_file)) as connection:
        marks = connection.execute(
            "select model, batch from meta.watermark where model in "
            "('core.fct_interaction', 'core.fct_purchase', 'core.fct_exposure')"
        ).fetchall()
    assert {batch for _, batch in marks} == {3}
    assert len(marks) == 3


def test_the_unit_tests_of_the_models_pass(stages, dbt):
    shutil.copy(stages[3].path, dbt.build_file)
    with duckdb.connect(str(dbt.build_file)) as connection:
        make_scored_tables(connection, {})
    # A unit test takes the types of its inputs from the build file.
    assert dbt("run", "--select", "tag:after_models").named("fail", "error") == set()
    ran = dbt("test", "--select", "test_type:unit")
    assert ran.named("fail", "error") == set(), ran.output
    assert len(ran.named("pass")) > 20

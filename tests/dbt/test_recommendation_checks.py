"""The blocking checks on recommended lists: each lets good lists pass and catches the fault that it is there for."""

import duckdb
import pytest

from tests.dbt.invocation import PASS_1
from tests.dbt.raw_schema import account_key, make_scored_tables

# The part of the second pass that makes and tests lists.
LISTS = (
    "--select",
    "path:models/recommendations",
    "path:tests/recommendations",
    "--exclude-resource-type",
    "unit_test",
)

ANN, BEN = account_key("film", "ann"), account_key("film", "ben")
CAL, DAN = account_key("knowledge", "cal"), account_key("film", "dan")


def recommended(user_key, domain, rank, item_key, score, reason_code="popular", **columns):
    return {
        "user_key": user_key,
        "target_domain": domain,
        "rank": rank,
        "item_key": item_key,
        "score": score,
        "strategy": "als",
        "reason_code": reason_code,
        "propensity": 1.0,
        "model_version": "v1",
        **columns,
    }


GOOD = [
    recommended(ANN, "film", 1, "film:m2", 0.9),
    recommended(ANN, "film", 2, "film:m3", 0.8, "new_here", propensity=0.05, rule="exploration"),
    recommended(
        ANN, "knowledge", 1, "knowledge:c1", 0.9, "because_you_enjoyed", reason_item_key="film:m1", reason_share=1
    ),
    recommended(BEN, "film", 1, "film:m1", 0.9, "popular_in_segment", reason_segment="Guangdong"),
    recommended(
        BEN,
        "knowledge",
        1,
        "knowledge:c1",
        0.9,
        "other_side_taste",
        reason_item_key="film:m3",
        reason_share=0.5,
        reason_item_key_2="film:m2",
        reason_share_2=0.25,
        reason_item_key_3="film:m4",
        reason_share_3=0.25,
    ),
    recommended(CAL, "film", 1, "film:m1", 0.9, "shared_topics", reason_topic="drama / Ang Lee"),
    recommended(DAN, "film", 1, "film:m1", 0.9, strategy="recent_popularity"),
    recommended(DAN, "film", 2, "film:m3", 0.8, "picked_for_you", strategy="rule", rule="pinned"),
    recommended(DAN, "knowledge", 1, "knowledge:c1", 0.9, strategy="segment_popularity"),
]
RELATED = {
    "item_key": "film:m1",
    "target_domain": "film",
    "rank": 1,
    "related_item_key": "film:m2",
    "score": 0.5,
    "strategy": "als",
    "model_version": "v1",
}
MEASURED = {
    "model": "als",
    "target_domain": "film",
    "segment": "warm",
    "metric": "ndcg",
    "cutoff": 10,
    "value": 0.1,
    "ci_low": 0.05,
    "ci_high": 0.15,
    "users": 2,
    "is_champion": True,
    "model_version": "v1",
}
COMPARED = {
    **{name: MEASURED[name] for name in ("model", "target_domain", "segment", "metric", "cutoff", "users")},
    "baseline": "popularity",
    "model_value": 0.1,
    "baseline_value": 0.08,
    "difference": 0.02,
    "ci_low": -0.01,
    "ci_high": 0.05,
    "p_value": 0.04,
    "p_holm": 0.12,
}


@pytest.fixture(scope="module")
def warehouse(dbt, fresh_raw):
    """Ann rated film m1; Ben watched m2 and m3 to the end and was shown m4; Cal finished the only content there is; Dan watched m2
    and does not want to be profiled."""
    raw = fresh_raw()
    raw.deliver(
        "film__events",
        [
            {"event_id": "e1", "user_id": "ann", "film_id": "m1", "event_type": "rating", "value": 5},
            {"event_id": "e2", "user_id": "ben", "film_id": "m2", "event_type": "complete"},
            {"event_id": "e3", "user_id": "ben", "film_id": "m3", "event_type": "complete"},
            {"event_id": "e4", "user_id": "ben", "film_id": "m4", "event_type": "impression"},
            {"event_id": "e6", "user_id": "dan", "film_id": "m2", "event_type": "complete"},
            {"event_id": "e7", "user_id": "dan", "film_id": "m1", "event_type": "favourite"},
        ],
        batch=1,
    )
    raw.deliver(
        "privacy__consents",
        [
            {"platform": "film", "user_id": "dan", "purpose": "personalisation", "granted": granted, "changed_at": at}
            for granted, at in ((True, "2025-12-01"), (False, "2026-01-15"))
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


def lists(warehouse, rows, measured=(), compared=()):
    """Runs the second pass over the given lists; returns the run with the names of the tests that failed."""
    with duckdb.connect(str(warehouse.build_file)) as connection:
        scored = {"scored_user_item": rows, "scored_item_item": [RELATED]}
        make_scored_tables(connection, {**scored, "model_evaluation": measured, "model_comparison": compared})
    ran = warehouse("build", *LISTS)
    assert ran.statuses, ran.output
    return ran


@pytest.fixture(scope="module")
def good(warehouse):
    """The lists above, and one model measured and compared on two splits."""
    measured, compared = ([{**row, "split": split} for split in ("time", "random")] for row in (MEASURED, COMPARED))
    return lists(warehouse, GOOD, measured, compared)


def test_good_lists_pass(good):
    """Cal has no list of knowledge, because nothing is left for him there: that is said, and stops nobody."""
    assert good.succeeded, good.output
    assert good.named("warn") == {"people_without_a_list"}


def test_reasons_read_well_in_both_languages(good, warehouse):
    with duckdb.connect(str(warehouse.build_file), read_only=True) as connection:
        rows = connection.execute(
            "select user_key, item_id, title, reason, reason_zh, scored_at::varchar from recommendations.user_item"
        ).fetchall()
    at = "2026-01-31 00:00:00"
    assert {row for row in rows if row[0] == ANN} == {
        (ANN, "m2", "m2", "Popular with everyone here", "大家都喜欢", at),
        (ANN, "m3", "m3", "New here: be one of the first to try it", "新上架，抢先体验", at),
        (ANN, "c1", "Course", "Because you enjoyed m1", "因为你喜欢《m1》", at),
    }
    assert {row[1:5] for row in rows if row[0] not in (ANN, DAN)} == {
        ("m1", "m1", "Popular in Guangdong", "在Guangdong很受欢迎"),
        (
            "c1",
            "Course",
            "On the other platform, you enjoyed m3, m2 and m4",
            "你在另一个平台上喜欢《m3》《m2》和《m4》",
        ),
        ("m1", "m1", "Because you like drama / Ang Lee", "因为你喜欢“drama / Ang Lee”"),
    }


def test_comparisons_are_published_with_their_adjusted_p_value(good, warehouse):
    with duckdb.connect(str(warehouse.build_file), read_only=True) as connection:
        rows = connection.execute(
            "select model, baseline, split, difference, p_value, p_holm, evaluated_at::varchar "
            "from recommendations.comparison order by split"
        ).fetchall()
    assert rows == [
        ("als", "popularity", split, 0.02, 0.04, 0.12, "2026-01-31 00:00:00") for split in ("random", "time")
    ]


def test_a_mixed_list_holds_both_sides_in_turn(good, warehouse):
    """Ann's other side is knowledge, with one item: at place 20/6, behind her two films at 20/14 and 40/14."""
    with duckdb.connect(str(warehouse.build_file), read_only=True) as connection:
        mixed = connection.execute(
            "select rank, item_key, is_other_side, source_rank from recommendations.user_mixed "
            "where user_key = ? order by rank",
            [ANN],
        ).fetchall()
    assert mixed == [(1, "film:m2", False, 1), (2, "film:m3", False, 2), (3, "knowledge:c1", True, 1)]


def test_of_who_does_not_want_to_be_profiled_only_what_they_have_consumed_is_kept(good, warehouse):
    with duckdb.connect(str(warehouse.build_file), read_only=True) as connection:
        kept = connection.execute(
            "select item_key, weight, strength, is_consumed from features.user_item_preference where user_key = ?",
            [DAN],
        ).fetchall()
        others = connection.execute("from core.dim_user where may_be_personalised").fetchall()
        mixed = connection.execute(
            "select item_key, is_other_side from recommendations.user_mixed where user_key = ? order by rank", [DAN]
        ).fetchall()
    assert kept == [("film:m2", 0, 0, True)]
    assert len(others) == 3
    # Film is the other side of whoever has done nothing.
    assert mixed == [("knowledge:c1", False), ("film:m1", True), ("film:m3", True)]


def named(**columns):
    return recommended(ANN, "film", 1, "film:m2", 0.9, "because_you_enjoyed", **columns)


# What is wrong with each list -> the check that must say so. Every fault is in a list of its own, all in one run.
FAULTY = [
    named(reason_item_key="film:m1", reason_share=0.2, reason_item_key_2="film:m1", reason_share_2=0.3),
    recommended(ANN, "film", 2, "film:m3", 0.8, propensity=0.0),
    recommended(ANN, "film", 4, "film:m4", 0.7),
    recommended(BEN, "film", 1, "film:m2", float("nan")),
    recommended(BEN, "film", 2, "knowledge:c1", 0.5),
    recommended(ANN, "knowledge", 1, "knowledge:c1", 0.9, "because_you_enjoyed", reason_item_key="film:m4"),
    recommended(ANN, "knowledge", 2, "knowledge:c1", 0.5, "no_such_reason"),
    recommended(CAL, "film", 1, "film:m1", 0.9, "shared_topics", reason_topic="the {topics}"),
]
CAUGHT_BY = {
    "a watched film": "nothing_consumed_is_recommended",
    "no list of knowledge for Ben": "every_person_has_a_list_for_each_side",
    "a content in a list of films": "every_item_is_of_the_target_domain",
    "a rank left out": "dense_ranks_user_item",
    "a score that is no number": "finite_user_item_score",
    "a reason without a sentence": "same_count_as_user_item",
    "a second reason larger than the first": "reason_shares_add_up",
    "a reason that the person never saw": "reasons_are_the_persons_own",
    "a place that could not be shown": "propensities_are_probabilities",
    "an unfilled place in a sentence": "reasons_name_their_item",
    "the same measurement twice": "unique_key_evaluation",
    "the same comparison twice": "unique_key_comparison",
}


@pytest.fixture(scope="module")
def failed_on_faulty_lists(good, warehouse):
    measured, compared = ([{**row, "split": "time"}] * 2 for row in (MEASURED, COMPARED))
    ran = lists(warehouse, FAULTY, measured, compared)
    assert not ran.succeeded
    return ran.named("fail")


@pytest.mark.parametrize("fault", CAUGHT_BY)
def test_a_faulty_list_is_caught(failed_on_faulty_lists, fault):
    assert any(name.startswith(CAUGHT_BY[fault]) for name in failed_on_faulty_lists), failed_on_faulty_lists


SHARES = {
    "more than the whole": {"reason_share": 1.2, "reason_item_key": "film:m1"},
    "less than nothing": {"reason_share": -0.1, "reason_item_key": "film:m1"},
    "of no item": {"reason_share": 0.1},
}


def test_an_active_rule_about_an_unknown_item_is_warned_of(failed_on_faulty_lists, warehouse):
    with duckdb.connect(str(warehouse.build_file)) as connection:
        rules = connection.execute("select item_id from seeds.recommendation_rules where is_active").fetchall()
        assert {item for (item,) in rules} == {None}
        connection.executemany(
            "insert into seeds.recommendation_rules (rule_id, action, item_id, is_active) values (?, ?, ?, ?)",
            [
                ("known", "pin", "m1", True),
                ("known by its key", "pin", "film:m1", True),
                ("asleep", "exclude", "m98", False),
                ("dangling", "exclude", "m99", True),
            ],
        )
        unknown = connection.execute(compiled(warehouse, "rules_name_an_item_that_exists")).fetchall()
    assert unknown == [("dangling", "m99")]


def exclusion(**columns):
    """An active exclusion, as SQL."""
    row = {"rule_id": "x", "action": "exclude", **columns}
    values = ", ".join(f"'{value}'" for value in row.values())
    return f"insert into seeds.recommendation_rules (is_active, {', '.join(row)}) values (true, {values})"


LATER = "update core.dim_content set published_at = timestamp '2025-06-01'"
BEFORE = "update raw.run set as_of = timestamp '2025-01-01'"
# What is changed -> who must have a list of knowledge and has none: Ben, as long as the one content there is can be shown to him.
WITHOUT_A_LIST = {
    "nothing": ([], True),
    "the content comes later than the run": ([LATER, BEFORE, "delete from features.user_item_preference"], False),
    "somebody had to do with it before that": ([LATER, BEFORE], True),
    "the run is of now": ([LATER, "delete from features.user_item_preference"], True),
    "an exclusion on the other platform": ([exclusion(target_domain="film", item_kind="short")], True),
    "an exclusion of something else": ([exclusion(item_id="c2")], True),
    "an exclusion of it by its id": ([exclusion(item_id="c1")], False),
    "an exclusion of it by its key": ([exclusion(item_id="knowledge:c1")], False),
    "an exclusion of it by its kind": ([exclusion(target_domain="knowledge", item_kind="Course")], False),
    "an exclusion of it by its topic": ([exclusion(topic="LAW")], False),
    "an exclusion of it by its series": ([exclusion(series="FIRST steps")], False),
    "an exclusion of another series": ([exclusion(series="first")], True),
    "an exclusion of it by its language": ([exclusion(language="zh")], False),
    "an exclusion of another language": ([exclusion(language="z")], True),
}


@pytest.mark.parametrize("case", WITHOUT_A_LIST)
def test_whoever_can_be_shown_an_item_must_have_a_list(failed_on_faulty_lists, warehouse, case):
    (changes, missing), test = WITHOUT_A_LIST[case], compiled(warehouse, "every_person_has_a_list_for_each_side")
    with duckdb.connect(str(warehouse.build_file)) as connection:
        connection.begin()
        connection.execute("update core.dim_item set language = 'zh-CN', series = 'First Steps' where item_id = 'c1'")
        connection.execute("insert into core.dim_topic (topic_key, topic) values ('t', 'Law')")
        connection.execute("insert into core.bridge_item_topic (item_key, topic_key) values ('knowledge:c1', 't')")
        for change in changes:
            connection.execute(change)
        found = connection.execute(test).fetchall()
        connection.rollback()
    assert ((BEN, "knowledge") in found) == missing


def test_only_shares_of_a_whole_pass_and_a_mixed_list_without_the_other_side_does_not(
    failed_on_faulty_lists, warehouse
):
    """Each faulty row is found by itself: the test's own SQL is run over one row, and over a mixed list without a course."""
    test_sql = compiled(warehouse, "reason_shares_add_up"), compiled(warehouse, "the_other_side_has_its_share")
    with duckdb.connect(str(warehouse.build_file)) as connection:
        connection.execute("delete from recommendations.user_item")
        for fault, columns in SHARES.items():
            row = {"user_key": fault, "target_domain": "film", "rank": 1, **columns}
            names = ", ".join(row)
            connection.execute(
                f"insert into recommendations.user_item ({names}) values ({', '.join('?' * len(row))})",
                list(row.values()),
            )
        assert {row[0] for row in connection.execute(test_sql[0]).fetchall()} == set(SHARES)

        connection.execute(
            "insert into recommendations.user_item (user_key, target_domain, rank) "
            f"select '{ANN}', domain, rank from (values ('film'), ('knowledge')) as t (domain), range(1, 4) as r (rank)"
        )
        mixed = "insert into recommendations.user_mixed (user_key, target_domain, rank) values "
        connection.execute("delete from recommendations.user_mixed")
        connection.execute(mixed + f"('{ANN}', 'film', 1), ('{ANN}', 'film', 2), ('{ANN}', 'film', 3)")
        assert [row[0] for row in connection.execute(test_sql[1]).fetchall()] == [ANN]
        connection.execute(mixed + f"('{ANN}', 'knowledge', 4), ('{ANN}', 'knowledge', 5)")
        assert connection.execute(test_sql[1]).fetchall() == []


PERSONAL = {
    "a model of history": {"strategy": "als"},
    "a reason of history": {"reason_code": "because_you_enjoyed"},
    "a past item": {"reason_item_key": "film:m2"},
    "a second past item": {"reason_item_key_2": "film:m2"},
    "a third past item": {"reason_item_key_3": "film:m2"},
    "a topic": {"reason_topic": "drama"},
    "a country or region": {"reason_segment": "DE"},
    "a trait that is not named": {"reason_code": "popular_in_segment"},
}


@pytest.mark.parametrize("fault", PERSONAL)
def test_a_personal_row_of_who_does_not_want_to_be_profiled_is_caught(failed_on_faulty_lists, warehouse, fault):
    general = {"strategy": "popularity", "reason_code": "popular"}
    personal = {**general, **PERSONAL[fault]}
    with duckdb.connect(str(warehouse.build_file)) as connection:
        connection.begin()
        connection.execute("delete from recommendations.user_item")
        for rank, user_key, row in ((1, DAN, general), (2, DAN, personal), (3, ANN, personal)):
            names = ", ".join(row)
            connection.execute(
                f"insert into recommendations.user_item (user_key, target_domain, rank, {names}) "
                f"values (?, 'film', ?, {', '.join('?' * len(row))})",
                [user_key, rank, *row.values()],
            )
        found = connection.execute(compiled(warehouse, "lists_of_the_unprofiled_are_general")).fetchall()
        connection.rollback()
    assert [row[:3] for row in found] == [(DAN, "film", 2)]


PROFILED = {
    "a weight": "update features.user_item_preference set weight = 1 where user_key = ?",
    "a strength": "update features.user_item_preference set strength = 1 where user_key = ?",
    "something else than what is consumed": "update features.user_item_preference set is_consumed = false where user_key = ?",
    "leave to learn from it": "update features.user_item_preference set may_be_personalised = true where user_key = ?",
    "an interest": "insert into features.user_interest (user_key, topic_key) values (?, 'drama')",
}


@pytest.mark.parametrize("fault", PROFILED)
def test_a_feature_of_who_does_not_want_to_be_profiled_is_caught(warehouse, fault):
    assert warehouse("test", "--select", "nobody_is_profiled_against_their_will").succeeded
    sql = compiled(warehouse, "nobody_is_profiled_against_their_will")
    with duckdb.connect(str(warehouse.build_file)) as connection:
        connection.begin()
        assert connection.execute(sql).fetchall() == []
        connection.execute(PROFILED[fault], [DAN])
        found = connection.execute(sql).fetchall()
        connection.rollback()
    assert [row[0] for row in found] == [DAN]


def compiled(warehouse, test):
    """The SQL of a singular test, as it last ran."""
    [file] = (warehouse.target / "compiled" / "zhiying" / "tests").rglob(f"{test}.sql")
    return file.read_text()

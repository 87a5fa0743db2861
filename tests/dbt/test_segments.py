"""Segments over a small random history: stays against a reckoning in Python, at another time, and recomputed."""

import random
import statistics
from collections import Counter, defaultdict
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa
import pytest

from orchestration.marketing.tastes import SEGMENT_SCHEMA, TasteSegments, write_tastes

WITHOUT_TESTS = ("--exclude-resource-type", "test", "unit_test")
BEFORE_MODELS = ("build", "--select", "+defined_segment", "+defined_stay", "+user_activity", *WITHOUT_TESTS)
AFTER_MODELS = ("build", "--select", "segment", "segment_membership", *WITHOUT_TESTS)
TASTE = {
    "segment_key": "taste:joined:art",
    "family": "taste",
    "name": "Art",
    "platform": "joined",
    "definition": "Likes art.",
}
CHECKS = ("lifecycle_agrees_with_user_activity", "stays_follow_one_another")
PEOPLE = 18
# Half of the items of a platform are of each topic.
TOPICS = ("war", "art")
START, AS_OF = datetime(2025, 1, 1), datetime(2026, 1, 31, 12, 0, 0, 500_000)
LATER = AS_OF + timedelta(days=70)
STAYS = (
    "select segment_key, user_key, is_current, entered_at, exited_at from marketing.segment_membership "
    "order by segment_key, user_key, entered_at"
)


def history(seed: int) -> dict[str, list[dict[str, object]]]:
    """Actions of people, close together and with long silences, every third on film only; purchases, some given back."""
    chance = random.Random(seed)
    found: dict[str, list[dict[str, object]]] = {"film": [], "knowledge": []}
    for number in range(PEOPLE):
        moment = START + timedelta(seconds=chance.randrange(200 * 86400))
        while moment < LATER:
            platform = chance.choice(["film", "knowledge"]) if number % 3 else "film"
            item = f"{platform[0]}{chance.randrange(6)}"
            event = {
                "event_id": f"e{sum(map(len, found.values()))}",
                "user_id": f"u{number}",
                "film_id" if platform == "film" else "content_id": item,
                "event_type": chance.choice(["view", "view", "impression", "purchase", "purchase", "refund"]),
                "occurred_at": moment.isoformat(sep=" "),
            }
            if event["event_type"] in ("purchase", "refund"):
                event |= {"amount": chance.choice([10, 20, 30]), "currency": chance.choice(["CNY", "CNY", "USD"])}
            found[platform].append(event)
            # Exactly a limit, to the second, now and then.
            moment += chance.choice(
                [
                    timedelta(days=30),
                    timedelta(days=90),
                    timedelta(seconds=chance.randrange(1, 8 * 86400), microseconds=chance.randrange(10**6)),
                    timedelta(seconds=chance.randrange(1, 120 * 86400)),
                ]
            )
    return found


@pytest.fixture(scope="module")
def segmented(dbt, fresh_raw):
    raw = fresh_raw()
    for platform, events in history(7).items():
        raw.deliver(f"{platform}__events", events, batch=1)
    raw.deliver(
        "identity__account_links",
        [{"film_user_id": f"u{n}", "knowledge_user_id": f"u{n}", "linked_at": str(START)} for n in range(PEOPLE)],
        batch=1,
    )
    raw.deliver(
        "film__films",
        [{"film_id": f"f{n}", "title": f"F{n}", "kind": "movie", "genres": [TOPICS[n % 2]]} for n in range(6)],
        batch=1,
    )
    raw.deliver(
        "knowledge__contents",
        [{"content_id": f"k{n}", "title": f"K{n}", "kind": "course", "topics": [TOPICS[n % 2]]} for n in range(6)],
        batch=1,
    )
    raw.run(as_of=str(AS_OF), batch=1)
    build(dbt)
    return raw, read(dbt)


def build(dbt, *options):
    """Both passes, and between them two people of a taste."""
    before = dbt(*BEFORE_MODELS, *options)
    assert before.succeeded, before.output
    with duckdb.connect(str(dbt.build_file)) as connection:
        ids = connection.execute("select user_key from core.dim_user order by user_key limit 2").to_arrow_table()
        members = ids.add_column(0, "segment_key", pa.array([TASTE["segment_key"]] * 2))
        write_tastes(connection, TasteSegments(pa.Table.from_pylist([TASTE], SEGMENT_SCHEMA), members, {}))
    after = dbt(*AFTER_MODELS, *options)
    assert after.succeeded, after.output


def read(dbt, query=STAYS):
    with duckdb.connect(str(dbt.build_file), read_only=True) as connection:
        return connection.execute(query).fetchall()


def seconds(moment):
    return moment.replace(microsecond=0)


def state_at(moment, known_at, actions):
    """The lifecycle as features.user_activity would have told it at a moment; None before the person is known."""
    if known_at is None or seconds(known_at) > seconds(moment):
        return None
    if (seconds(moment) - seconds(known_at)).days < 30:
        return "new"
    past = [action for action in actions if seconds(action) <= seconds(moment)]
    silence = (seconds(moment) - seconds(max(past))).days if past else None
    if silence is None or silence >= 90:
        return "dormant"
    return "active" if silence < 30 else "at_risk"


def test_at_every_moment_a_person_is_in_the_state_that_the_days_since_the_last_action_say(segmented, dbt):
    _, stays = segmented
    actions = read(
        dbt, "select user_key, domain, occurred_at from core.fct_interaction where event_type <> 'impression'"
    )
    people = dict(read(dbt, "select user_key, first_seen_at from core.dim_user"))
    chance = random.Random(3)
    moments = [START + (AS_OF - START) * chance.random() for _ in range(150)]
    # The moments at which a stay begins, and the second before each.
    moments += [start + timedelta(seconds=s) for _, _, _, start, _ in stays for s in (-1, 0)]
    moments = sorted({moment for moment in moments if moment <= AS_OF})
    compared = 0
    for user_key, first_seen_at in people.items():
        for platform in ("film", "knowledge", "joined"):
            own = [at for who, domain, at in actions if who == user_key and platform in (domain, "joined")]
            known_at = first_seen_at if platform == "joined" else min(own, default=None)
            prefix = f"lifecycle:{platform}:"
            spans = [stay for stay in stays if stay[1] == user_key and stay[0].startswith(prefix)]
            for moment in moments:
                there = [s[0].removeprefix(prefix) for s in spans if s[3] <= moment and (not s[4] or moment < s[4])]
                expected = state_at(moment, known_at, [at for at in own if at <= AS_OF])
                assert there == ([expected] if expected else []), (user_key, platform, moment)
                compared += 1
    assert compared > 10_000


def test_every_family_that_has_a_history_shows_one(segmented):
    _, stays = segmented
    ended = {stay[0] for stay in stays if not stay[2]}
    assert {key for key in ended if key.startswith("lifecycle:joined:")} == {
        f"lifecycle:joined:{state}" for state in ("new", "active", "at_risk", "dormant")
    }
    assert {key.split(":")[0] for key in ended} == {"lifecycle", "value"}


def test_all_segments_but_those_of_taste_are_made_before_the_models(segmented, dbt):
    """No table of the models is in the build file when these are built; nothing of the first pass may ask for one."""
    wanted = ("--select", "+defined_segment", "+defined_stay")
    listed = dbt("--quiet", "ls", "--resource-type", "model", *wanted, "--output", "name")
    before = dbt("--quiet", "ls", "--resource-type", "model", "--exclude", "tag:after_models", "--output", "name")
    assert {"defined_segment", "defined_stay"} <= set(listed.output.split()) <= set(before.output.split())
    assert not {"segment", "segment_membership"} & set(before.output.split())


def test_segments_of_taste_stand_beside_the_others(segmented, dbt):
    _, stays = segmented
    tastes = [stay for stay in stays if stay[0].startswith("taste:")]
    assert [(stay[0], *stay[2:]) for stay in tastes] == [("taste:joined:art", True, AS_OF, None)] * 2
    sizes = {key: people for key, *_, people in read(dbt, "from marketing.segment")}
    assert sizes["taste:joined:art"] == 2
    counted = Counter(stay[0] for stay in stays if stay[2])
    assert sizes == {key: counted[key] for key in sizes}
    assert set(counted) <= set(sizes)
    assert {key.split(":")[0] for key in sizes} == {"lifecycle", "value", "interest", "potential", "taste"}


def test_whatever_needs_what_python_has_written_is_built_in_the_second_pass(dbt):
    assert dbt("parse").succeeded
    manifest = dbt.manifest()
    raw = {key for key, source in manifest["sources"].items() if source["schema"] in ("raw", "quality")}
    later, reached = set(), set(manifest["sources"]) - raw
    while reached:
        later |= reached
        reached = {child for key in reached for child in manifest["child_map"].get(key, ())} - later
    nodes = {key: manifest["nodes"][key] for key in later if key in manifest["nodes"]}
    assert nodes
    assert {node["name"] for node in nodes.values() if "after_models" not in node["tags"]} == set()


def potential_scores(preferences, topics, linked):
    """Potential for knowledge of everyone who likes films only, as the definition says it, with a prior of 20 people."""
    liked = {side: defaultdict(Counter) for side in ("film", "knowledge")}
    for user, side, item, weight in preferences:
        for topic, share in topics[item].items():
            liked[side][user][topic] += weight * share
    amounts = {user: liked["knowledge"][user].total() for user in liked["film"]}
    learnt_from = [user for user in amounts if user in linked]
    half = statistics.median(amounts[user] for user in learnt_from)
    more = {user for user in learnt_from if amounts[user] > half}
    average = len(more) / len(learnt_from)
    shares = {}
    for topic in TOPICS:
        tastes = {user: liked["film"][user][topic] / liked["film"][user].total() for user in learnt_from}
        shares[topic] = (sum(tastes[user] for user in more) + 20 * average) / (sum(tastes.values()) + 20)
    return {
        user: sum(amount * shares[topic] for topic, amount in liked["film"][user].items())
        for user in amounts
        if not amounts[user]
    }


def test_potential_tells_the_people_of_one_side_apart(segmented, dbt):
    """Classes against a reckoning in Python: the best fifth, at most, is high, the next three tenths are medium."""
    _, stays = segmented
    topics = defaultdict(dict)
    for item, topic, share in read(dbt, "select item_key, topic_key, weight from core.bridge_item_topic"):
        topics[item][topic] = share
    linked = {user for (user,) in read(dbt, "select user_key from core.dim_user where is_linked")}
    preferences = read(
        dbt, "select user_key, domain, item_key, weight from features.user_item_preference where weight > 0"
    )
    scores = potential_scores(preferences, topics, linked)
    assert len(set(scores.values())) == len(scores) > 5
    best_first = sorted(scores, key=scores.get, reverse=True)
    high, medium = len(scores) * 2 // 10, len(scores) * 5 // 10
    levels = ["high"] * high + ["medium"] * (medium - high) + ["low"] * (len(scores) - medium)
    assert {user: key for key, user, *_ in stays if key.startswith("potential:knowledge:")} == {
        user: f"potential:knowledge:{level}" for user, level in zip(best_first, levels, strict=True)
    }
    assert set(levels) == {"high", "medium", "low"}


def test_recomputing_everything_gives_the_same_members_and_times(segmented, dbt):
    _, stays = segmented
    build(dbt, "--full-refresh")
    assert read(dbt) == stays


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_passes_on_what_is_right_and_finds_what_is_not(segmented, dbt, check):
    tested = dbt("test", "--select", check)
    assert tested.succeeded, tested.output
    [file] = (dbt.target / "compiled" / "zhiying" / "tests").rglob(f"{check}.sql")
    with duckdb.connect(str(dbt.build_file)) as connection:
        connection.execute("begin")
        connection.execute(
            "update marketing.segment_membership set segment_key = 'lifecycle:joined:new', "
            "entered_at = entered_at - interval '1 day' where is_current and segment_key = 'lifecycle:joined:active'"
        )
        faults = connection.execute(file.read_text()).fetchall()
        connection.execute("rollback")
    assert faults


def test_the_check_of_tastes_finds_who_does_not_want_to_be_profiled_in_segments_of_taste_only(segmented, dbt):
    check = "nobody_is_put_in_a_segment_of_taste_against_their_will"
    tested = dbt("test", "--select", check)
    assert tested.succeeded, tested.output
    [file] = (dbt.target / "compiled" / "zhiying" / "tests").rglob(f"{check}.sql")
    with duckdb.connect(str(dbt.build_file)) as connection:
        connection.execute("begin")
        [(user_key, platform, user_id)] = connection.execute(
            "select user_key, platform, user_id from marketing.segment_membership "
            "inner join intermediate.int_account__joined using (user_key) inner join raw.account using (account_key, platform) "
            "where segment_key = ? order by user_key, platform limit 1",
            [TASTE["segment_key"]],
        ).fetchall()
        connection.execute(
            "insert into raw.privacy__consents by name select ? as platform, ? as user_id, 'personalisation' as purpose, "
            "false as granted, ?::timestamp as changed_at, true as _is_current",
            [platform, user_id, AS_OF],
        )
        found = set(connection.execute(file.read_text()).fetchall())
        own = connection.execute(
            "select user_key, segment_key from marketing.segment_membership where user_key = ?", [user_key]
        ).fetchall()
        connection.execute("rollback")
    assert found == {row for row in own if row[1].split(":")[0] in ("interest", "potential", "taste")}
    assert (user_key, TASTE["segment_key"]) in found
    assert set(own) - found, "they stay in segments of what they did"


def test_a_stay_that_is_over_stays_as_it_was_when_time_goes_on(segmented, dbt):
    """Comes last but for one: it leaves the tables at a later moment."""
    raw, stays = segmented
    raw.run(as_of=str(LATER), batch=1)
    build(dbt)
    later = {(key, user, start): end for key, user, _, start, end in read(dbt)}
    for key, user, is_current, start, end in stays:
        if key.startswith(("lifecycle:", "value:")):
            assert (key, user, start) in later
            assert later[key, user, start] == end or (is_current and (end := later[key, user, start]) > AS_OF)


def test_the_others_have_the_times_of_the_runs_that_saw_them_also_after_a_full_refresh(segmented, dbt):
    """Comes last, at the later moment."""
    _, earlier = segmented
    seen = [stay for stay in earlier if stay[0].startswith(("interest:", "potential:", "taste:"))]
    assert {start for _, _, _, start, _ in seen} == {AS_OF}
    now = {(key, user) for key, user, is_current, *_ in read(dbt) if is_current}
    times = {
        (key, user): (start, end) for key, user, _, start, end in read(dbt) if (key, user) in {s[:2] for s in seen}
    }
    assert times == {stay[:2]: (AS_OF, None if stay[:2] in now else LATER) for stay in seen}
    assert len({end for _, end in times.values()}) == 2
    stays = read(dbt)
    build(dbt, "--full-refresh")
    assert read(dbt) == stays
    # Only tests of what is built here.
    only = ("--indirect-selection", "cautious")
    tested = dbt("test", "--select", "segment_membership", "segment", "dim_user", *only)
    assert tested.succeeded, tested.output
    assert "stays_follow_one_another" in tested.output

"""Segments over a small random history: stays against a reckoning in Python, at another time, and recomputed."""

import random
from datetime import datetime, timedelta

import duckdb
import pytest

from tests.dbt.raw_schema import make_scored_tables

BUILD = ("build", "--select", "+segment", "+user_activity", "--exclude-resource-type", "test", "unit_test")
CHECKS = ("lifecycle_agrees_with_user_activity", "stays_follow_one_another")
START, AS_OF = datetime(2025, 1, 1), datetime(2026, 1, 31, 12, 0, 0, 500_000)
LATER = AS_OF + timedelta(days=70)
STAYS = (
    "select segment_key, user_key, is_current, entered_at, exited_at from marketing.segment_membership "
    "order by segment_key, user_key, entered_at"
)


def history(seed: int) -> dict[str, list[dict[str, object]]]:
    """Actions of twelve people, close together and with long silences; purchases, some given back."""
    chance = random.Random(seed)
    found: dict[str, list[dict[str, object]]] = {"film": [], "knowledge": []}
    for number in range(12):
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
        [{"film_user_id": f"u{n}", "knowledge_user_id": f"u{n}"} for n in range(12)],
        batch=1,
    )
    with duckdb.connect(str(dbt.build_file)) as connection:
        make_scored_tables(connection, {"scored_user_item": [], "scored_item_item": [], "model_evaluation": []})
    raw.run(as_of=str(AS_OF), batch=1)
    built = dbt(*BUILD)
    assert built.succeeded, built.output
    return raw, read(dbt)


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


def test_recomputing_everything_gives_the_same_members_and_times(segmented, dbt):
    _, stays = segmented
    again = dbt(*BUILD, "--full-refresh")
    assert again.succeeded, again.output
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


def test_a_stay_that_is_over_stays_as_it_was_when_time_goes_on(segmented, dbt):
    """Comes last: it leaves the tables at a later moment."""
    raw, stays = segmented
    raw.run(as_of=str(LATER), batch=1)
    built = dbt(*BUILD)
    assert built.succeeded, built.output
    later = {(key, user, start): end for key, user, _, start, end in read(dbt)}
    for key, user, is_current, start, end in stays:
        if key.startswith(("lifecycle:", "value:")):
            assert (key, user, start) in later
            assert later[key, user, start] == end or (is_current and (end := later[key, user, start]) > AS_OF)

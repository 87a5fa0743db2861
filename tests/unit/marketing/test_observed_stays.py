"""Stays that are known from run to run, against a reckoning of who was seen when."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from orchestration.marketing.tastes import SEGMENT_SCHEMA, TasteSegments, write_tastes

START = datetime(2026, 1, 1)
SEEN = "select segment_key, user_key, entered_at, exited_at from marketing.known_membership order by all"
Members = set[tuple[str, str]]

WORLD = """
create schema core; create schema raw; create schema marketing;
create table raw.run (as_of timestamp);
create table core.dim_user (user_key varchar, may_be_personalised boolean default true);
create table marketing.defined_segment (
    segment_key varchar, family varchar, name varchar, platform varchar, definition varchar
);
create table marketing.defined_stay (
    segment_key varchar, user_key varchar, entered_at timestamp, exited_at timestamp
);
insert into core.dim_user (user_key) values ('ann'), ('ben'), ('cal');
"""


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def run(connection: duckdb.DuckDBPyConnection, number: int, members: Members) -> None:
    """What a run as of a day writes if it finds these people in these segments."""
    connection.execute("delete from raw.run; delete from marketing.defined_stay; delete from marketing.defined_segment")
    connection.execute("insert into raw.run values (?)", [day(number)])
    connection.execute(
        "insert into marketing.defined_stay values ('value:joined:loyal', 'ann', '2025-03-01', '2025-05-01')"
    )
    for segment_key, user_key in members:
        if not segment_key.startswith("taste:"):
            connection.execute(
                "insert into marketing.defined_stay values (?, ?, ?, null)", [segment_key, user_key, day(number)]
            )
    for segment_key in {segment for segment, _ in members}:
        if not segment_key.startswith("taste:"):
            family = segment_key.split(":")[0]
            connection.execute(
                "insert into marketing.defined_segment values (?, ?, ?, 'joined', ?)",
                [segment_key, family, segment_key, f"as of day {number}"],
            )
    tastes = sorted((segment, user) for segment, user in members if segment.startswith("taste:"))
    segments = [
        {"segment_key": key, "family": "taste", "name": key, "platform": "joined", "definition": f"as of day {number}"}
        for key in sorted({key for key, _ in tastes})
    ]
    rows = pa.table(
        {"segment_key": [key for key, _ in tastes], "user_key": [user for _, user in tastes]},
        schema=pa.schema([("segment_key", pa.string()), ("user_key", pa.string())]),
    )
    write_tastes(connection, TasteSegments(pa.Table.from_pylist(segments, SEGMENT_SCHEMA), rows, {}))


def stays(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """All stays but the one that facts tell."""
    return [row for row in connection.execute(SEEN).fetchall() if not row[0].startswith("value:")]


def reckoned(seen: dict[int, Members], as_of: int) -> list[tuple[Any, ...]]:
    """Stays if whoever a run saw is in the segment up to the moment of the next run."""
    found = []
    days = sorted(number for number in seen if number <= as_of)
    for segment, user in sorted(set().union(*seen.values())):
        inside = [(segment, user) in seen[number] for number in days]
        changes = [number for number, (was, now) in zip(days, pairwise([False, *inside]), strict=True) if was != now]
        starts, ends = changes[::2], [*changes[1::2], None]
        found += [(segment, user, day(a), None if b is None else day(b)) for a, b in zip(starts, ends, strict=False)]
    return sorted(found, key=lambda row: row[:3])


@pytest.fixture
def world() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(WORLD)
        yield connection


def test_a_stay_is_from_the_first_run_that_sees_somebody_to_the_first_that_does_not(
    world: duckdb.DuckDBPyConnection,
) -> None:
    drama, crime, high = "interest:joined:drama", "taste:joined:crime", "potential:film:high"
    run(world, 1, {(drama, "ann"), (crime, "ben")})
    run(world, 3, {(drama, "ann"), (crime, "ben"), (high, "cal")})
    run(world, 7, {(crime, "ann"), (high, "cal")})
    assert stays(world) == [
        (drama, "ann", day(1), day(7)),
        (high, "cal", day(3), None),
        (crime, "ann", day(7), None),
        (crime, "ben", day(1), day(7)),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_runs_in_any_order_and_twice_leave_what_was_seen_at_each_moment(
    world: duckdb.DuckDBPyConnection, seed: int
) -> None:
    chance = random.Random(seed)
    segments = ("interest:joined:drama", "interest:joined:war", "taste:joined:crime")
    seen: dict[int, Members] = {}
    for _ in range(12):
        number = chance.randrange(8)
        seen[number] = {
            (segment, user) for segment in segments for user in ("ann", "ben", "cal") if chance.random() < 0.6
        }
        run(world, number, seen[number])
        assert stays(world) == reckoned(seen, number)
        run(world, number, seen[number])
        assert stays(world) == reckoned(seen, number)


def test_stays_that_facts_tell_are_not_kept(world: duckdb.DuckDBPyConnection) -> None:
    run(world, 1, {("lifecycle:film:new", "ann")})
    run(world, 2, set())
    assert world.execute(SEEN).fetchall() == [
        ("value:joined:loyal", "ann", datetime(2025, 3, 1), datetime(2025, 5, 1)),
    ]


def test_of_joined_accounts_the_survivors_stays_count_and_nobodys_are_lost_when_they_part(
    world: duckdb.DuckDBPyConnection,
) -> None:
    drama, war = "interest:joined:drama", "interest:joined:war"
    run(world, 1, {(drama, "ann"), (war, "ben")})
    world.execute("delete from core.dim_user where user_key = 'ben'")
    run(world, 2, {(drama, "ann")})
    assert stays(world) == [(drama, "ann", day(1), None)]
    world.execute("insert into core.dim_user (user_key) values ('ben')")
    run(world, 3, {(drama, "ann"), (war, "ben")})
    assert stays(world) == [(drama, "ann", day(1), None), (war, "ben", day(1), day(2)), (war, "ben", day(3), None)]


def test_a_segment_that_is_gone_is_still_told_as_it_was(world: duckdb.DuckDBPyConnection) -> None:
    run(world, 1, {("taste:joined:crime", "ann"), ("taste:joined:war", "ben")})
    run(world, 2, {("taste:joined:war", "ben")})
    told = dict(world.execute("select segment_key, definition from marketing.observed_segment").fetchall())
    assert told == {"taste:joined:crime": "as of day 1", "taste:joined:war": "as of day 2"}
    assert world.execute("select segment_key from marketing.known_segment").fetchall() == [("taste:joined:war",)]


def test_a_run_as_of_an_earlier_moment_tells_only_of_segments_that_are_not_told_yet(
    world: duckdb.DuckDBPyConnection,
) -> None:
    told = "select segment_key, definition from marketing.observed_segment"
    drama, crime, war = "interest:joined:drama", "taste:joined:crime", "taste:joined:war"
    run(world, 5, {(drama, "ann"), (crime, "ann")})
    run(world, 2, {(drama, "ann"), (crime, "ann"), (war, "ben")})
    assert dict(world.execute(told).fetchall()) == {drama: "as of day 5", crime: "as of day 5", war: "as of day 2"}
    # The run itself shows its own, and the next one goes on from the latest.
    assert set(world.execute("select definition from marketing.known_segment").fetchall()) == {("as of day 2",)}
    run(world, 6, {(crime, "ann")})
    assert dict(world.execute(told).fetchall()) == {drama: "as of day 5", crime: "as of day 6", war: "as of day 2"}


def test_a_run_that_is_cut_off_leaves_all_as_it_was(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "build.duckdb")) as connection:
        connection.execute(WORLD)
        run(connection, 1, {("interest:joined:drama", "ann"), ("taste:joined:war", "ben")})
        before = stays(connection)
        # The views cannot be made without people, and come last.
        connection.execute("alter table core.dim_user rename to gone")
        with pytest.raises(duckdb.Error):
            run(connection, 2, {("interest:joined:war", "ann")})
    with duckdb.connect(str(tmp_path / "build.duckdb")) as connection:
        connection.execute("alter table core.gone rename to dim_user")
        assert stays(connection) == before
        run(connection, 2, {("interest:joined:war", "ann")})
        assert [row[0::3] for row in stays(connection)] == [
            ("interest:joined:drama", day(2)),
            ("interest:joined:war", None),
            ("taste:joined:war", day(2)),
        ]


def test_stays_of_who_refuses_to_be_profiled_are_hidden_for_as_long(world: duckdb.DuckDBPyConnection) -> None:
    drama = "interest:joined:drama"
    run(world, 1, {(drama, "ann"), (drama, "ben")})
    world.execute("update core.dim_user set may_be_personalised = user_key != 'ann'")
    run(world, 3, {(drama, "ben")})
    assert stays(world) == [(drama, "ben", day(1), None)]
    world.execute("update core.dim_user set may_be_personalised = true")
    run(world, 5, {(drama, "ann"), (drama, "ben")})
    assert stays(world) == [(drama, "ann", day(1), day(3)), (drama, "ann", day(5), None), (drama, "ben", day(1), None)]

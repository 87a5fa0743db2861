"""The demo landing zone: complete, the same each time, faulty where it should be, and honest about what is invented."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import hashlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from simulation.demo import (
    DEFAULT_DAYS,
    FEWEST_DAYS,
    LAST_DAY,
    MOST_DAYS,
    NEXT_DAYS,
    DemoSummary,
    write_demo_day,
    write_demo_landing,
)
from simulation.world import build_world

SEED = 7


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoSummary:
    return write_demo_landing(tmp_path_factory.mktemp("demo") / "landing", seed=SEED)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_rows(path: Path) -> list[dict[str, Any]]:
    """A second reader of the landing formats, on the standard library."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if ".ndjson" in path.name:
        return [json.loads(line) for line in content.decode().splitlines()]
    return list(csv.DictReader(io.StringIO(content.decode())))


def event_ids(demo: DemoSummary, table: str) -> Counter[str]:
    return Counter(
        row["event_id"]
        for path in (demo.landing_dir / table).rglob("*.*")
        if path.relative_to(demo.landing_dir).as_posix() not in demo.broken
        for row in read_rows(path)
    )


def test_the_same_seed_gives_the_same_bytes(demo: DemoSummary, tmp_path: Path) -> None:
    build_world.cache_clear()

    write_demo_landing(tmp_path, seed=SEED)

    assert digests(tmp_path) == digests(demo.landing_dir)


def test_another_seed_changes_the_simulated_side_and_leaves_the_real_one(demo: DemoSummary, tmp_path: Path) -> None:
    write_demo_landing(tmp_path, seed=SEED + 1)

    ours, theirs = digests(demo.landing_dir), digests(tmp_path)
    history = "events/history_until_2013-06-28.parquet"
    assert ours["film/films/films.ndjson.gz"] == theirs["film/films/films.ndjson.gz"]
    assert ours[f"film/{history}"] == theirs[f"film/{history}"]
    assert ours[f"knowledge/{history}"] != theirs[f"knowledge/{history}"]


@pytest.mark.parametrize("table", ["film/events", "knowledge/events"])
def test_both_platforms_deliver_a_folder_for_each_of_at_least_sixty_days(demo: DemoSummary, table: str) -> None:
    folders = sorted(path.name for path in (demo.landing_dir / table).glob("dt=*"))

    assert DEFAULT_DAYS >= 60
    assert folders == [f"dt={demo.first_day + dt.timedelta(days=number)}" for number in range(DEFAULT_DAYS)]
    assert folders[-1] == f"dt={LAST_DAY}"


def test_every_format_of_the_contract_is_delivered(demo: DemoSummary) -> None:
    found = {path.name.split(".", 1)[1] for path in (demo.landing_dir / "knowledge/events").rglob("*.*")}

    assert found == {"parquet", "csv", "csv.gz", "ndjson", "ndjson.gz"}


@pytest.mark.parametrize("table", ["film/events", "knowledge/events"])
def test_every_event_of_the_world_up_to_the_last_day_arrives(demo: DemoSummary, table: str) -> None:
    world = build_world(SEED).tables[table]
    expected = world.filter(pc.less(world["occurred_at"], pa.scalar(dt.datetime(2013, 8, 30))))["event_id"].to_pylist()

    arrived = {event_id for event_id in event_ids(demo, table) if not event_id.startswith("sim-bad")}

    assert arrived == set(expected)
    assert demo.rows_by_table[table] == len(expected)


def test_events_lie_in_the_folder_of_their_day_but_for_late_and_repeated_files(demo: DemoSummary) -> None:
    for table in ("film/events", "knowledge/events"):
        for path in (demo.landing_dir / table).glob("dt=*/part-0.*"):
            days = {str(row["occurred_at"])[:10] for row in read_rows(path) if "sim-bad" not in row["event_id"]}
            assert {f"dt={day}" for day in days} == {path.parent.name}


def test_late_files_hold_events_of_days_before_their_folder_only(demo: DemoSummary) -> None:
    assert len(demo.late) >= 4
    for late in demo.late:
        path = demo.landing_dir / late
        assert {row["occurred_at"][:10] for row in read_rows(path)} == {path.stem.removeprefix("late_from_")}
        assert path.stem.removeprefix("late_from_") < path.parent.name.removeprefix("dt=")


def test_repeated_files_have_the_bytes_of_another_file(demo: DemoSummary) -> None:
    found = digests(demo.landing_dir)

    assert len(demo.repeated) >= 2
    arrivals = event_ids(demo, "film/events") + event_ids(demo, "knowledge/events")
    for path in demo.repeated:
        assert Counter(found.values())[found[path]] == 2
        rows = read_rows(demo.landing_dir / path)
        assert {arrivals[row["event_id"]] for row in rows} == {2}


def test_broken_files_are_broken_in_four_ways(demo: DemoSummary) -> None:
    truncated, without_column, empty, encoding = (demo.landing_dir / path for path in demo.broken)

    with pytest.raises(Exception, match="Parquet"):
        pq.read_table(truncated)
    assert "occurred_at" not in read_rows(without_column)[0]
    assert empty.read_bytes() == b""
    with pytest.raises(UnicodeDecodeError):
        encoding.read_bytes().decode()


def test_fewer_than_one_row_in_a_hundred_is_bad(demo: DemoSummary) -> None:
    assert {"film/events", "knowledge/events", "knowledge/users", "knowledge/contents"} <= set(demo.bad_rows)
    for table, bad in demo.bad_rows.items():
        assert 0 < bad < 0.01 * demo.rows_by_table[table]


def test_a_bad_row_differs_from_a_good_one_in_one_column(demo: DemoSummary) -> None:
    """So that the reason that people read in the quarantine is the one that was meant."""
    bad = [
        row
        for path in (demo.landing_dir / "knowledge/events").rglob("part-0.csv")
        for row in read_rows(path)
        if "sim-bad" in row["event_id"]
    ]

    usual = {column: Counter(row[column] for row in bad).most_common(1)[0][0] for column in bad[0]}
    changed = [{column for column in row if row[column] != usual[column]} - {"event_id"} for row in bad]
    assert all(len(columns) == 1 for columns in changed)
    assert {next(iter(columns)) for columns in changed} == {
        "value",
        "event_type",
        "occurred_at",
        "user_id",
        "amount",
        "currency",
    }


def test_what_is_simulated_says_so(demo: DemoSummary) -> None:
    note = (demo.landing_dir / "_SIMULATED.md").read_text()
    contents = [
        row
        for row in read_rows(demo.landing_dir / "knowledge/contents/catalogue.csv")
        if "bad" not in row["content_id"]
    ]
    users = [row for path in demo.landing_dir.glob("*/users/*.*") for row in read_rows(path)]

    assert "Simulated" in note
    assert "MovieTweetings" in note
    assert all("Simulated item" in row["summary"] and row["content_id"].startswith("sim-") for row in contents)
    assert all(row["email"].endswith("@example.com") and " 555 01" in row["phone"] for row in users)
    assert all("Simulated" in row["objective"] for row in build_world(SEED).tables["marketing/campaigns"].to_pylist())


def test_a_shorter_demo_keeps_all_events(tmp_path: Path, demo: DemoSummary) -> None:
    short = write_demo_landing(tmp_path, seed=SEED, days=FEWEST_DAYS)

    assert len(list((tmp_path / "film/events").glob("dt=*"))) == FEWEST_DAYS
    assert short.rows_by_table == demo.rows_by_table


@pytest.mark.parametrize("days", [FEWEST_DAYS - 1, MOST_DAYS + 1])
def test_days_out_of_range_are_refused(tmp_path: Path, days: int) -> None:
    with pytest.raises(ValueError, match=f"from {FEWEST_DAYS} to {MOST_DAYS} daily deliveries, not {days}"):
        write_demo_landing(tmp_path, days=days)
    assert not list(tmp_path.iterdir())


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        write_demo_landing(tmp_path, seed=-1)


def test_progress_counts_up_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []

    write_demo_landing(tmp_path, seed=SEED, days=FEWEST_DAYS, progress=lambda *step: told.append(step))

    assert [done for _, done, _ in told] == list(range(FEWEST_DAYS + 3))
    assert {total for _, _, total in told} == {FEWEST_DAYS + 2}


def test_a_new_day_brings_the_events_of_that_day_and_rows_that_were_missing(tmp_path: Path, demo: DemoSummary) -> None:
    files = write_demo_day(tmp_path, NEXT_DAYS[0], seed=SEED)

    assert {"film/events/dt=2013-08-30/part-0.parquet", "knowledge/events/dt=2013-08-30/part-0.parquet"} <= set(files)
    for table in ("film/events", "knowledge/events"):
        rows = read_rows(tmp_path / table / "dt=2013-08-30/part-0.parquet")
        assert rows
        assert {row["occurred_at"].date() for row in rows} == {NEXT_DAYS[0]}
        assert not {row["event_id"] for row in rows} & set(event_ids(demo, table))
    known = {row["user_id"] for row in read_rows(demo.landing_dir / "knowledge/users/accounts.csv")}
    late = {row["user_id"] for row in read_rows(tmp_path / "knowledge/users/late_accounts.csv")}
    assert late
    assert not late & known


def test_a_new_day_lowers_some_prices(tmp_path: Path, demo: DemoSummary) -> None:
    write_demo_day(tmp_path, NEXT_DAYS[1], seed=SEED)

    before = {row["content_id"]: row for row in read_rows(demo.landing_dir / "knowledge/contents/catalogue.csv")}
    changed = read_rows(tmp_path / "knowledge/contents/changes_2013-08-31.csv")
    assert len(changed) == 3
    for row in changed:
        assert float(row["price"]) == pytest.approx(0.9 * float(before[row["content_id"]]["price"]), abs=0.01)
        assert row["updated_at"] == "2013-08-31T00:00:00Z"


def test_a_day_that_is_not_after_the_demo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the days after the demo are 2013-08-30, 2013-08-31, 2013-09-01"):
        write_demo_day(tmp_path, LAST_DAY)

"""The landing zone of `zhiying demo`: the world cut into files as two platforms would deliver them, faults included.

Ratings and events before the daily window come in one history file per platform, those of the window in a folder per day. Three
more days with real ratings are kept back for `write_demo_day`. What is simulated is said in `_SIMULATED.md` beside the files.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from simulation import faults
from simulation.clock import FIRST_DAY, LAST_DAY, NEXT_DAYS, midnight
from simulation.files import encode
from simulation.world import World, build_world

DEFAULT_SEED = 20130829
DEFAULT_DAYS = 62
FEWEST_DAYS = 14
MOST_DAYS = (LAST_DAY - FIRST_DAY).days

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many steps are done and how many there are."""

# Column that says on which day a row is delivered; tables without one are delivered whole at the start.
_DAY_COLUMN = {
    "film/events": "occurred_at",
    "knowledge/events": "occurred_at",
    "identity/account_links": "linked_at",
    "marketing/exposures": "shown_at",
    "marketing/responses": "occurred_at",
}
_EVENT_TABLES = ("film/events", "knowledge/events")
_WEEKLY_TABLES = ("identity/account_links", "marketing/exposures", "marketing/responses")
_WHOLE_FILES = {
    "film/films": "films.ndjson.gz",
    "film/users": "accounts.parquet",
    "knowledge/contents": "catalogue.csv",
    "knowledge/users": "accounts.csv",
    "marketing/campaigns": "campaigns.ndjson",
    "privacy/consents": "consents.csv.gz",
    "privacy/erasure_requests": "requests.csv",
    "social/follows": "follows.parquet",
}
_FORMATS = ("parquet", "parquet", "csv", "parquet", "csv.gz", "parquet", "parquet", "ndjson", "parquet", "ndjson.gz")

LATE_ACCOUNTS = 12
"""Knowledge accounts whose row comes with the first day after the demo: until then they are known from events only."""

_NOTE = """# What is simulated here

Real: films and ratings (`film/films`, `film/events`) are a subset of MovieTweetings, Copyright (c) 2013 Simon Dooms,
MIT licence; ratings of 0 to 10 are halved, and are at least 1. The days are those on which people tweeted them.

Simulated, by the Zhiying demo with seed {seed}: everything else. The knowledge platform's catalogue, its teachers,
accounts, events, prices and purchases; places, ages, genders, devices, e-mail addresses (all at example.com) and
telephone numbers of the accounts of both platforms; account links, follows, campaigns, exposures, responses, consents
and erasure requests. Identifiers that start with `sim-` are of invented things. Some files are late, repeated or broken
on purpose.
"""


@dataclasses.dataclass(frozen=True)
class DemoSummary:
    """What was laid down.

    Attributes:
        landing_dir: The landing folder.
        seed: Seed of the world.
        first_day: First day with a folder of its own.
        last_day: Last day of the landing zone.
        rows_by_table: Distinct good rows per table, faults left out.
        files: Number of files, the note left out.
        bytes: Their total size.
        linked_people: Film accounts with at least one linked knowledge account.
        late: Files with rows of earlier days.
        repeated: Files whose bytes were delivered under another name before.
        broken: Files that cannot be loaded.
        bad_rows: Rows that cannot be loaded, per table.
    """

    landing_dir: Path
    seed: int
    first_day: dt.date
    last_day: dt.date
    rows_by_table: Mapping[str, int]
    files: int
    bytes: int
    linked_people: int
    late: tuple[str, ...]
    repeated: tuple[str, ...]
    broken: tuple[str, ...]
    bad_rows: Mapping[str, int]

    @property
    def rows(self) -> int:
        """Distinct good rows of all tables."""
        return sum(self.rows_by_table.values())


def write_demo_landing(
    landing_dir: Path, *, seed: int = DEFAULT_SEED, days: int = DEFAULT_DAYS, progress: Progress | None = None
) -> DemoSummary:
    """Lays down the demo landing zone; files of the same names are overwritten.

    Args:
        landing_dir: Folder to write to, made if it is missing.
        seed: Seed of everything simulated, >= 0. The same seed and days give the same bytes.
        days: Number of days up to `LAST_DAY` that get a folder of their own, from `FEWEST_DAYS` to `MOST_DAYS`.
        progress: Called as the work goes on.

    Returns:
        What was written.

    Raises:
        ValueError: If seed or days are out of range.
    """
    if not FEWEST_DAYS <= days <= MOST_DAYS:
        raise ValueError(f"the demo has from {FEWEST_DAYS} to {MOST_DAYS} daily deliveries, not {days}")
    tell = progress or (lambda step, done, total: None)
    tell("making the demo world", 0, days + 2)
    world = build_world(seed)
    window = [LAST_DAY - dt.timedelta(days=days - 1 - number) for number in range(days)]
    plan = _Plan()
    _deliver_whole_tables(plan, world)
    _deliver_history(plan, world, window[0])
    tell("making the daily files", 1, days + 2)
    for number, day in enumerate(window):
        _deliver_events_of_day(plan, world, window, number)
        if number % 7 == 6 or day == LAST_DAY:
            _deliver_week(plan, world, window[number - number % 7], day)
        tell("making the daily files", number + 2, days + 2)
    _break_some(plan, world, window)
    landing_dir.mkdir(parents=True, exist_ok=True)
    (landing_dir / "_SIMULATED.md").write_text(_NOTE.format(seed=seed), encoding="utf-8")
    size = _write(landing_dir, plan.deliveries)
    tell("demo landing zone written", days + 2, days + 2)
    links = _between(world.tables["identity/account_links"], "linked_at", FIRST_DAY.replace(year=2000), LAST_DAY)
    return DemoSummary(
        landing_dir=landing_dir,
        seed=seed,
        first_day=window[0],
        last_day=LAST_DAY,
        rows_by_table=plan.rows,
        files=len(plan.deliveries),
        bytes=size,
        linked_people=pc.count_distinct(links["film_user_id"]).as_py(),
        late=tuple(plan.late),
        repeated=tuple(plan.repeated),
        broken=tuple(plan.broken),
        bad_rows=plan.bad_rows,
    )


def write_demo_day(landing_dir: Path, day: dt.date, *, seed: int = DEFAULT_SEED) -> tuple[str, ...]:
    """Delivers one of the days after the demo: its events, links, exposures and responses, and a few changed prices.

    With the first of them come the rows of the accounts that had been left out.

    Args:
        landing_dir: Folder of the demo landing zone.
        day: One of `NEXT_DAYS`.
        seed: Seed with which the landing zone was written.

    Returns:
        Paths of the files written, relative to the landing folder.

    Raises:
        ValueError: If the day is not one of `NEXT_DAYS`.
    """
    if day not in NEXT_DAYS:
        known = ", ".join(next_day.isoformat() for next_day in NEXT_DAYS)
        raise ValueError(f"no demo data for {day}: the days after the demo are {known}")
    world = build_world(seed)
    deliveries: dict[str, bytes] = {}
    for table, column in _DAY_COLUMN.items():
        rows = _between(world.tables[table], column, day, day)
        if len(rows):
            deliveries[faults.day_path(table, day, "part-0.parquet")] = encode(rows, "parquet")
    deliveries[f"knowledge/contents/changes_{day.isoformat()}.csv"] = encode(_price_changes(world, day), "csv")
    if day == NEXT_DAYS[0]:
        late = world.tables["knowledge/users"].slice(0, LATE_ACCOUNTS)
        deliveries["knowledge/users/late_accounts.csv"] = encode(late, "csv")
    _write(landing_dir, deliveries)
    return tuple(deliveries)


class _Plan:
    """The files to write and the record of what was done to them."""

    def __init__(self) -> None:
        self.deliveries: dict[str, bytes] = {}
        self.rows: dict[str, int] = {}
        self.late: list[str] = []
        self.repeated: list[str] = []
        self.broken: list[str] = []
        self.bad_rows: dict[str, int] = {}

    def deliver(self, path: str, rows: pa.Table) -> None:
        source, table, *folders = path.split("/")
        name = f"{source}/{table}"
        self.rows[name] = self.rows.get(name, 0) + len(rows)
        self.deliveries[path] = encode(rows, folders[-1].split(".", 1)[1])

    def add_bad_rows(self, path: str, rows: list[dict[str, str]]) -> None:
        append = faults.append_csv_rows if path.endswith(".csv") else faults.append_ndjson_rows
        append(self.deliveries, path, rows)
        name = "/".join(path.split("/")[:2])
        self.bad_rows[name] = self.bad_rows.get(name, 0) + len(rows)


def _deliver_whole_tables(plan: _Plan, world: World) -> None:
    for table, file in _WHOLE_FILES.items():
        rows = world.tables[table]
        if table == "knowledge/users":
            rows = rows.slice(LATE_ACCOUNTS)
        plan.deliver(f"{table}/{file}", rows)


def _deliver_history(plan: _Plan, world: World, first_day: dt.date) -> None:
    """Everything before the daily window, in one file per table."""
    before = first_day - dt.timedelta(days=1)
    for table, column in _DAY_COLUMN.items():
        rows = _between(world.tables[table], column, dt.date(1990, 1, 1), before)
        if len(rows):
            plan.deliver(f"{table}/history_until_{before.isoformat()}.parquet", rows)


def _deliver_events_of_day(plan: _Plan, world: World, window: list[dt.date], number: int) -> None:
    """A day's events of both platforms; on some days, part of them comes days later."""
    day = window[number]
    from_the_end = len(window) - 1 - number
    for offset, table in enumerate(_EVENT_TABLES):
        rows = _between(world.tables[table], _DAY_COLUMN[table], day, day)
        extension = _FORMATS[(from_the_end + 3 * offset) % len(_FORMATS)]
        if from_the_end in _late_days(len(window))[table]:
            rows, late = faults.split_late_rows(world.seed, table, day, rows)
            arrival = day + dt.timedelta(days=3 + from_the_end % 3)
            path = faults.day_path(table, arrival, f"late_from_{day.isoformat()}.csv")
            plan.deliver(path, late)
            plan.late.append(path)
        if table == "knowledge/events" and from_the_end == 4:
            rows = faults.with_unknown_column(rows)
        plan.deliver(faults.day_path(table, day, f"part-0.{extension}"), rows)


def _late_days(days: int) -> dict[str, tuple[int, ...]]:
    """Days, counted from the last, of which part of the events comes late."""
    return {
        "film/events": tuple(range(6, days, 15)),
        "knowledge/events": tuple(range(8, days, 13)),
    }


def _deliver_week(plan: _Plan, world: World, first_day: dt.date, last_day: dt.date) -> None:
    for number, table in enumerate(_WEEKLY_TABLES):
        rows = _between(world.tables[table], _DAY_COLUMN[table], first_day, last_day)
        if len(rows):
            extension = ("csv", "parquet", "ndjson")[number]
            plan.deliver(f"{table}/week_to_{last_day.isoformat()}.{extension}", rows)


def _break_some(plan: _Plan, world: World, window: list[dt.date]) -> None:
    """Repeats some files, adds broken ones and puts bad rows into good ones."""
    for table, from_the_end, later in (
        ("knowledge/events", 10, 0),
        ("knowledge/events", 3, 1),
        ("film/events", 11, 0),
        ("film/events", 5, 2),
    ):
        day = window[-1 - from_the_end]
        path = next(path for path in plan.deliveries if path.startswith(faults.day_path(table, day, "part-0.")))
        extension = path.rsplit("/", 1)[1].split(".", 1)[1]
        again = faults.day_path(table, day + dt.timedelta(days=later), f"again_{day.isoformat()}.{extension}")
        faults.repeat_file(plan.deliveries, path, again)
        plan.repeated.append(again)

    day = window[-3]
    events = {table: _between(world.tables[table], _DAY_COLUMN[table], day, day) for table in _EVENT_TABLES}
    knowledge, film = events["knowledge/events"], events["film/events"]
    broken = {
        name: faults.day_path(table, day, file)
        for name, table, file in (
            ("truncated", "knowledge/events", "part-1.parquet"),
            ("without column", "knowledge/events", "part-2.csv"),
            ("empty", "film/events", "part-1.csv"),
            ("encoding", "film/events", "part-2.csv"),
        )
    }
    faults.add_truncated_file(plan.deliveries, broken["truncated"], knowledge)
    faults.add_file_without_column(plan.deliveries, broken["without column"], knowledge.slice(0, 40), "occurred_at")
    faults.add_empty_file(plan.deliveries, broken["empty"])
    faults.add_file_in_wrong_encoding(plan.deliveries, broken["encoding"], film.slice(0, 40))
    plan.broken.extend(broken.values())

    for table in _EVENT_TABLES:
        ratings = world.tables[table].filter(pc.equal(world.tables[table]["event_type"], "rating"))
        bad = faults.bad_event_lines(table, ratings, with_money=table == "knowledge/events")
        plain = [path for path in plan.deliveries if path.startswith(table) and "/part-0." in path]
        csv_path = next(path for path in reversed(plain) if path.endswith(".csv"))
        ndjson_path = next(path for path in reversed(plain) if path.endswith(".ndjson"))
        plan.add_bad_rows(csv_path, bad)
        plan.add_bad_rows(ndjson_path, [{**row, "event_id": row["event_id"] + "-n"} for row in bad[:6]])

    users, contents = world.tables["knowledge/users"], world.tables["knowledge/contents"]
    plan.add_bad_rows(
        "knowledge/users/accounts.csv",
        [
            faults.bad_line(users, user_id="sim-bad-user-1", country="ATLANTIS"),
            faults.bad_line(users, user_id="sim-bad-user-2", birth_year="nineteen eighty"),
            faults.bad_line(users, user_id=""),
        ],
    )
    plain_summary = contents.set_column(3, "summary", pa.array(["Simulated."] * len(contents)))
    plan.add_bad_rows(
        "knowledge/contents/catalogue.csv",
        [
            faults.bad_line(plain_summary, content_id="sim-bad-content-1", kind="podcast"),
            faults.bad_line(plain_summary, content_id="sim-bad-content-2", title=""),
        ],
    )
    responses = world.tables["marketing/responses"]
    responses_path = next(path for path in reversed(plan.deliveries) if path.startswith("marketing/responses"))
    plan.add_bad_rows(
        responses_path,
        [faults.bad_line(responses, response_id="sim-bad-response-1", response_type="applause")],
    )


def _price_changes(world: World, day: dt.date) -> pa.Table:
    """Three items whose price falls by a tenth on a day."""
    contents = world.tables["knowledge/contents"]
    first = 40 * (1 + NEXT_DAYS.index(day))
    priced = contents.filter(pc.greater(contents["price"], 0)).slice(first, 3)
    price = pc.round(pc.multiply(priced["price"], 0.9), 2)
    changed = priced.set_column(contents.column_names.index("price"), "price", price)
    stamp = pa.array([midnight(day) * 1_000_000] * len(changed), pa.int64()).cast(pa.timestamp("us"))
    return changed.set_column(contents.column_names.index("updated_at"), "updated_at", stamp)


def _between(table: pa.Table, column: str, first: dt.date, last: dt.date) -> pa.Table:
    """Rows whose time lies on one of the days from first to last."""
    time = table[column]
    inside = pc.and_(pc.greater_equal(time, _moment(first)), pc.less(time, _moment(last + dt.timedelta(days=1))))
    return table.filter(inside)


def _moment(day: dt.date) -> pa.Scalar:
    return pa.scalar(midnight(day) * 1_000_000, pa.int64()).cast(pa.timestamp("us"))


def _write(landing_dir: Path, deliveries: Mapping[str, bytes]) -> int:
    for path, content in deliveries.items():
        target = landing_dir / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return sum(len(content) for content in deliveries.values())

"""The world that answers campaigns delivers what two platforms and their channels would, and nothing that they cannot know."""

import datetime as dt
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.landing.check import check_landing
from simulation.landing_opening import FIRST_DAY
from simulation.landing_world import CONTACT_COLUMNS, DayRecord, LandingWorld, date_of

PEOPLE, DAYS, SEED = 300, 20, 3
Rows = list[dict[str, Any]]


def new_world() -> LandingWorld:
    return LandingWorld(PEOPLE, DAYS, SEED)


def contact(person: int, day: int, arm: str = "treatment", campaign: int = 1, **other: Any) -> dict[str, Any]:
    """A contact by a campaign of even number from knowledge to film, of odd number the other way; a local day in UTC."""
    begin = dt.datetime.combine(date_of(day), dt.time())
    side = "film" if campaign % 2 else "knowledge"
    row = {
        "exposure_id": f"{campaign}|{person}|{day}",
        "campaign_id": f"sim-loop-{campaign}",
        "platform": side,
        "user_id": f"sim-{side[0]}{person:07d}",
        "item_id": f"sim-i{campaign - 1:04d}",
        "arm": arm,
        "propensity": 0.8,
        "channel": "email",
        "not_before": begin,
        "not_after": begin + dt.timedelta(days=1),
    }
    return row | other


def contacts(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), CONTACT_COLUMNS)


def of_both_arms(day: int) -> pa.Table:
    """A sixth of people a day; every third of them is held out."""
    chosen = range(day % 6, PEOPLE, 6)
    return contacts(*(contact(n, day, "control" if n % 3 == 0 else "treatment", campaign=1 + day // 6) for n in chosen))


def lived(world: LandingWorld, days: int = DAYS) -> list[DayRecord]:
    return [world.live(day, of_both_arms(day)) for day in range(days)]


def rows_of(files: Mapping[str, bytes], table: str) -> Rows:
    found: Rows = []
    for path, content in files.items():
        if path.startswith(f"{table}/") and path.endswith(".parquet"):
            found += pq.read_table(io.BytesIO(content)).to_pylist()
    return found


def all_rows(records: Iterable[DayRecord], table: str) -> Rows:
    return [row for record in records for row in rows_of(record.files, table)]


@pytest.fixture(scope="module")
def records() -> list[DayRecord]:
    return lived(new_world())


@pytest.fixture(scope="module")
def purchases(records: list[DayRecord]) -> Rows:
    """Purchases of items that campaigns are about: each is a conversion, as nobody buys them otherwise."""
    events = all_rows(records, "film/events") + all_rows(records, "knowledge/events")
    items = {f"sim-i{number:04d}" for number in range(30)}
    return [e for e in events if e["event_type"] == "purchase" and {e.get("film_id"), e.get("content_id")} & items]


def test_everything_fits_the_landing_contract(tmp_path: Path, records: list[DayRecord]) -> None:
    world = new_world()
    for files in [world.opening(), *world.history(), *(record.files for record in records[-3:])]:
        for path, content in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(content)
    report = check_landing(tmp_path)
    assert report.is_clean, report.refusals[:5]
    assert not any(file.unknown_columns for file in report.files)
    assert len(report.files) <= 30, "a reader would be busy opening small files"
    assert {f"{t.source}/{t.table_name}" for t in report.tables if t.rows_loaded} == {
        "film/users", "knowledge/users", "film/films", "knowledge/contents", "film/events", "knowledge/events",
        "identity/account_links", "marketing/campaigns", "marketing/exposures", "marketing/responses", "privacy/consents",
    }  # fmt: skip
    assert all(table.rows_duplicate == 0 for table in report.tables)


def test_the_same_seed_gives_the_same_bytes_in_whatever_order_contacts_come() -> None:
    one, other = new_world(), new_world()
    assert one.opening() == other.opening()
    assert list(one.history(33)) == list(other.history(33))
    for day in range(4):
        table = of_both_arms(day)
        backwards = table.take(pa.array(np.arange(table.num_rows)[::-1]))
        assert one.live(day, table).files == other.live(day, backwards).files
    assert LandingWorld(PEOPLE, DAYS, SEED + 1).opening() != one.opening()


def test_a_held_out_person_has_no_exposure_and_no_response(records: list[DayRecord]) -> None:
    shown = all_rows(records, "marketing/exposures")
    assert {int(row["exposure_id"].split("|")[1]) % 3 for row in shown} == {1, 2}
    assert {row["arm"] for row in shown} == {"treatment"}
    ids = {row["exposure_id"] for row in shown}
    assert {row["exposure_id"] for row in all_rows(records, "marketing/responses")} <= ids


def test_held_out_people_buy_by_themselves_without_a_campaign(purchases: Rows) -> None:
    by_themselves = [event for event in purchases if int(event["user_id"][5:]) % 3 == 0]
    assert len(by_themselves) > 5
    assert all(event["campaign_id"] is None for event in by_themselves)


def test_every_conversion_response_has_its_purchase(records: list[DayRecord], purchases: Rows) -> None:
    """At the same moment, for the same price, by the same person on the platform that the campaign leads to."""
    bought = {(int(e["user_id"][5:]), e["campaign_id"]): (e["occurred_at"], e["amount"]) for e in purchases}
    converted = [row for row in all_rows(records, "marketing/responses") if row["response_type"] == "conversion"]
    assert len(converted) > 10
    for row in converted:
        campaign, person, _ = row["exposure_id"].split("|")
        assert bought[int(person), f"sim-loop-{campaign}"] == (row["occurred_at"], row["amount"])
    assert {e["user_id"][4] for e in purchases if e["campaign_id"] in {"sim-loop-1", "sim-loop-3"}} == {"k"}
    assert {e["user_id"][4] for e in purchases if e["campaign_id"] == "sim-loop-2"} == {"f"}
    assert sum(record.conversions for record in records) == len(purchases)


def test_late_answers_are_delivered_on_the_day_they_happen(records: list[DayRecord]) -> None:
    late = 0
    for day, record in enumerate(records):
        for row in rows_of(record.files, "marketing/responses"):
            assert row["occurred_at"].date() == date_of(day)
            exposed_on = int(row["exposure_id"].split("|")[2])
            assert (
                exposed_on == day if row["response_type"] in {"click", "dismiss", "unsubscribe"} else exposed_on <= day
            )
            late += exposed_on < day
    assert late > 10


def test_answers_come_after_what_was_shown(records: list[DayRecord]) -> None:
    shown = {row["exposure_id"]: row["shown_at"] for row in all_rows(records, "marketing/exposures")}
    assert all(row["occurred_at"] > shown[row["exposure_id"]] for row in all_rows(records, "marketing/responses"))


def test_a_contact_is_shown_within_its_window_and_on_its_day() -> None:
    """The local day of Shanghai begins the evening before in UTC, that of Los Angeles ends the morning after."""
    world = new_world()
    day = dt.datetime.combine(FIRST_DAY, dt.time())
    rows = [
        contact(n, 0, not_before=day - dt.timedelta(hours=8), not_after=day + dt.timedelta(hours=16))
        for n in range(100)
    ] + [
        contact(n, 0, not_before=day + dt.timedelta(hours=8), not_after=day + dt.timedelta(hours=32))
        for n in range(100, 200)
    ]
    shown = rows_of(world.live(0, contacts(*rows)).files, "marketing/exposures")
    hours = {
        side: [
            (row["shown_at"] - day).total_seconds() / 3600
            for row in shown
            if (int(row["user_id"][5:]) < 100) == (side == "east")
        ]
        for side in ("east", "west")
    }
    assert 0 <= min(hours["east"]) <= max(hours["east"]) < 16
    assert 8 <= min(hours["west"]) <= max(hours["west"]) < 24


def test_a_contact_of_another_day_is_refused() -> None:
    with pytest.raises(ValueError, match="1 contacts may not be shown on 2025-01-01"):
        new_world().live(0, contacts(contact(1, 3)))


def test_nobody_is_shown_anything_without_consent_on_the_day() -> None:
    world = new_world()
    agrees = world._world.consent(0)
    record = world.live(0, contacts(*(contact(n, 0) for n in range(PEOPLE))))
    shown = {int(row["user_id"][5:]) for row in rows_of(record.files, "marketing/exposures")}
    assert shown == set(np.flatnonzero(agrees).tolist())
    assert (record.delivered, record.undelivered) == (agrees.sum(), PEOPLE - agrees.sum())


def test_consents_delivered_so_far_are_those_of_the_world(records: list[DayRecord]) -> None:
    """Who has unsubscribed is told by the response; their consent is not given again behind their back."""
    world = new_world()
    told: dict[str, bool] = {}
    for day in range(DAYS):
        rows = rows_of(world.opening() if day == 0 else {}, "privacy/consents")
        gone = set(np.flatnonzero(world._left).tolist())
        files = world.live(day, of_both_arms(day)).files
        for row in rows + rows_of(files, "privacy/consents"):
            assert int(row["user_id"][5:]) not in gone
            if row["platform"] == "film":
                told[row["user_id"]] = row["granted"]
        may = world._world.consent(day)
        left = world._left
        assert [told[f"sim-f{n:07d}"] for n in np.flatnonzero(~left)] == may[~left].tolist()
    assert world._left.any()


def test_every_day_is_known_to_have_ended(records: list[DayRecord]) -> None:
    for day, record in enumerate(records):
        for platform in ("film", "knowledge"):
            times = [row["occurred_at"] for row in rows_of(record.files, f"{platform}/events")]
            assert {moment.date() for moment in times} == {date_of(day)}
            assert max(times) >= dt.datetime.combine(date_of(day), dt.time(23, 59))


def test_before_the_campaigns_nobody_has_an_item_of_theirs() -> None:
    taken: set[str] = set()
    for files in new_world().history():
        for table, column in (("film/events", "film_id"), ("knowledge/events", "content_id")):
            taken |= {
                row[column] for row in rows_of(files, table) if row["event_type"] in {"purchase", "complete", "rating"}
            }
    assert taken
    assert min(int(item.removeprefix("sim-i")) for item in taken) >= 1_000


def test_what_contacts_truly_add_is_what_the_arms_differ_by() -> None:
    """Over all tempers and without fatigue, treated people convert more often than held-out ones by what the world says."""
    size = 40_000
    world = LandingWorld(size, 1, 5)
    chosen = contacts(*(contact(n, 0, "control" if n % 2 else "treatment") for n in range(size)))
    record = world.live(0, chosen)
    conversions = [row for rows in world._coming.values() for table in rows for row in table.to_pylist()]
    later = [row["arm"] for row in conversions if row["type"] == "conversion"]
    today = {"treatment": 0, "control": 0}
    for row in rows_of(record.files, "knowledge/events"):
        if row["event_type"] == "purchase" and row["content_id"] in {"sim-i0000", "sim-i0006"}:
            today["treatment" if row["campaign_id"] else "control"] += 1
    treated, control = (today[arm] + later.count(arm) for arm in ("treatment", "control"))
    share_treated, share_control = treated / record.delivered, control / record.held_out
    error = np.sqrt(share_treated / record.delivered + share_control / record.held_out)
    assert share_treated - share_control == pytest.approx(record.true_conversions / record.delivered, abs=4 * error)
    assert record.true_conversions / record.delivered > 4 * error


def test_what_is_not_of_this_world_is_refused() -> None:
    world = new_world()
    with pytest.raises(ValueError, match="day 0 comes next, not day 1"):
        world.live(1, contacts())
    with pytest.raises(ValueError, match="1 contacts name accounts that are not of this world"):
        world.live(0, contacts(contact(1, 0, user_id="mt-1")))
    with pytest.raises(ValueError, match="it has sim-loop-1 to sim-loop-6"):
        world.live(0, contacts(contact(1, 0, campaign_id="sim-loop-7")))
    with pytest.raises(ValueError, match="campaigns run for 1 to 365 days"):
        LandingWorld(10, 366, 1)


def test_a_contact_without_an_item_is_about_the_campaigns_first() -> None:
    record = new_world().live(0, contacts(*(contact(n, 0, item_id=None) for n in range(PEOPLE))))
    led = [row for row in rows_of(record.files, "knowledge/events") if row["campaign_id"] == "sim-loop-1"]
    assert led
    assert {row["content_id"] for row in led} == {"sim-i0000"}


def test_a_world_of_one_person_lives() -> None:
    world = LandingWorld(1, 1, 0)
    assert world.opening()
    assert world.live(0, contacts()).delivered == 0

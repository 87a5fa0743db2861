"""Lists are made from what was decided, once, for those who may be contacted, and can be answered."""

import csv
import hashlib
import json
import os
import shutil
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestration.landing.check import check_landing
from orchestration.marketing.hand_over import HandOver, hand_over
from orchestration.marketing.ledger import DecisionLedger
from orchestration.resources.artifacts import ArtifactStore
from orchestration.settings import Settings
from tests.unit.marketing.handed_over import AS_OF, FIRST_DAY, BuildFile, contact, stored_plan

NEXT_DAY = FIRST_DAY + timedelta(days=1)
SPRING = "2026-03-02/spring--email"


class House:
    """A home with a build file, a store of plans, a ledger and a folder of exports."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, landing=home / "landing")
        self.build = BuildFile(home / "build.duckdb")
        self.store = ArtifactStore(root=str(home / "models"))
        self.exports = home / "exports"
        self.ledger = DecisionLedger(home / "decisions")

    def plans(self, plan_id: str, *rows: dict[str, Any], **of_plan: Any) -> None:
        stored_plan(self.store, plan_id, rows, **of_plan)
        self.build.decides(plan_id)

    def hands_over(self) -> HandOver:
        return hand_over(self.build.connection, self.store, self.settings)

    def rows(self, folder: str = SPRING) -> list[dict[str, Any]]:
        return pq.read_table(self.exports / folder / "list.parquet").to_pylist()

    def manifest(self, folder: str = SPRING) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.exports / folder / "manifest.json").read_text())
        return content

    def files(self) -> dict[str, tuple[bytes, int]]:
        return {
            str(path.relative_to(self.exports)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.exports.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_list_names_the_account_and_what_to_show(house: House) -> None:
    row = contact("plan-1", "bob", item_key="knowledge:42")
    house.plans("plan-1", row)
    made = house.hands_over()
    assert house.rows() == [
        {
            "exposure_id": row["contact_key"],
            "campaign_id": "spring",
            "platform": "film",
            "user_id": "f-bob",
            "item_id": "42",
            "arm": "treatment",
            "propensity": 0.855,
            "channel": "email",
            "not_before": datetime(2026, 3, 2),
            "not_after": datetime(2026, 3, 3),
            "title": 'Thirty days of "film", 看电影',
        }
    ]
    assert (made.committed, made.files, made.rows, made.people) == ((FIRST_DAY,), (f"{SPRING}/list",), 1, 1)
    assert made.metadata()["dagster/row_count"] == 1


@pytest.mark.parametrize(
    ("drawn", "told"),
    [
        ({"propensity": 0.8, "draw_propensity": 0.05}, 0.04),
        ({"propensity": 0.8, "draw_propensity": 0.95}, 0.76),
        ({"propensity": 0.8, "draw_propensity": None}, 0.8),
        ({"propensity": None, "draw_propensity": 0.95}, None),
    ],
)
def test_a_list_says_how_likely_the_contact_was_with_what_exploration_drew(
    house: House, drawn: dict[str, Any], told: float | None
) -> None:
    house.plans("plan-1", contact("plan-1", "ann", is_explored=True, **drawn))
    house.hands_over()
    (row,) = house.rows()
    assert row["propensity"] == (None if told is None else pytest.approx(told))
    # What is measured rests on the lot of the arm alone.
    assert house.ledger.contacts("plan-1")["propensity"].to_pylist() == [drawn["propensity"]]


def test_held_out_people_are_kept_in_the_ledger_and_stand_in_no_list(house: House) -> None:
    house.plans("plan-1", contact("plan-1", "ann"), contact("plan-1", "bob", arm="control", cost=0.0))
    house.hands_over()
    assert [row["user_id"] for row in house.rows()] == ["f-ann-1"]
    assert sorted(house.ledger.contacts("plan-1")["user_key"].to_pylist()) == ["ann", "bob"]


def test_tentative_days_are_neither_committed_nor_in_a_list(house: House) -> None:
    house.plans("plan-1", contact("plan-1", "ann"), contact("plan-1", "bob", NEXT_DAY, status="planned"))
    house.hands_over()
    assert house.ledger.committed_dates() == {FIRST_DAY}
    assert house.ledger.contacts("plan-1")["user_key"].to_pylist() == ["ann"]
    assert [path.name for path in house.exports.iterdir()] == ["2026-03-02"]


def test_a_plan_that_hands_nothing_over_commits_nothing(house: House) -> None:
    house.plans("plan-1", contact("plan-1", "ann", status="planned"), until=None)
    made = house.hands_over()
    assert (made.committed, made.files) == ((), ())
    assert house.ledger.plan_ids() == []
    assert not house.exports.exists()


def test_a_person_with_two_accounts_gets_one_row_at_the_first_that_may_be_contacted(house: House) -> None:
    house.build.forbids("a2")
    house.plans("plan-1", contact("plan-1", "ann"))
    house.hands_over()
    assert [row["user_id"] for row in house.rows()] == ["f-ann-2"]


def test_who_may_not_be_contacted_any_more_is_left_out_and_counted(house: House) -> None:
    house.build.forbids("b")
    on_knowledge = contact("plan-1", "cat", platform="knowledge")
    house.plans("plan-1", contact("plan-1", "ann"), contact("plan-1", "bob"), on_knowledge)
    made = house.hands_over()
    assert [row["user_id"] for row in house.rows()] == ["f-ann-1"]
    assert made.left_out == {"no_account": 1, "not_contactable": 1, "answered": 0, "day_over": 0}
    assert house.manifest()["left_out"] == house.manifest("2026-03-02")["left_out"] == made.left_out


@pytest.mark.parametrize(
    ("response_type", "delivered", "reason"),
    [
        ("unsubscribe", False, "not_contactable"),
        ("dismiss", False, "answered"),
        ("conversion", False, "answered"),
        ("dismiss", True, "answered"),
        ("click", False, None),
    ],
)
def test_an_answer_that_forbids_a_contact_keeps_it_off_the_list_whether_its_exposure_has_arrived_or_not(
    house: House, response_type: str, delivered: bool, reason: str | None
) -> None:
    earlier = contact("plan-0", "ann", FIRST_DAY - timedelta(days=9))
    house.build.answers(earlier, response_type, delivered=delivered)
    house.plans("plan-1", contact("plan-1", "ann"), contact("plan-1", "bob"))
    left_out = house.hands_over().left_out
    assert {name for name, count in left_out.items() if count} == ({reason} - {None})
    assert [row["user_id"] for row in house.rows()] == (["f-bob"] if reason else ["f-ann-1", "f-bob"])


def test_the_manifest_says_what_is_in_the_files(house: House) -> None:
    house.plans("plan-1", contact("plan-1", "ann"), contact("plan-1", "bob"))
    house.hands_over()
    said = house.manifest()
    for file in ("list.parquet", "list.csv"):
        assert said["sha256"][file] == hashlib.sha256((house.exports / SPRING / file).read_bytes()).hexdigest()
    assert (said["rows"], said["people"], said["expected_cost"], said["currency"]) == (2, 2, 0.1, "USD")
    assert (said["name"], said["channel"], said["contact_date"]) == ("Spring reading", "email", "2026-03-02")
    assert said["decided_at"] == AS_OF.isoformat()
    assert set(said["columns"]) == set(house.rows()[0])
    assert house.manifest("2026-03-02")["lists"] == {"spring--email": {"rows": 2, "people": 2}}


def test_a_second_hand_over_changes_no_file(house: House) -> None:
    house.plans("plan-1", contact("plan-1", "ann"))
    house.hands_over()
    before = house.files()
    made = house.hands_over()
    assert house.files() == before
    assert (made.committed, made.files, made.rows) == ((), (), 0)


def test_the_same_plan_gives_the_same_bytes(tmp_path: Path) -> None:
    def content(name: str, people: list[str]) -> dict[str, bytes]:
        (tmp_path / name).mkdir()
        house = House(tmp_path / name)
        house.plans("plan-1", *(contact("plan-1", person) for person in people))
        house.hands_over()
        return {file: written for file, (written, _) in house.files().items()}

    assert content("one", ["ann", "bob", "cat"]) == content("other", ["cat", "ann", "bob"])


def test_a_kill_between_ledger_and_lists_is_mended_by_the_next_run(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.plans("plan-1", contact("plan-1", "ann"))
    replace = os.replace

    def killed_at_the_lists(source: Any, target: Any) -> None:
        if "exports" in str(target):
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed_at_the_lists)
        with pytest.raises(KeyboardInterrupt):
            house.hands_over()
    assert house.ledger.committed_dates() == {FIRST_DAY}
    assert not (house.exports / "2026-03-02").exists()
    # The next run is a day later and has a plan of its own; in the first person's time zone the first day is not over yet.
    house.build.is_at(AS_OF + timedelta(hours=20))
    house.plans("plan-2", contact("plan-2", "bob", NEXT_DAY), first=NEXT_DAY, until=NEXT_DAY)
    house.hands_over()
    assert sorted(path.name for path in house.exports.iterdir()) == ["2026-03-02", "2026-03-03"]
    assert [row["user_id"] for row in house.rows()] == ["f-ann-1"]


def test_nobody_is_told_to_contact_on_a_day_that_is_over(house: House) -> None:
    house.plans("plan-1", contact("plan-1", "ann"), contact("plan-1", "bob", not_after=datetime(2026, 3, 3, 8)))
    house.hands_over()
    shutil.rmtree(house.exports / "2026-03-02")
    house.build.is_at(datetime(2026, 3, 3, 1))
    made = house.hands_over()
    assert [row["user_id"] for row in house.rows()] == ["f-bob"]
    assert made.left_out["day_over"] == 1
    shutil.rmtree(house.exports / "2026-03-02")
    house.build.is_at(datetime(2026, 3, 3, 12))
    assert house.hands_over().missed == (FIRST_DAY,)
    assert not (house.exports / "2026-03-02").exists()


def test_a_day_that_another_plan_has_handed_over_is_left_to_it(house: House) -> None:
    house.plans("plan-1", contact("plan-1", "ann"))
    house.hands_over()
    both_days = contact("plan-2", "bob"), contact("plan-2", "cat", NEXT_DAY)
    house.plans("plan-2", *both_days, until=NEXT_DAY)
    assert house.hands_over().committed == (NEXT_DAY,)
    assert [row["user_id"] for row in house.rows()] == ["f-ann-1"]
    assert [row["user_id"] for row in house.rows("2026-03-03/spring--email")] == ["f-cat"]


def test_lists_can_be_read_by_their_owner_only(house: House) -> None:
    house.plans("plan-1", contact("plan-1", "ann"))
    house.hands_over()
    for path in [house.exports, *house.exports.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_no_campaign_id_leaves_the_folder_of_exports(house: House) -> None:
    odd = contact("plan-1", "ann", campaign_key="../a/b", channel=None)
    long = contact("plan-1", "bob", campaign_key="c" * 300)
    house.plans("plan-1", odd, long)
    made = house.hands_over()
    assert made.rows == 2
    names = sorted(path.name for path in (house.exports / "2026-03-02").iterdir() if path.is_dir())
    assert names[0] == "..%2Fa%2Fb--any"
    assert len(names[1]) < 200


@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_a_channel_answers_by_returning_the_rows_with_the_time_shown(
    house: House, tmp_path: Path, extension: str
) -> None:
    undrawn = contact("plan-1", "bob", propensity=None)
    house.plans("plan-1", contact("plan-1", "ann", item_key="knowledge:42"), undrawn)
    house.hands_over()
    source = house.exports / SPRING / f"list.{extension}"
    target = tmp_path / "landing" / "marketing" / "exposures" / "back.csv"
    target.parent.mkdir(parents=True)
    rows = list(csv.DictReader(source.open())) if extension == "csv" else pq.read_table(source).to_pylist()
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "shown_at"])
        writer.writeheader()
        writer.writerows({**row, "shown_at": "2026-03-02T10:00:00Z"} for row in rows)
    (tmp_path / "landing" / "film" / "events").mkdir(parents=True)
    (tmp_path / "landing" / "film" / "events" / "e.csv").write_text(
        "event_id,user_id,film_id,event_type,occurred_at\n1,f-ann-1,f1,view,2026-03-02\n"
    )
    report = check_landing(tmp_path / "landing")
    assert report.is_clean, report.refusals
    assert [table.rows_loaded for table in report.tables if table.table_name == "exposures"] == [2]


def test_without_a_plan_nothing_is_handed_over(house: House) -> None:
    with pytest.raises(LookupError, match="holds 0 plans instead of one"):
        house.hands_over()


def test_days_of_a_span_are_all_committed(house: House) -> None:
    house.plans("plan-1", contact("plan-1", "ann", NEXT_DAY), until=NEXT_DAY)
    assert house.hands_over().committed == (FIRST_DAY, NEXT_DAY)
    assert house.manifest("2026-03-02")["lists"] == {}
    assert house.ledger.committed_dates() == {date(2026, 3, 2), date(2026, 3, 3)}


def shelf_of(house: House, kind: str) -> list[dict[str, str]]:
    """The shelf of a campaign with two items of each platform that are in the catalogue, and one that is not."""
    house.build.connection.execute(
        "update core.dim_campaign set kind = ?, source_item_ids = ['42', '7', '8'] where campaign_key = 'spring'",
        [kind],
    )
    house.plans("plan-1", contact("plan-1", "ann", item_key="knowledge:42"))
    house.hands_over()
    with (house.exports / SPRING / "shelf.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_special_programme_hands_over_its_shelf_with_both_platforms_in_turns(house: House) -> None:
    titles = ["Metropolis", 'Thirty days of "film", 看电影', "M", "Light"]
    sides = [("film", "42"), ("knowledge", "42"), ("film", "7"), ("knowledge", "43")]
    assert shelf_of(house, "special_programme") == [
        {"rank": str(rank), "step": "", "platform": platform, "item_id": item_id, "title": title}
        for rank, ((platform, item_id), title) in enumerate(zip(sides, titles, strict=True), start=1)
    ]
    # What a person is offered is of the target platform, whatever the ids of the other one.
    assert [row["title"] for row in house.rows()] == ['Thirty days of "film", 看电影']
    assert "challenge" not in house.manifest()


def test_a_challenge_hands_over_its_steps_and_its_rule(house: House) -> None:
    steps = [(row["step"], row["platform"], row["item_id"]) for row in shelf_of(house, "interactive")]
    assert steps == [("1", "film", "42"), ("1", "film", "7"), ("2", "knowledge", "42"), ("2", "knowledge", "43")]
    assert house.manifest()["challenge"] == {
        "rule": "one item of step 1, then one of step 2",
        "events": ["complete", "rating"],
        "within_days": 14,
    }


@pytest.mark.parametrize("kind", ["special_programme", "interactive"])
@pytest.mark.parametrize(("source", "target"), [(["8", "nope"], ["42"]), (["42"], ["nope"]), (["42"], [])])
def test_items_of_one_platform_only_are_no_shelf_and_no_challenge(
    house: House, kind: str, source: list[str], target: list[str]
) -> None:
    house.build.connection.execute(
        "update core.dim_campaign set kind = ?, source_item_ids = ?, item_ids = ? where campaign_key = 'spring'",
        [kind, source, target],
    )
    house.plans("plan-1", contact("plan-1", "ann"))
    house.hands_over()
    assert not (house.exports / SPRING / "shelf.csv").exists()
    assert "challenge" not in house.manifest()


def test_a_shelf_is_sealed_like_the_list(house: House) -> None:
    shelf_of(house, "special_programme")
    file = house.exports / SPRING / "shelf.csv"
    assert house.manifest()["sha256"]["shelf.csv"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_campaign_of_one_platform_has_no_shelf(house: House) -> None:
    house.plans("plan-1", contact("plan-1", "ann"))
    house.hands_over()
    assert sorted(path.name for path in (house.exports / SPRING).iterdir()) == [
        "list.csv",
        "list.parquet",
        "manifest.json",
    ]

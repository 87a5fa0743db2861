"""Bad campaigns and bad answers beside a good campaign, over two days: each is told apart in words, and the good one goes on.

Day one is planned and handed over. On day two the channel returns what it showed, and with it what it should not have; one person
of the day's list asks to be erased.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.e2e.conftest import Home, Say

PEOPLE = 60
TODAY = date(2025, 3, 31)
NEXT, AFTER = TODAY + timedelta(days=1), TODAY + timedelta(days=2)
TOPICS = ("History", "Science", "Music")

BRIEF: dict[str, Any] = {
    "kind": "cross_ad",
    "source_platform": "film",
    "target_platform": "knowledge",
    "channel": "email",
    "starts_at": "2025-03-20",
    "ends_at": "2025-04-20",
    "budget": 1000,
    "currency": "USD",
    "cost_per_exposure": 0.001,
    "value_per_conversion": 20,
    "frequency_cap": 7,
    "frequency_window_days": 7,
    "holdout_share": 0.3,
    "item_ids": ["c1", "c2", "c3"],
    "status": "approved",
    "updated_at": "2025-03-15",
}
CAMPAIGNS: dict[str, dict[str, Any]] = {
    "good": {"channel": "app_banner", "value_per_conversion": 40},
    "overlap-a": {"item_ids": ["c4"]},
    "overlap-b": {"item_ids": ["c5"]},
    "no-money": {"budget": 0},
    "backwards": {"starts_at": "2025-04-20", "ends_at": "2025-04-02"},
    "no-such-items": {"item_ids": ["c404", "c405"]},
    "in-euros": {"currency": "EUR"},
}
PROBLEMS = {
    "no-money": "It has no budget; give one above 0.",
    "backwards": "It ends on 2025-04-02, before it starts on 2025-04-20; give a later ends_at.",
    "no-such-items": "None of its items is in the catalogue of the knowledge platform; correct item_ids.",
    "in-euros": "Its money is in EUR, but the plan is in USD; give budget, cost and value in USD.",
}


def deliver(landing: Path, file: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a CSV or NDJSON file of a landing zone."""
    path = landing / file
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        if path.suffix == ".ndjson":
            stream.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def events(platform: str, first: date, last: date) -> Iterator[dict[str, Any]]:
    """Everybody likes something every ten days and somebody every day; courses of the campaigns are nobody's yet."""
    column, prefix = {"film": ("film_id", "m"), "knowledge": ("content_id", "c")}[platform]
    for day in range((last - first).days + 1):
        at = first + timedelta(days=day)
        for person in range(at.toordinal() % 10, PEOPLE, 10):
            item = 6 + (person * 7 + at.toordinal()) % 10
            yield {
                "event_id": f"{platform}-{at}-{person}",
                "user_id": f"{platform}-{person}",
                column: f"{prefix}{item}",
                "event_type": "purchase" if person % 3 == 0 else "rating",
                "occurred_at": f"{at}T22:{person % 60:02}:00",
                "value": None if person % 3 == 0 else 3 + person % 3,
                "amount": 20 if person % 3 == 0 else None,
                "currency": "USD" if person % 3 == 0 else None,
            }


def first_day(landing: Path) -> None:
    """Sixty people with an account on both sides, forty of them at home there before; seven campaigns."""
    for platform in ("film", "knowledge"):
        deliver(
            landing,
            f"{platform}/users/accounts.csv",
            [
                {"user_id": f"{platform}-{person}", "signup_at": "2024-06-01", "marketing_consent": person % 12 != 11}
                for person in range(PEOPLE)
            ],
        )
        deliver(landing, f"{platform}/events/past.csv", list(events(platform, TODAY - timedelta(days=60), TODAY)))
    topics = [(number, "|".join({TOPICS[number % 3], TOPICS[number // 3 % 3]})) for number in range(1, 16)]
    price = {"price": 20, "currency": "USD"}
    deliver(
        landing,
        "film/films/films.csv",
        [{"film_id": f"m{n}", "title": f"Film {n}", "kind": "movie", "genres": of, **price} for n, of in topics],
    )
    deliver(
        landing,
        "knowledge/contents/contents.csv",
        [{"content_id": f"c{n}", "title": f"Course {n}", "kind": "course", "topics": of, **price} for n, of in topics],
    )
    deliver(
        landing,
        "identity/account_links/links.csv",
        [
            {
                "knowledge_user_id": f"knowledge-{n}",
                "film_user_id": f"film-{n}",
                "method": "sso",
                "linked_at": "2024-06-01",
            }
            for n in range(PEOPLE)
        ],
    )
    deliver(
        landing,
        "marketing/campaigns/campaigns.ndjson",
        [{"campaign_id": key, "name": f"Campaign {key}", **BRIEF, **own} for key, own in CAMPAIGNS.items()],
    )


@dataclass(frozen=True)
class Story:
    """The home after its second day.

    Attributes:
        home: The home.
        said: What the run of the second day said.
        before: What the first day published: state, problem and competitors of each campaign.
        handed: Rows of the good campaign's list of the first day.
        erased: Accounts of the person who asks for erasure, and the key of the person.
        held_out: Film account of the held-out person who is shown the campaign.
    """

    home: Home
    said: dict[str, Any]
    before: dict[str, tuple[str, str | None, list[str]]]
    handed: list[dict[str, Any]]
    erased: tuple[tuple[str, str], str]
    held_out: str


def plans(home: Home) -> dict[str, tuple[str, str | None, list[str]]]:
    rows = home.ask("select campaign_key, state, problem, competes_with from marketing.campaign_plan")
    return {key: (state, problem, others) for key, state, problem, others in rows}


def lists(home: Home, day: date) -> dict[str, list[dict[str, Any]]]:
    """Rows of each campaign's list of a day."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted((home.path / "exports" / str(day)).glob("*/list.csv")):
        with file.open() as stream:
            found[file.parent.name.split("--")[0]] = list(csv.DictReader(stream))
    return found


def account_of(home: Home, user_key: str, platform: str) -> str:
    with duckdb.connect(str(home.path / "restricted" / "accounts.duckdb"), read_only=True) as connection:
        (found,) = connection.execute(
            "select user_id from account where user_key = ? and platform = ?", [user_key, platform]
        ).fetchall()
    return str(found[0])


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, say: Say) -> Story:
    home = Home(tmp_path_factory.mktemp("bad") / "home", say)
    # One row of the second day is refused, which is many among so few.
    home.environment = {"ZHIYING_CANDIDATES": "popularity", "ZHIYING_MAX_QUARANTINE_SHARE": "0.1"}
    first_day(home.landing)
    status, said = home.zhiying("run")
    assert status == 0, said
    before, handed = plans(home), lists(home, NEXT)["good"]

    # Whoever is erased would have been contacted again, and the held-out person was chosen for the same day.
    ((erased_key, erased_film),) = home.ask(
        "select user_key, min(contact_key) filter (where contact_date = ?) from marketing.contact "
        "where arm = 'treatment' and campaign_key = 'good' and contact_date in (?, ?) group by user_key "
        "having count(distinct contact_date) = 2 order by user_key limit 1",
        NEXT,
        NEXT,
        AFTER,
    )
    erased = next(row["user_id"] for row in handed if row["exposure_id"] == erased_film)
    held_out = account_of(
        home,
        home.one(
            "select min(user_key) from marketing.contact where arm = 'control' and campaign_key = 'good' and contact_date = ?",
            NEXT,
        ),
        "film",
    )
    second_day(home.landing, handed, erased, held_out)
    status, said = home.zhiying("run")
    assert status == 0, said
    return Story(
        home, said, before, handed, ((erased, account_of(home, erased_key, "knowledge")), erased_key), held_out
    )


def second_day(landing: Path, handed: Sequence[Mapping[str, Any]], erased: str, held_out: str) -> None:
    """What was shown and answered on the day after, and what is wrong with it."""
    for platform in ("film", "knowledge"):
        deliver(landing, f"{platform}/events/{NEXT}.csv", list(events(platform, NEXT, NEXT)))
    columns = ("exposure_id", "campaign_id", "platform", "user_id", "item_id", "arm", "propensity", "channel")
    shown = [{name: row[name] for name in columns} | {"shown_at": f"{NEXT}T12:00:00"} for row in handed]
    stray = {**shown[0], "exposure_id": "stray", "user_id": held_out}
    told = {**shown[0], "exposure_id": "told", "arm": "held_out"}
    deliver(landing, f"marketing/exposures/{NEXT}.csv", [*shown, shown[0], stray, told])
    deliver(
        landing,
        f"marketing/responses/{NEXT}.csv",
        [
            {
                "response_id": f"r{number}",
                "exposure_id": exposure,
                "response_type": "click",
                "occurred_at": f"{NEXT}T12:01:00",
            }
            for number, exposure in enumerate([shown[0]["exposure_id"], shown[1]["exposure_id"], "never-shown"])
        ],
    )
    deliver(
        landing,
        f"privacy/erasure_requests/{NEXT}.csv",
        [{"platform": "film", "user_id": erased, "requested_at": f"{NEXT}T13:00:00"}],
    )


def test_each_bad_brief_says_what_is_wrong_and_what_to_do(story: Story) -> None:
    for day in (story.before, plans(story.home)):
        assert {key: problem for key, (state, problem, _) in day.items() if state == "refused"} == PROBLEMS
        assert {key for key, (state, problem, _) in day.items() if state == "planned" and problem is None} == {
            "good",
            "overlap-a",
            "overlap-b",
        }


def test_the_summary_the_report_and_the_list_of_campaigns_say_it_too(story: Story) -> None:
    assert {one["campaign_key"]: one["problem"] for one in story.said["publication"]["refused_campaigns"]} == PROBLEMS
    page = Path(story.said["report"]).read_text()
    assert all(f"<td>{key}</td><td>{problem}</td>" in page for key, problem in PROBLEMS.items())
    status, listed = story.home.zhiying("campaign", "list")
    assert status == 0
    rows: Any = listed
    assert {row["campaign_key"]: row["problem"] for row in rows if row["state"] == "refused"} == PROBLEMS


def test_campaigns_that_want_the_same_people_name_each_other_and_share_nobody_on_a_day(story: Story) -> None:
    assert {key: others for key, (_, _, others) in plans(story.home).items() if others} == {
        "overlap-a": ["overlap-b"],
        "overlap-b": ["overlap-a"],
    }
    for day in (NEXT, AFTER):
        accounts = [row["user_id"] for rows in lists(story.home, day).values() for row in rows]
        assert len(accounts) == len(set(accounts))


def test_the_good_campaign_is_planned_handed_over_and_measured_on_both_days(story: Story) -> None:
    assert len(story.handed) > 20
    assert len(lists(story.home, AFTER)["good"]) > 20
    controls = story.home.one(
        "select count(*) from marketing.contact where campaign_key = 'good' and arm = 'control' and contact_date = ?",
        NEXT,
    )
    assert story.home.ask(
        "select people_treatment, people_control, clicks, sample_ratio_alarm from marketing.campaign_result "
        "where campaign_key = 'good'"
    ) == [(len(story.handed), controls, 2, False)]
    assert set(lists(story.home, NEXT)) | set(lists(story.home, AFTER)) <= {"good", "overlap-a", "overlap-b"}


def test_a_held_out_person_who_was_exposed_is_counted_and_said(story: Story) -> None:
    ((exposed, held_out, verdict),) = story.home.ask(
        "select held_out_people_exposed, people_control, verdict from marketing.campaign_result where campaign_key = 'good'"
    )
    assert exposed == 1
    assert verdict.endswith(f"Note: 1 person of the {held_out} held out was exposed all the same.")
    assert all(row["user_id"] != story.held_out for row in lists(story.home, AFTER)["good"])


def test_a_response_without_an_exposure_is_left_out_and_warned_of(story: Story) -> None:
    assert story.home.one("select count(*) from core.fct_response") == 2
    told = {check["name"]: check["description"] for check in story.said["checks"]["warned"]}
    assert told["every_response_finds_its_exposure"] == (
        "1 row. Warns of responses whose exposure has not arrived, which are left out until it does; quality.waiting_response "
        "has file and row."
    )
    ((file, row),) = story.home.ask("select file, row_number from quality.waiting_response")
    with (story.home.landing / file).open() as lines:
        assert list(csv.DictReader(lines))[row - 1]["exposure_id"] == "never-shown"


def test_an_exposure_of_an_unknown_arm_is_refused_with_what_was_expected(story: Story) -> None:
    assert story.home.ask("select file, row_number, column_name, reason from quality.quarantine") == [
        (
            f"marketing/exposures/{NEXT}.csv",
            len(story.handed) + 3,
            "arm",
            'arm: found "held_out", expected one of treatment, control',
        )
    ]


def test_no_row_is_lost(story: Story) -> None:
    files = {
        str(file.relative_to(story.home.landing)): len(file.read_text().splitlines()) - (file.suffix == ".csv")
        for file in story.home.landing.rglob("*")
        if file.is_file()
    }
    audit = story.home.ask(
        "select file, rows_read, rows_loaded + rows_quarantined + rows_duplicate from quality.load_audit"
    )
    assert {file: (read, told) for file, read, told in audit} == {file: (rows, rows) for file, rows in files.items()}
    assert story.home.ask(
        "select rows_loaded, rows_quarantined, rows_duplicate from quality.load_audit where file = ?",
        f"marketing/exposures/{NEXT}.csv",
    ) == [(len(story.handed) + 1, 1, 1)]


def test_who_asks_to_be_erased_is_in_no_list_of_the_next_day_and_the_reason_is_told(story: Story) -> None:
    accounts, user_key = story.erased
    listed = [row["user_id"] for rows in lists(story.home, AFTER).values() for row in rows]
    assert listed
    assert not set(accounts) & set(listed)
    assert set(story.home.ask("select campaign_key, code from marketing.eligibility where user_key = ?", user_key)) == {
        (key, "erased") for key in ("good", "overlap-a", "overlap-b")
    }
    assert (
        story.home.ask(
            "select contact_date, status from marketing.contact where user_key = ? and contact_date > ?", user_key, NEXT
        )
        == []
    )

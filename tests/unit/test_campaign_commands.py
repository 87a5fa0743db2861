"""What a marketer can do with proposals and campaigns from the command line."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.cli import call
from orchestration.landing.check import check_landing
from orchestration.marketing.proposing import PROPOSAL_SCHEMA, landing_row
from orchestration.publication.store import PublicationStore
from tests.sample import publish_sample

AS_OF = datetime(2026, 3, 1, 12)
PROPOSAL: dict[str, Any] = {
    "proposal_id": "p-1a2b3c4d",
    "rank": 1,
    "name": "Horror on film to folklore on knowledge, for people active on film",
    "kind": "joint_promotion",
    "channel": "email",
    "source_platform": "film",
    "target_platform": "knowledge",
    "segment_key": "lifecycle:film:active",
    "source_topic": "horror",
    "target_topic": "folklore",
    "item_keys": ["knowledge:3"],
    "starts_on": date(2026, 3, 4),
    "ends_on": date(2026, 3, 31),
    "currency": "USD",
    "reach": 200,
    "holdout_share": 0.2,
    "contacts": 300,
    "cost_per_exposure": 0.02,
    "value_per_conversion": 10.0,
    "budget": 7.8,
    "cost": 6.0,
    **{f"expected_{name}{end}": 5.0 for name in ("clicks", "conversions") for end in ("", "_low", "_high")},
    **{f"expected_incremental_conversions{end}": 2.0 for end in ("", "_low", "_high")},
    "expected_revenue": 20.0,
    "expected_revenue_low": 1.0,
    "expected_revenue_high": 45.0,
    **{f"expected_return{end}": 3.0 for end in ("", "_low", "_high")},
    "evidence": ["Reach: 200 people."],
}


def insert(connection: duckdb.DuckDBPyConnection, table: str, **values: Any) -> None:
    columns = ", ".join(values)
    marks = ", ".join("?" for _ in values)
    connection.execute(f"insert into {table} ({columns}) values ({marks})", list(values.values()))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A publication with a proposal and three campaigns: one runs, one has ended, one is known from exposures only."""
    home = tmp_path / "home"
    publish_sample(home)
    (home / "landing").mkdir()
    file = PublicationStore(home / "published").current_file
    with duckdb.connect(str(file)) as connection:
        proposals = PROPOSAL_SCHEMA.empty_table()  # noqa: F841 - read by DuckDB
        connection.execute(
            """
            create schema marketing;
            create table marketing.campaign_proposal as from proposals;
            create table marketing.segment as select 'lifecycle:film:active' as segment_key;
            create table marketing.plan as select timestamp '2026-03-01 12:00:00' as as_of;
            create table marketing.campaign_plan (
                campaign_key varchar, state varchar, problem varchar, last_date date, currency varchar, budget double,
                spent double, planned_contacts integer
            );
            create table marketing.campaign_result (campaign_key varchar, verdict varchar, exposures bigint);
            create table core.dim_campaign (
                campaign_key varchar, name varchar, kind varchar, source_platform varchar, target_platform varchar,
                channel varchar, item_ids varchar[], status varchar, is_inferred boolean, budget decimal(18, 4),
                currency varchar, cost_per_exposure decimal(18, 4), value_per_conversion decimal(18, 4),
                starts_at timestamp, ends_at timestamp, updated_at timestamp
            );
            insert into marketing.campaign_plan values
                ('old', 'ended', null, date '2026-02-01', 'USD', 100, 99.5, 0),
                ('now', 'refused', 'Its segment is no segment.', date '2026-04-01', 'USD', 100, 0, 0),
                ('seen', 'refused', 'Known from exposures only.', null, null, null, null, 0);
            insert into marketing.campaign_result values ('old', 'No proof yet: too few people.', 12);
            """
        )
        insert(
            connection,
            "marketing.campaign_proposal",
            **PROPOSAL,
            landing_row=json.dumps(landing_row(PROPOSAL, "2026-03-01T12:00:00")),
        )
        for key, status in (("old", "ended"), ("now", "approved")):
            insert(
                connection,
                "core.dim_campaign",
                campaign_key=key,
                name=f"The {key} one",
                kind="cross_ad",
                source_platform="film",
                target_platform="knowledge",
                channel="email",
                item_ids=["3"],
                status=status,
                is_inferred=False,
                budget=100,
                currency="USD",
                cost_per_exposure=0.01,
                value_per_conversion=12,
                starts_at=datetime(2026, 1, 1),
                ends_at=datetime(2026, 4, 1),
                updated_at=datetime(2026, 3, 2),
            )
        insert(connection, "core.dim_campaign", campaign_key="seen", name="seen", is_inferred=True)
    return home


def landed(home: Path, campaign_id: str) -> dict[str, Any]:
    (line,) = (home / "landing" / "marketing" / "campaigns" / f"{campaign_id}.ndjson").read_text().splitlines()
    row: dict[str, Any] = json.loads(line)
    return row


def campaign(home: Path, *arguments: str) -> int:
    return call(["campaign", *arguments, "--home", str(home)])


@pytest.mark.parametrize("command", ["propose", "show", "approve", "list", "end", "pause", "resume"])
def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert call(["campaign", command, "--help"]) == 0
    assert f"zhiying campaign {command}" in capsys.readouterr().out.split("Example", 1)[1]


def test_proposals_are_listed_with_what_they_bring_within_a_hundred_columns(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert campaign(home, "propose") == 0
    out = capsys.readouterr().out
    assert "p-1a2b3c4d  Horror on film to folklore on knowledge" in out
    assert "reaches 200 people" in out
    assert "20 (1 to 45) USD" in out
    assert max(len(line) for line in out.split("Next:")[0].splitlines()) <= 100


def test_a_proposal_is_shown_with_its_evidence_and_the_row_that_it_becomes(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert campaign(home, "show", "p-1a2b3c4d") == 0
    out = capsys.readouterr().out
    assert "Three [live]" in out
    assert "Reach: 200 people." in out
    assert '"campaign_id": "zhiying-p-1a2b3c4d"' in out


def test_what_is_approved_is_a_row_that_a_run_accepts(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign(home, "approve", "p-1a2b3c4d") == 0
    row = landed(home, "zhiying-p-1a2b3c4d")
    assert (row["status"], row["budget"], row["segment"]) == ("approved", 7.8, "lifecycle:film:active")
    assert (row["starts_at"], row["ends_at"]) == ("2026-03-04T00:00:00", "2026-03-31T23:59:59")
    (file,) = check_landing(home / "landing").files
    assert (file.rows_loaded, file.rows_quarantined) == (1, 0)
    out = capsys.readouterr().out
    assert "The first list is for 2026-03-04" in out
    assert "once the deliveries reach 2026-03-03" in out


def test_a_campaign_can_differ_from_its_proposal(home: Path) -> None:
    options = ["--budget", "50", "--starts", "2026-03-10", "--holdout", "0", "--channel", "push", "--name", "Spooky"]
    assert campaign(home, "approve", "p-1a2b3c4d", *options, "--segment", "everyone", "--frequency-cap", "1") == 0
    row = landed(home, "zhiying-p-1a2b3c4d")
    assert (row["budget"], row["holdout_share"], row["channel"], row["name"]) == (50, 0, "push", "Spooky")
    assert (row["segment"], row["frequency_cap"]) == (None, 1)
    # The length stays where only the start is another.
    assert (row["starts_at"][:10], row["ends_at"][:10]) == ("2026-03-10", "2026-04-06")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--budget", "0"], "above 0"),
        (["--ends", "2026-03-01"], "before it starts"),
        (["--starts", "2026-01-01", "--ends", "2026-02-01"], "deliveries reach 2026-03-01"),
        (["--starts", "tomorrow"], "is not a day"),
        (["--holdout", "1"], "less than 1"),
        (["--currency", "EUR"], "give --budget, --cost-per-exposure and --value-per-conversion"),
        (
            ["--currency", "XYZ", "--budget", "1", "--cost-per-exposure", "1", "--value-per-conversion", "1"],
            "ISO 4217",
        ),
        (["--segment", "lifecycle:film:activ"], "near are lifecycle:film:active"),
        (["--frequency-cap", "0"], "at least 1"),
    ],
)
def test_what_could_not_be_planned_is_refused_in_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert campaign(home, "approve", "p-1a2b3c4d", *options) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (home / "landing" / "marketing").exists()


def test_items_that_are_gone_are_no_campaign(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with duckdb.connect(str(PublicationStore(home / "published").current_file)) as connection:
        connection.execute("delete from core.dim_item where item_key = 'knowledge:3'")
    assert campaign(home, "approve", "p-1a2b3c4d") == 2
    assert "None of its items" in capsys.readouterr().err


def test_nothing_is_approved_twice_by_mistake(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign(home, "approve", "p-1a2b3c4d") == 0
    first = landed(home, "zhiying-p-1a2b3c4d")
    assert campaign(home, "approve", "p-1a2b3c4d", "--budget", "99") == 2
    assert "--again" in capsys.readouterr().err
    assert landed(home, "zhiying-p-1a2b3c4d") == first
    assert campaign(home, "approve", "p-1a2b3c4d", "--budget", "99", "--again") == 0
    second = landed(home, "zhiying-p-1a2b3c4d")
    assert second["budget"] == 99
    assert first["updated_at"] < second["updated_at"]


def test_a_decision_is_of_the_time_that_the_warehouse_lives_in(home: Path) -> None:
    assert campaign(home, "approve", "p-1a2b3c4d") == 0
    assert landed(home, "zhiying-p-1a2b3c4d")["updated_at"] == "2026-03-01T12:00:01"
    # The earlier version of this one is of a day later.
    assert campaign(home, "pause", "now") == 0
    assert landed(home, "now")["updated_at"] == "2026-03-02T00:00:01"


def test_a_campaign_is_paused_resumed_and_ended(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, status in (("pause", "paused"), ("resume", "approved"), ("end", "ended")):
        assert campaign(home, command, "now") == 0
        row = landed(home, "now")
        assert (row["status"], row["budget"], row["item_ids"], row["name"]) == (status, 100, ["3"], "The now one")
    (file,) = check_landing(home / "landing").files
    assert (file.rows_loaded, file.rows_quarantined) == (1, 0)
    capsys.readouterr()
    assert campaign(home, "resume", "now") == 2
    assert "has ended" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("end", "old"), "ended already"),
        (("pause", "old"), "has ended"),
        (("resume", "now"), "approved already"),
        (("pause", "seen"), "exposures only"),
        (("end", "nobody"), "No campaign 'nobody'"),
        (("end", "../old"), "cannot be the name of a file"),
        (("approve", "p-0"), "No proposal 'p-0'"),
        (("show", "nobody"), "No proposal and no campaign"),
    ],
)
def test_what_cannot_be_done_is_said(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert campaign(home, *arguments) == 2
    assert says in capsys.readouterr().err


def test_campaigns_are_listed_with_state_problem_and_verdict(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign(home, "approve", "p-1a2b3c4d") == 0
    capsys.readouterr()
    assert campaign(home, "list") == 0
    out = capsys.readouterr().out
    assert "99.50 of 100.00 USD spent" in out
    assert "No proof yet: too few people." in out
    assert "Its segment is no segment." in out
    assert "approved, waits for a run" in out


def test_machines_get_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign(home, "propose", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["proposal_id"] == "p-1a2b3c4d"
    assert campaign(home, "approve", "p-1a2b3c4d", "--json") == 0
    assert json.loads(capsys.readouterr().out)["row"]["campaign_id"] == "zhiying-p-1a2b3c4d"
    assert campaign(home, "list", "--json") == 0
    assert {one["campaign_key"] for one in json.loads(capsys.readouterr().out)} == {
        "old",
        "now",
        "seen",
        "zhiying-p-1a2b3c4d",
    }
    assert campaign(home, "show", "old", "--json") == 0
    assert json.loads(capsys.readouterr().out)["result"]["exposures"] == 12


def test_a_publication_of_before_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish_sample(tmp_path / "home")
    assert campaign(tmp_path / "home", "propose") == 2
    assert "zhiying run" in capsys.readouterr().err

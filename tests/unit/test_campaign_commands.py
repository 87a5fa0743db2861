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
    "source_item_keys": [],
    "starts_on": date(2026, 3, 4),
    "ends_on": date(2026, 3, 31),
    "time_zone": "America/New_York",
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

RESULT: dict[str, Any] = {
    "campaign_key": "old",
    "verdict": "No proof yet: too few people.",
    "currency": "USD",
    "people_treatment": 1655,
    "people_reached": 1650,
    "people_control": 145,
    "people_in_both_arms": 0,
    "held_out_people_exposed": 0,
    "exposures": 12,
    "clicks": 5,
    "conversions": 2,
    "unsubscribes": 1,
    "click_rate": 5 / 12,
    "click_rate_low": 0.19,
    "click_rate_high": 0.68,
    "satisfaction_answers": 37,
    "satisfaction": 4.214,
    "satisfaction_low": 3.9,
    "satisfaction_high": 4.55,
    "attributed_conversions_last": 3.0,
    "attributed_conversions_linear": 2.5,
    "attributed_conversions_position": 2.75,
    "attributed_revenue": 19.9,
    "cost": 1013.4211,
    "incremental_conversions": 174.1,
    "incremental_revenue": 2765.6,
    "return_on_cost": 0.8162,
    "sample_ratio_p_value": 0.3,
    "sample_ratio_alarm": False,
    "verdict_basis": "fixed_horizon",
}
PLANNED: dict[str, Any] = {
    "state": "planned",
    "problem": None,
    "budget_left": 1016.5,
    "people_in_segment": 1969,
    "eligible_people": 986,
    "held_out_people": 313,
    "planned_contacts": 1367,
    "planned_people": 209,
    "planned_cost": 3.6666,
    "expected_conversions": 75.255,
    "expected_incremental_conversions": 27.934,
    "detectable_difference": 0.158677,
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
            create table marketing.segment as
            select unnest(['lifecycle:film:active', 'taste:joined:war', 'taste:joined:gone']) as segment_key,
                split_part(segment_key, ':', 1) as family, if(segment_key = 'taste:joined:war', 5, 0) as people;
            create table marketing.plan as
            select 'plan-1' as plan_id, timestamp '2026-03-01 12:00:00' as as_of, date '2026-03-02' as first_date,
                date '2026-03-08' as last_date;
            create table marketing.campaign_plan (
                campaign_key varchar, plan_id varchar, state varchar, problem varchar, competes_with varchar[],
                first_date date, last_date date, currency varchar, budget double, spent double, budget_left double,
                holdout_share double, people_in_segment integer, eligible_people integer, held_out_people integer,
                planned_contacts integer, planned_people integer, planned_cost double, expected_conversions double,
                expected_incremental_conversions double, detectable_difference double
            );
            create table marketing.campaign_result (
                campaign_key varchar, verdict varchar, verdict_basis varchar, currency varchar, people_treatment integer,
                people_reached integer, people_control integer, people_in_both_arms integer,
                held_out_people_exposed integer, exposures bigint, clicks bigint, conversions bigint, unsubscribes bigint,
                click_rate double, click_rate_low double, click_rate_high double, satisfaction_answers bigint,
                satisfaction double, satisfaction_low double, satisfaction_high double,
                attributed_conversions_last double, attributed_conversions_linear double,
                attributed_conversions_position double, attributed_revenue double, cost double,
                incremental_conversions double, incremental_revenue double, return_on_cost double,
                sample_ratio_p_value double, sample_ratio_alarm boolean
            );
            create table marketing.eligibility (campaign_key varchar, user_key varchar, code varchar, reason varchar);
            insert into marketing.eligibility values
                ('now', 'ann', 'eligible', 'better_campaign'), ('now', 'bob', 'eligible', 'better_campaign'),
                ('now', 'cat', 'no_consent', null), ('now', 'dan', 'eligible', 'chosen');
            create table marketing.lift (
                scope varchar, scope_value varchar, measure varchar, method varchar, control double, treatment double,
                difference double, ci_low double, ci_high double, people_control integer, people_treatment integer
            );
            create table core.dim_campaign (
                campaign_key varchar, name varchar, kind varchar, source_platform varchar, target_platform varchar,
                channel varchar, item_ids varchar[],
                source_item_ids varchar[], status varchar, is_inferred boolean, budget decimal(18, 4),
                currency varchar, cost_per_exposure decimal(18, 4), value_per_conversion decimal(18, 4),
                starts_at timestamp, ends_at timestamp, updated_at timestamp
            );
            insert into marketing.campaign_plan by name
            select campaign_key, 'plan-1' as plan_id, state, problem, first_date, last_date, currency, budget, spent,
                0.2 as holdout_share
            from (values
                ('old', 'ended', null, date '2026-01-01', date '2026-02-01', 'USD', 100, 99.5),
                ('now', 'refused', 'Its segment is no segment.', date '2026-01-01', date '2026-04-01', 'USD', 100, 0),
                ('seen', 'refused', 'Known from exposures only.', null, null, null, null, null)
            ) as plan(campaign_key, state, problem, first_date, last_date, currency, budget, spent);
            insert into marketing.lift values
                ('campaign', 'old', 'conversion', 'newcombe', 0.0276, 0.1328, 0.1052, 0.0576, 0.138, 145, 1655),
                ('campaign', 'old', 'revenue', 'student', 0.4, 2.07, 1.67, -0.594, 2.748, 145, 1655),
                ('campaign', 'old', 'revenue', 'sequential', 0.4, 2.07, 1.67, -1.6, 4.9, 145, 1655),
                ('campaign', 'old', 'revenue', 'welch', 0.4, 2.07, 1.67, 1.6, 1.7, 145, 1655),
                ('campaign', 'now', 'conversion', 'newcombe', 0.5, 0.5, 0.0, -0.1, 0.1, 10, 10),
                ('campaign', 'old', 'conversion', 'sequential', 0.0276, 0.1328, 0.1052, -0.01, 0.21, 145, 1655);
            """
        )
        insert(connection, "marketing.campaign_result", **RESULT)
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
                source_item_ids=[],
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


def change(home: Path, table: str, key: str, **values: Any) -> None:
    sets = ", ".join(f"{name} = ?" for name in values)
    with duckdb.connect(str(PublicationStore(home / "published").current_file)) as connection:
        connection.execute(f"update {table} set {sets} where campaign_key = ?", [*values.values(), key])


def shown(home: Path, key: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert campaign(home, "show", key) == 0
    return capsys.readouterr().out.splitlines()


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
    assert (row["starts_at"], row["ends_at"]) == ("2026-03-04T00:00:00-05:00", "2026-03-31T23:59:59-04:00")
    (file,) = check_landing(home / "landing").files
    assert (file.rows_loaded, file.rows_quarantined) == (1, 0)
    out = capsys.readouterr().out
    assert "The first list is for 2026-03-04" in out
    assert "once the deliveries reach 2026-03-03" in out


def test_a_campaign_can_differ_from_its_proposal(home: Path) -> None:
    options = [
        "--budget",
        "50",
        "--starts",
        "2026-03-10",
        "--holdout",
        "0",
        "--channel",
        "push",
        "--name",
        "Spooky",
        "--new-channel",
    ]
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
        (["--budget", "0.01"], "less than the 0.02 that one contact costs"),
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
        (["--segment", "taste:joined:gone"], "'taste:joined:gone' is no segment; near are taste:joined:war"),
        (["--frequency-cap", "0"], "at least 1"),
        (
            ["--channel", "emial"],
            "'emial' has delivered nothing yet; known are email. If it is a new one, add --new-channel",
        ),
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


def test_what_was_ended_is_approved_again_on_request_only(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign(home, "approve", "p-1a2b3c4d") == 0
    assert campaign(home, "end", "zhiying-p-1a2b3c4d") == 0
    assert campaign(home, "approve", "p-1a2b3c4d") == 2
    assert "was approved as zhiying-p-1a2b3c4d and has ended; --again" in capsys.readouterr().err
    assert campaign(home, "approve", "p-1a2b3c4d", "--again") == 0
    assert landed(home, "zhiying-p-1a2b3c4d")["status"] == "approved"


def test_a_campaign_without_a_holdout_is_warned_of(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign(home, "approve", "p-1a2b3c4d") == 0
    assert "Without a holdout" not in capsys.readouterr().out
    assert campaign(home, "approve", "p-1a2b3c4d", "--again", "--holdout", "0") == 0
    assert "Without a holdout" in capsys.readouterr().out


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


def test_a_campaign_is_shown_with_its_result_rounded_and_the_verdict_first(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(home, "old", capsys) == [
        "old  The old one",
        "  kind          cross ad by email, film -> knowledge",
        "  days          2026-01-01 to 2026-02-01; 20% of the people held out",
        "  status        ended; 99.50 of 100.00 USD spent",
        "  items         Three [live]",
        "",
        "Result, in brackets 95 % intervals for one look, at the end",
        "  No proof yet: too few people.",
        "  lift          +10.52 percentage points (+5.76 to +13.80): 13.28% convert, of the held out 2.76%",
        "  caused        174 conversions (95 to 228) and 2,766 USD of revenue (-983 to 4,548)",
        "  cost          1,013.42 USD; return 0.8 times that, with a conversion worth 12.00 USD",
        "",
        "Counted, caused or not",
        "  people        1,655 to be contacted, 1,650 reached; 145 held out",
        "  answers       12 shown: 5 clicks (41.7%; 19.0% to 68.0%), 2 conversions reported, 1 unsubscribed",
        "  attributed    3.0 conversions (last), 2.5 (linear), 2.8 (position); 19.90 USD (linear)",
        "  satisfaction  4.21 (3.90 to 4.55) on average of 37 answers",
    ]


def test_while_a_campaign_is_measured_it_is_shown_with_the_intervals_of_all_looks(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(home, "marketing.campaign_result", "old", verdict_basis="sequential")
    lines = shown(home, "old", capsys)
    assert "Result so far, in brackets 95 % intervals that hold whenever they are read" in lines
    assert "  lift          +10.52 percentage points (-1.00 to +21.00): 13.28% convert, of the held out 2.76%" in lines
    assert "  caused        174 conversions (-17 to 348) and 2,766 USD of revenue (-2,648 to 8,110)" in lines
    assert campaign(home, "show", "old", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["conversion"]["method"], document["conversion"]["ci_low"]) == ("sequential", -0.01)
    assert campaign(home, "list", "--json") == 0
    listed = {one["campaign_key"]: one["verdict_basis"] for one in json.loads(capsys.readouterr().out)}
    assert listed == {"old": "sequential", "now": None, "seen": None}


def test_a_campaign_is_shown_with_what_is_planned_for_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(home, "marketing.campaign_plan", "now", **PLANNED, competes_with=[])
    lines = shown(home, "now", capsys)
    assert lines[3:] == [
        "  status        planned; 0.00 of 100.00 USD spent",
        "  items         Three [live]",
        "",
        "Plan",
        "  people        1,969 in the segment; 986 may be contacted, 313 more are held out",
        "  contacts      1,367 to 209 people, 2026-03-02 to 2026-03-08, for 3.67 of 1,016.50 USD left",
        "  expected      75.3 conversions, 27.9 of them caused",
        "  can be shown  a rise of 15.87 percentage points or more",
    ]
    change(home, "marketing.campaign_plan", "now", competes_with=["old", "seen"], detectable_difference=None)
    assert shown(home, "now", capsys)[-2:] == [
        "  can be shown  nothing: too few people",
        "  competes with old, seen",
    ]
    assert campaign(home, "list") == 0
    assert "1,367 contacts planned until 2026-03-08" in capsys.readouterr().out


def test_a_planned_campaign_without_a_contact_says_what_stands_in_the_way(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(home, "marketing.campaign_plan", "now", **PLANNED | {"planned_contacts": 0}, competes_with=[])
    assert "  why none      mostly: better campaign" in shown(home, "now", capsys)
    assert campaign(home, "list") == 0
    assert "planned; 0.00 of 100.00 USD spent; no contact planned, mostly: better campaign" in capsys.readouterr().out


def test_what_speaks_against_a_result_is_shown_only_where_it_is_so(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not [line for line in shown(home, "old", capsys) if "warning" in line]
    wrong = {"sample_ratio_alarm": True, "sample_ratio_p_value": 3.2e-7}
    change(home, "marketing.campaign_result", "old", **wrong, held_out_people_exposed=4, people_in_both_arms=1200)
    assert [line for line in shown(home, "old", capsys) if "warning" in line] == [
        "  warning       the arms are not of their planned sizes (p = 3e-07): do not trust the lift",
        "  warning       held-out people who were contacted all the same: 4; the lift is too small",
        "  warning       people recorded in both arms: 1,200; they count in the first",
    ]


def test_what_is_not_known_of_a_campaign_is_left_out(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = {name: None for name in RESULT if name.startswith(("incremental", "return", "satisfaction"))}
    change(home, "marketing.campaign_result", "old", **nothing, currency=None, attributed_revenue=None)
    with duckdb.connect(str(PublicationStore(home / "published").current_file)) as connection:
        connection.execute("update marketing.lift set ci_low = null, ci_high = null")
    lines = shown(home, "old", capsys)
    lift = "  lift          +10.52 percentage points: 13.28% convert, of the held out 2.76%"
    assert lines[lines.index(lift) + 1] == "  cost          1,013.42"
    change(home, "core.dim_campaign", "old", value_per_conversion=None)
    change(home, "marketing.campaign_result", "old", incremental_revenue=99.6, return_on_cost=2.0)
    with duckdb.connect(str(PublicationStore(home / "published").current_file)) as connection:
        connection.execute("delete from marketing.lift")
    assert shown(home, "old", capsys)[-7:] == [
        "  caused        100 of revenue",
        "  cost          1,013.42; return 2.0 times that, by revenue",
        "",
        "Counted, caused or not",
        "  people        1,655 to be contacted, 1,650 reached; 145 held out",
        "  answers       12 shown: 5 clicks (41.7%; 19.0% to 68.0%), 2 conversions reported, 1 unsubscribed",
        "  attributed    3.0 conversions (last), 2.5 (linear), 2.8 (position)",
    ]
    assert shown(home, "seen", capsys) == [
        "seen  seen",
        "  held out      20% of the people",
        "  status        refused",
        "",
        "Plan",
        "  problem       Known from exposures only.",
    ]


def test_a_campaign_that_waits_for_a_run_is_shown_by_its_row(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign(home, "approve", "p-1a2b3c4d", "--holdout", "0.3") == 0
    assert campaign(home, "pause", "now") == 0
    capsys.readouterr()
    assert shown(home, "zhiying-p-1a2b3c4d", capsys)[1:] == [
        "  kind          joint promotion by email, film -> knowledge",
        "  days          2026-03-04 to 2026-03-31; 30% of the people held out",
        "  status        approved, waits for a run; 7.80 USD to spend",
        "  items         Three [live]",
    ]
    assert "  status        paused, waits for a run; 0.00 of 100.00 USD spent" in shown(home, "now", capsys)
    change(home, "marketing.campaign_plan", "old", state="not_approved")
    change(home, "core.dim_campaign", "old", status="paused")
    assert "  status        paused; 99.50 of 100.00 USD spent" in shown(home, "old", capsys)
    change(home, "core.dim_campaign", "old", status="draft")
    assert "  status        not approved (draft); 99.50 of 100.00 USD spent" in shown(home, "old", capsys)


def test_what_is_shown_of_a_campaign_fits_a_screen(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = PLANNED | {"competes_with": [f"zhiying-p-0000000{n}" for n in range(6)]}
    change(home, "marketing.campaign_plan", "old", **full)
    lines = shown(home, "old", capsys)
    assert max(map(len, lines)) <= 100
    assert "  competes with zhiying-p-00000000, zhiying-p-00000001, zhiying-p-00000002 and 3 more" in lines
    assert len(lines) <= 24


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("pause", "p-1a2b3c4d"), "did you mean zhiying-p-1a2b3c4d?"),
        (("show", "zhiying-p-1a2b3c4"), "did you mean zhiying-p-1a2b3c4d?"),
        (("show", "nothing like it"), "No proposal and no campaign 'nothing like it'; `zhiying campaign propose`"),
    ],
)
def test_what_may_have_been_meant_is_named(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert campaign(home, "approve", "p-1a2b3c4d") == 0
    capsys.readouterr()
    assert campaign(home, *arguments) == 2
    assert says in capsys.readouterr().err


def test_the_id_of_another_proposal_is_never_suggested(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for known in ("p-1a2b3c4e", "zhiying-p-1a2b3c4e"):
        assert campaign(home, "show", known) == 2
        assert "did you mean" not in capsys.readouterr().err


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
    document = json.loads(capsys.readouterr().out)
    assert document["result"] == RESULT
    assert (document["conversion"]["method"], document["conversion"]["control"]) == ("newcombe", 0.0276)
    assert (document["plan"]["spent"], document["brief"]["kind"]) == (99.5, "cross_ad")


@pytest.mark.parametrize("call_of", [("propose",), ("end", "old")])
def test_a_publication_of_before_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], call_of: tuple[str, ...]
) -> None:
    publish_sample(tmp_path / "home")
    (tmp_path / "home" / "landing").mkdir()
    assert campaign(tmp_path / "home", *call_of) == 2
    error = capsys.readouterr().err
    assert "zhiying run" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "table",
    [
        "core.dim_campaign",
        "core.dim_item",
        *(
            f"marketing.{name}"
            for name in (
                "campaign_plan", "campaign_proposal", "campaign_result", "eligibility", "lift", "plan", "segment"
            )
        ),
    ],
)  # fmt: skip
def test_a_publication_that_lacks_any_column_is_read_or_refused_in_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], table: str
) -> None:
    change(home, "marketing.campaign_plan", "now", **PLANNED, competes_with=[])
    file = PublicationStore(home / "published").current_file
    with duckdb.connect(str(file)) as connection:
        columns = [row[0] for row in connection.execute(f"describe {table}").fetchall()]
    # The first is refused for whatever any of them reads.
    calls = (
        ("propose",), ("list",), ("show", "old"), ("show", "now"), ("show", "old", "--json"), ("show", "p-1a2b3c4d"),
        ("approve", "p-1a2b3c4d", "--again", "--segment", "lifecycle:film:active"),
    )  # fmt: skip
    refused = set()
    for column in columns:
        with duckdb.connect(str(file)) as connection:
            connection.execute(f'alter table {table} rename column "{column}" to earlier')
        for call_of in calls:
            status, error = campaign(home, *call_of), capsys.readouterr().err
            if (
                status == 2
                and "made by an earlier version; run `zhiying run` first" in error
                and error.count("\n") == 1
            ):
                refused.add(column)
                break
            assert (status, error) == (0, ""), (column, call_of)
        with duckdb.connect(str(file)) as connection:
            connection.execute(f'alter table {table} rename column earlier to "{column}"')
    assert refused


BOTH_SIDES = {"kind": "special_programme", "source_item_keys": ["film:2"]}


def propose_both_sides(home: Path, kind: str) -> None:
    row = PROPOSAL | {"kind": kind, "source_item_keys": ["film:2"]}
    with duckdb.connect(str(PublicationStore(home / "published").current_file)) as connection:
        connection.execute(
            "update marketing.campaign_proposal set kind = ?, source_item_keys = ?, landing_row = ?",
            [kind, row["source_item_keys"], json.dumps(landing_row(row, "2026-03-01T12:00:00"))],
        )


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("special_programme", ["  shelf         on film: Two", "  and, offered  on knowledge: Three [live]"]),
        ("interactive", ["  first one of  on film: Two", "  then one of   on knowledge: Three [live]"]),
    ],
)
def test_items_of_both_platforms_are_shown_before_and_after_approval(
    home: Path, capsys: pytest.CaptureFixture[str], kind: str, lines: list[str]
) -> None:
    propose_both_sides(home, kind)
    out = shown(home, "p-1a2b3c4d", capsys)
    assert [line for line in out if line in lines] == lines
    assert campaign(home, "approve", "p-1a2b3c4d") == 0
    assert landed(home, "zhiying-p-1a2b3c4d")["item_ids"] == ["film:2", "3"]
    capsys.readouterr()
    assert [line for line in shown(home, "zhiying-p-1a2b3c4d", capsys) if line in lines] == lines


def test_a_campaign_whose_items_are_all_of_the_source_platform_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = PROPOSAL | BOTH_SIDES | {"item_keys": ["knowledge:gone"]}
    with duckdb.connect(str(PublicationStore(home / "published").current_file)) as connection:
        connection.execute(
            "update marketing.campaign_proposal set landing_row = ?",
            [json.dumps(landing_row(row, "2026-03-01T12:00:00"))],
        )
    assert campaign(home, "approve", "p-1a2b3c4d") != 0
    assert "None of its items is in the catalogue any more" in capsys.readouterr().err


def test_a_shelf_stays_with_a_campaign_that_is_paused(home: Path) -> None:
    change(home, "core.dim_campaign", "now", source_item_ids=["2"])
    assert campaign(home, "pause", "now") == 0
    row = landed(home, "now")
    assert (row["item_ids"], "source_item_ids" in row) == (["film:2", "3"], False)


def test_who_completed_a_challenge_is_shown_of_both_arms(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not any(line.startswith("  challenge") for line in shown(home, "old", capsys))
    with duckdb.connect(str(PublicationStore(home / "published").current_file)) as connection:
        connection.execute(
            "insert into marketing.lift values "
            "('campaign', 'old', 'challenge_14d', 'newcombe', 0.01, 0.05, 0.04, 0.002, 0.06, 145, 1655)"
        )
    (line,) = (line for line in shown(home, "old", capsys) if line.startswith("  challenge"))
    assert line == "  challenge     done by 5.00%, of the held out by 1.00%: +4.00 percentage points (+0.20 to +6.00)"

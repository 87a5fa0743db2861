"""`zhiying campaign`: proposals are read, approved, and campaigns ended, paused and resumed.

Everything shown is read from the publication. Everything decided is a row of `marketing/campaigns` in the landing zone, one file
a campaign, so that a decision takes the same way as any other delivery and the next run finds it.
"""

import difflib
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer

from orchestration.command_line import (
    DONE,
    CallError,
    Home,
    Json,
    Landing,
    open_publication,
    options_as_given,
    print_json,
    program,
    settings_of_call,
)
from orchestration.marketing.campaign_briefs import CHALLENGE_DAYS, MADE_ANEW, campaign_days
from orchestration.resources.durable import write_whole
from orchestration.settings import Settings, parse_time
from orchestration.sql import has_relation

WIDTH = 100
# Ids of proposals are hashes: one that looks alike is another one.
_MADE_UP_ID = re.compile(r"(zhiying-)?p-[0-9a-f]{8}")
_EVERYONE = "everyone"
# Campaigns that want the same people, of which the names fit a line.
_SHOWN_RIVALS = 3
_FOLDER = Path("marketing") / "campaigns"
# What the commands read, by table: a publication of another version of the project may lack it.
_READ = {
    "core.dim_campaign": "campaign_key, name, status, kind, channel, source_platform, target_platform, item_ids, "
    "source_item_ids, value_per_conversion, starts_at, ends_at, updated_at",
    "core.dim_item": "item_key, title",
    "marketing.campaign_plan": "campaign_key, plan_id, state, problem, competes_with, first_date, last_date, currency, budget, "
    "spent, budget_left, holdout_share, people_in_segment, eligible_people, held_out_people, planned_contacts, planned_people, "
    "planned_cost, expected_conversions, expected_incremental_conversions, detectable_difference",
    "marketing.campaign_proposal": "proposal_id, rank, name, kind, channel, source_platform, target_platform, segment_key, "
    "item_keys, source_item_keys, starts_on, ends_on, time_zone, currency, reach, holdout_share, contacts, budget, cost, "
    "detectable_difference, evidence, landing_row, "
    + ", ".join(
        f"expected_{name}, expected_{name}_low, expected_{name}_high"
        for name in ("clicks", "conversions", "incremental_conversions", "revenue", "return")
    ),
    "marketing.campaign_result": "campaign_key, verdict, verdict_basis, currency, people_treatment, people_reached, "
    "people_control, people_in_both_arms, held_out_people_exposed, exposures, clicks, conversions, unsubscribes, click_rate, "
    "click_rate_low, click_rate_high, satisfaction_answers, satisfaction, satisfaction_low, satisfaction_high, "
    "attributed_conversions_last, attributed_conversions_linear, attributed_conversions_position, attributed_revenue, cost, "
    "incremental_conversions, incremental_revenue, return_on_cost, sample_ratio_p_value, sample_ratio_alarm",
    "marketing.eligibility": "campaign_key, code, reason",
    "marketing.lift": "scope, scope_value, measure, method, control, treatment, difference, ci_low, ci_high, people_treatment",
    "marketing.plan": "plan_id, as_of, first_date, last_date",
    "marketing.segment": "segment_key, family, people",
}
_CHALLENGE = f"challenge_{CHALLENGE_DAYS}d"
_STATUS_AFTER = {"end": "ended", "pause": "paused", "resume": "approved"}

campaign_app = typer.Typer(
    help="Proposes campaigns, approves them, and shows what they cause.\n\n"
    "A campaign that is approved starts with the next `zhiying run`; lists for those who deliver are under `exports` in the home.",
    epilog="Example: `zhiying campaign propose`, then `zhiying campaign approve p-1a2b3c4d`, then `zhiying run`",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

ProposalId = Annotated[
    str, typer.Argument(metavar="PROPOSAL", help="From `zhiying campaign propose`, e.g. p-1a2b3c4d.")
]
CampaignId = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="From `zhiying campaign list`.")]


@campaign_app.command(name="propose", epilog="Example: `zhiying campaign propose -n 5`")
def list_proposals(
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 10,
    home: Home = None,
    as_json: Json = False,
) -> int:
    """Lists the campaigns that would bring most, best first.

    Ranked by what a campaign would bring, less the part that any theme would bring these people. Of the worth and the return the
    central 95 % of what may come stand in brackets; the cost is that of the contacts alone.
    """
    with open_publication(settings_of_call(home)) as connection:
        _expect_marts(connection)
        proposals = _rows(connection, "select * from marketing.campaign_proposal order by rank limit ?", [n])
    if as_json:
        print_json(proposals)
        return DONE
    if not proposals:
        print(
            "No proposal: no theme of one side fills the lists of people who like one of the other side beyond the usual."
        )
        return DONE
    for proposal in proposals:
        _print_proposal(proposal)
    best, options = proposals[0]["proposal_id"], options_as_given(home)
    print("Next:")
    print(f"  {program()} campaign show{options} {best}      all its numbers, and what each rests on")
    print(f"  {program()} campaign approve{options} {best}   makes it a campaign")
    return DONE


@campaign_app.command(epilog="Example: `zhiying campaign show p-1a2b3c4d`")
def show(
    name: Annotated[str, typer.Argument(metavar="PROPOSAL_OR_CAMPAIGN", help="A proposal or a campaign.")],
    home: Home = None,
    as_json: Json = False,
) -> int:
    """Shows all numbers of a proposal with what they rest on, or the plan and the result of a campaign."""
    settings = settings_of_call(home)
    with open_publication(settings) as connection:
        _expect_marts(connection)
        found = _rows(connection, "from marketing.campaign_proposal where proposal_id = ?", [name])
        if found:
            items, beside = (_titles(connection, found[0][name]) for name in ("item_keys", "source_item_keys"))
            if as_json:
                row = json.loads(found[0]["landing_row"])
                print_json({**found[0], "items": items, "source_items": beside, "landing_row": row})
            else:
                _print_all_of_proposal(found[0], items, beside)
            return DONE
        campaigns = [one for one in _campaigns(connection, settings.landing) if one["campaign_key"] == name]
        items, beside = _items_of(connection, campaigns[0]) if campaigns else ([], [])
        result = _rows(connection, "from marketing.campaign_result where campaign_key = ?", [name])
        lifts = {
            (lift["measure"], lift["method"]): lift
            for lift in _rows(connection, "from marketing.lift where scope = 'campaign' and scope_value = ?", [name])
        }
    if not campaigns:
        raise CallError(
            f"No proposal and no campaign {name!r}; {_meant(settings, name)}`zhiying campaign propose` and "
            "`zhiying campaign list` show them"
        )
    if as_json:
        conversion = lifts.get(("conversion", _method(result[0], "newcombe"))) if result else None
        challenge = lifts.get((_CHALLENGE, "newcombe"))
        said = {"items": items, "source_items": beside, "result": result[0] if result else None}
        print_json({**campaigns[0], **said, "conversion": conversion, "challenge": challenge})
        return DONE
    _print_brief(campaigns[0])
    _print_items(_brief_of(campaigns[0]), items, beside)
    _print_plan(campaigns[0])
    if result:
        _print_result(result[0], lifts, (campaigns[0]["brief"] or {}).get("value_per_conversion"))
    return DONE


@campaign_app.command(
    epilog="Example: `zhiying campaign approve p-1a2b3c4d --budget 200 --starts 2026-02-02 --ends 2026-02-28 --holdout 0.2`"
)
def approve(
    proposal_id: ProposalId,
    budget: Annotated[float | None, typer.Option("--budget", help="What may be spent. Default: as proposed.")] = None,
    currency: Annotated[
        str | None, typer.Option("--currency", help="ISO 4217 code; another than proposed needs all amounts anew.")
    ] = None,
    cost: Annotated[
        float | None, typer.Option("--cost-per-exposure", help="What a contact costs. Default: as proposed.")
    ] = None,
    value: Annotated[
        float | None, typer.Option("--value-per-conversion", help="What a conversion is worth. Default: as proposed.")
    ] = None,
    starts: Annotated[str | None, typer.Option("--starts", metavar="DAY", help="First day, e.g. 2026-02-02.")] = None,
    ends: Annotated[str | None, typer.Option("--ends", metavar="DAY", help="Last day, included.")] = None,
    holdout: Annotated[
        float | None, typer.Option("--holdout", help="Share of people held out to measure against, 0 to less than 1.")
    ] = None,
    channel: Annotated[str | None, typer.Option("--channel", help="Channel that delivers it.")] = None,
    new_channel: Annotated[
        bool,
        typer.Option("--new-channel", help="The channel has delivered nothing before; check the cost of a contact."),
    ] = False,
    name: Annotated[str | None, typer.Option("--name", help="Name of the campaign.")] = None,
    frequency_cap: Annotated[
        int | None, typer.Option("--frequency-cap", help="Most contacts of one person in 28 days.")
    ] = None,
    segment: Annotated[
        str | None, typer.Option("--segment", help="Another segment_key of marketing.segment, or `everyone`.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Replace what was approved of this proposal before.")] = False,
    landing: Landing = None,
    home: Home = None,
    as_json: Json = False,
) -> int:
    """Makes a proposal a campaign: writes it into the landing zone, where the next run finds it."""
    settings = settings_of_call(home, landing)
    with open_publication(settings) as connection:
        _expect_marts(connection)
        found = _rows(connection, "from marketing.campaign_proposal where proposal_id = ?", [proposal_id])
        if not found:
            raise CallError(
                f"No proposal {proposal_id!r}; each run proposes anew, and `zhiying campaign propose` lists what is"
            )
        proposal = found[0]
        as_of = _as_of(connection)
        row = json.loads(proposal["landing_row"])
        file = _file(settings.landing, row["campaign_id"])
        known = _rows(connection, "from core.dim_campaign where campaign_key = ?", [row["campaign_id"]])
        if (known or file.exists()) and not again:
            status = (_landed(file) or known[0])["status"]
            raise CallError(
                f"{proposal_id} was approved as {row['campaign_id']} and has ended; --again starts it anew"
                if status == "ended"
                else f"{proposal_id} has been approved before as {row['campaign_id']}; --again replaces it, and "
                f"`zhiying campaign end {row['campaign_id']}` stops it"
            )
        if channel is not None and not new_channel:
            _expect_known_channel(connection, channel)
        if currency is not None and currency != proposal["currency"] and None in (budget, cost, value):
            raise CallError(
                f"--currency {currency}: the proposal is in {proposal['currency']}; give --budget, --cost-per-exposure and "
                f"--value-per-conversion in {currency} too"
            )
        first = proposal["starts_on"] if starts is None else _day("--starts", starts)
        length = proposal["ends_on"] - proposal["starts_on"]
        last = (proposal["ends_on"] if starts is None else first + length) if ends is None else _day("--ends", ends)
        row |= {
            key: given
            for key, given in {
                "budget": budget,
                "currency": currency,
                "cost_per_exposure": cost,
                "value_per_conversion": value,
                "holdout_share": holdout,
                "channel": channel,
                "name": name,
                "frequency_cap": frequency_cap,
                "segment": None if segment == _EVERYONE else segment,
            }.items()
            if given is not None
        }
        if segment == _EVERYONE:
            row["segment"] = None
        row |= campaign_days(first, last, proposal["time_zone"])
        _expect_usable(connection, row, first, last, as_of.date())
    earlier = _landed(file)
    row["updated_at"] = _decided_at(as_of, earlier or (known[0] if known else None))
    _write(file, row)
    if as_json:
        print_json({"file": str(file), "row": row})
        return DONE
    first_list = max(first, as_of.date() + timedelta(days=1))
    _print_wrapped(f"Approved: {row['campaign_id']}  ", row["name"])
    print(
        f"  {row['budget']:,.2f} {row['currency']} from {first} to {last} by {row['channel']}, "
        f"{row['holdout_share']:.0%} of the people held out"
    )
    if row["holdout_share"] == 0:
        print("  Without a holdout nobody will be able to tell what it causes; --holdout 0.1 leaves a tenth alone.")
    print(f"  written to {file}")
    print(f"Next: {program()} run{options_as_given(home, landing)}")
    print(f"  The first list is for {first_list}, in {settings.home / 'exports' / str(first_list)}")
    print(f"  It is made once the deliveries reach {first_list - timedelta(days=1)}; now they reach {as_of.date()}.")
    return DONE


@campaign_app.command(name="list", epilog="Example: `zhiying campaign list`")
def list_campaigns(home: Home = None, landing: Landing = None, as_json: Json = False) -> int:
    """Lists all campaigns: where they stand, what they spent, what is planned and what they cause."""
    settings = settings_of_call(home, landing)
    with open_publication(settings) as connection:
        _expect_marts(connection)
        campaigns = _campaigns(connection, settings.landing)
    if as_json:
        print_json(campaigns)
    elif not campaigns:
        print("No campaign is known; `zhiying campaign propose` shows what could be one.")
    else:
        for campaign in campaigns:
            _print_campaign(campaign)
    return DONE


@campaign_app.command(epilog="Example: `zhiying campaign end zhiying-p-1a2b3c4d`")
def end(campaign_id: CampaignId, landing: Landing = None, home: Home = None, as_json: Json = False) -> int:
    """Ends a campaign for good: from the next run on nobody is contacted for it. What it caused stays to be read."""
    return _change("end", campaign_id, home, landing, as_json=as_json)


@campaign_app.command(epilog="Example: `zhiying campaign pause zhiying-p-1a2b3c4d`")
def pause(campaign_id: CampaignId, landing: Landing = None, home: Home = None, as_json: Json = False) -> int:
    """Pauses a campaign: from the next run on nobody is contacted for it until it is resumed."""
    return _change("pause", campaign_id, home, landing, as_json=as_json)


@campaign_app.command(epilog="Example: `zhiying campaign resume zhiying-p-1a2b3c4d`")
def resume(campaign_id: CampaignId, landing: Landing = None, home: Home = None, as_json: Json = False) -> int:
    """Resumes a campaign that was paused, with the same people held out as before."""
    return _change("resume", campaign_id, home, landing, as_json=as_json)


def _change(change: str, campaign_id: str, home: Path | None, landing: Path | None, *, as_json: bool) -> int:
    settings = settings_of_call(home, landing)
    file = _file(settings.landing, campaign_id)
    with open_publication(settings) as connection:
        as_of = _as_of(connection)
        known = _rows(connection, "from core.dim_campaign where campaign_key = ?", [campaign_id])
    # What was decided since the last run is not published yet.
    row = _landed(file) or (_as_landing_row(known[0]) if known else None)
    if row is None:
        raise CallError(
            f"No campaign {campaign_id!r}; {_meant(settings, campaign_id)}`zhiying campaign list` shows them"
        )
    status, before = _STATUS_AFTER[change], row.get("status")
    if "kind" not in row or row["kind"] is None:
        raise CallError(f"{campaign_id} is known from its exposures only; deliver its row in marketing/campaigns first")
    if before == status:
        raise CallError(f"{campaign_id} is {status} already; there is nothing to do")
    if before == "ended":
        raise CallError(f"{campaign_id} has ended; `zhiying campaign approve` starts a new one")
    if change in {"pause", "resume"} and before not in {"approved", "paused"}:
        raise CallError(f"{campaign_id} is {before}; only a campaign that was approved can be paused and resumed")
    changed = {**row, "status": status, "updated_at": _decided_at(as_of, row)}
    _write(file, changed)
    if as_json:
        print_json({"file": str(file), "row": changed})
    else:
        print(f"{campaign_id} is {status} now, written to {file}")
        print(f"Next: {program()} run{options_as_given(home, landing)}")
    return DONE


def _meant(settings: Settings, name: str) -> str:
    """A question that names what may have been meant, or nothing."""
    with open_publication(settings) as connection:
        known = [key for (key,) in connection.execute("select campaign_key from core.dim_campaign").fetchall()]
        known += [
            key for (key,) in connection.execute("select proposal_id from marketing.campaign_proposal").fetchall()
        ]
    known += [file.stem for file in (settings.landing / _FOLDER).glob("zhiying-*.ndjson")]
    near = [f"zhiying-{name}"] if f"zhiying-{name}" in known else []
    if not near and not _MADE_UP_ID.fullmatch(name):
        near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}? " if near else ""


def _expect_known_channel(connection: duckdb.DuckDBPyConnection, channel: str) -> None:
    channels = connection.execute(
        "select channel from core.dim_campaign union select channel from marketing.campaign_proposal order by channel"
    ).fetchall()
    known = [name for (name,) in channels if name is not None]
    if channel not in known:
        raise CallError(
            f"--channel {channel!r} has delivered nothing yet; known are {', '.join(known)}. If it is a new one, add --new-channel "
            "and --cost-per-exposure"
        )


def _expect_usable(
    connection: duckdb.DuckDBPyConnection, row: Mapping[str, Any], first: date, last: date, as_of: date
) -> None:
    """Refuses what the plan would refuse, while the person is still there."""
    from orchestration.landing.contract import project_contract

    if row["budget"] <= 0:
        raise CallError(f"--budget {row['budget']:g}: must be above 0, since nobody is contacted without a budget")
    if row["budget"] < row["cost_per_exposure"]:
        raise CallError(
            f"--budget {row['budget']:g}: is less than the {row['cost_per_exposure']:g} that one contact costs"
        )
    for option, key in (
        ("--cost-per-exposure", "cost_per_exposure"),
        ("--value-per-conversion", "value_per_conversion"),
    ):
        if row[key] < 0:
            raise CallError(f"{option} {row[key]:g}: must not be negative")
    if row["value_per_conversion"] == 0:
        raise CallError("--value-per-conversion: must be above 0, since no contact would be worth its cost")
    if last < first:
        raise CallError(f"It would end on {last}, before it starts on {first}; give --ends on or after {first}")
    if last <= as_of:
        raise CallError(f"It would end on {last}, and deliveries reach {as_of} already; give a later --ends")
    currencies = next(one.codes for one in project_contract().code_sets if one.name == "currency")
    if row["currency"] not in currencies:
        raise CallError(f"--currency {row['currency']}: not a code of ISO 4217, such as USD or CNY")
    if not 0 <= row["holdout_share"] < 1:
        raise CallError(f"--holdout {row['holdout_share']:g}: must be at least 0 and less than 1, for instance 0.1")
    if row["frequency_cap"] < 1:
        raise CallError(f"--frequency-cap {row['frequency_cap']}: must be at least 1")
    if not row["channel"].strip() or not row["name"].strip():
        raise CallError("--channel and --name must not be empty")
    if row["segment"] is not None:
        # Of families that are made anew a segment without anybody is gone.
        known = connection.execute(
            "select segment_key from marketing.segment where people > 0 or not list_contains(?, family)",
            [list(MADE_ANEW)],
        )
        keys = [key for (key,) in known.fetchall()]
        if row["segment"] not in keys:
            near = difflib.get_close_matches(row["segment"], keys, n=3, cutoff=0.4) or sorted(keys)[:3]
            raise CallError(f"--segment {row['segment']!r} is no segment; near are {', '.join(near)}; or `{_EVERYONE}`")
    keys, _ = _keys_of(row)
    if not connection.execute(
        "select 1 from core.dim_item where list_contains(?, item_key) limit 1", [keys]
    ).fetchone():
        raise CallError("None of its items is in the catalogue any more; `zhiying run` makes new proposals")


# What stands most often in the way of a contact.
_OBSTACLES = """
select campaign_key, arg_max(obstacle, (people, obstacle)) from (
    select campaign_key, coalesce(reason, code) as obstacle, count(*) as people from marketing.eligibility
    where reason is distinct from 'chosen'
    group by all
)
group by campaign_key
"""


def _campaigns(connection: duckdb.DuckDBPyConnection, landing: Path) -> list[dict[str, Any]]:
    """Every campaign that is published, and those that wait for a run."""
    plans = _rows(
        connection,
        "select decided.*, plans.first_date as plan_first_date, plans.last_date as plan_last_date "
        "from marketing.campaign_plan as decided left join marketing.plan as plans using (plan_id)",
    )
    briefs = {row["campaign_key"]: row for row in _rows(connection, "from core.dim_campaign")}
    verdicts = {
        row["campaign_key"]: row
        for row in _rows(connection, "select campaign_key, verdict, verdict_basis from marketing.campaign_result")
    }
    obstacles = dict(connection.execute(_OBSTACLES).fetchall())
    found = [
        {
            "campaign_key": plan["campaign_key"],
            "name": briefs.get(plan["campaign_key"], {}).get("name"),
            "state": plan["state"],
            "problem": plan["problem"],
            "verdict": verdicts.get(plan["campaign_key"], {}).get("verdict"),
            "verdict_basis": verdicts.get(plan["campaign_key"], {}).get("verdict_basis"),
            "obstacle": obstacles.get(plan["campaign_key"]) if plan["planned_contacts"] == 0 else None,
            "brief": briefs.get(plan["campaign_key"]),
            "plan": plan,
        }
        for plan in plans
    ]
    places = {one["campaign_key"]: one for one in found}
    for file in sorted((landing / _FOLDER).glob("*.ndjson")):
        row = _landed(file)
        if row is None or file.name != f"{row.get('campaign_id')}.ndjson":
            continue
        key = row["campaign_id"]
        if row.get("updated_at") is None or briefs.get(key, {}).get("updated_at") == _moment(row["updated_at"]):
            continue
        waiting = {"state": f"{row.get('status')}, waits for a run", "problem": None, "landing_row": row}
        if key in places:
            places[key].update(waiting)
        else:
            unknown = dict.fromkeys(("verdict", "verdict_basis", "obstacle", "brief", "plan"))
            found.append({"campaign_key": key, "name": row.get("name"), **unknown, **waiting})
    order = ("planned", "waiting", "refused", "not_approved", "ended")
    return sorted(
        found, key=lambda one: (order.index(one["state"]) if one["state"] in order else -1, one["campaign_key"])
    )


def _print_proposal(proposal: Mapping[str, Any]) -> None:
    money = proposal["currency"]
    _print_wrapped(f"{proposal['rank']:>3}  {proposal['proposal_id']}  ", proposal["name"])
    line = (
        f"{proposal['kind'].replace('_', ' ')} by {proposal['channel']}; reaches {proposal['reach']:,} people; budget "
        f"{proposal['budget']:,.0f} {money}; brings {_span(proposal, 'revenue', 0)} {money}"
    )
    if proposal["expected_return"] is not None:
        line += f", {_span(proposal, 'return', 1)} times its cost"
    _print_wrapped(" " * 5, line)
    print()


def _print_all_of_proposal(proposal: Mapping[str, Any], items: Sequence[str], beside: Sequence[str]) -> None:
    money = proposal["currency"]
    _print_wrapped("", f"{proposal['proposal_id']}  {proposal['name']}")
    print()
    lift = proposal["detectable_difference"]
    for name, text in (
        ("kind", proposal["kind"]),
        ("channel", f"{proposal['channel']} on the {proposal['source_platform']} platform"),
        ("days", f"{proposal['starts_on']} to {proposal['ends_on']}"),
        ("segment", proposal["segment_key"]),
        ("reach", f"{proposal['reach']:,} people, {proposal['holdout_share']:.0%} of them held out"),
        ("contacts", f"{proposal['contacts']:,} for {proposal['cost']:,.2f} {money}"),
        ("budget", f"{proposal['budget']:,.2f} {money}"),
        ("clicks", _span(proposal, "clicks", 1)),
        ("conversions", _span(proposal, "conversions", 1)),
        ("caused by it", f"{_span(proposal, 'incremental_conversions', 1)} of them"),
        ("brings", f"{_span(proposal, 'revenue', 2)} {money}"),
        ("return", "contacts are free" if proposal["expected_return"] is None else _span(proposal, "return", 2)),
        (
            "can be proven",
            "nothing: too few people" if lift is None else f"a rise of {100 * lift:.2f} percentage points or more",
        ),
    ):
        _print_wrapped(f"  {name:<14}", text)
    _print_items(proposal, items, beside)
    print("\nIn brackets: the central 95 % of what may come. What the numbers rest on:")
    for sentence in proposal["evidence"]:
        _print_wrapped("  - ", sentence)
    print("\nThe row of marketing/campaigns that it becomes (`zhiying campaign approve` writes it):")
    print(proposal["landing_row"])


def _print_campaign(campaign: Mapping[str, Any]) -> None:
    _print_wrapped(f"{campaign['campaign_key']}  ", campaign["name"] or "(no row of it was delivered)")
    plan = campaign["plan"]
    status = _status(campaign)
    if plan is not None and plan["planned_contacts"]:
        status += f"; {plan['planned_contacts']:,} contacts planned until {plan['plan_last_date']}"
    elif campaign["obstacle"]:
        status += f"; no contact planned, mostly: {campaign['obstacle'].replace('_', ' ')}"
    _print_wrapped("    ", status)
    for sentence in (campaign["problem"], campaign["verdict"]):
        if sentence:
            _print_wrapped("    ", sentence)


def _status(campaign: Mapping[str, Any]) -> str:
    """Where it stands, and what of its budget is spent."""
    plan, status = campaign["plan"], str(campaign["state"]).replace("_", " ")
    if campaign["state"] == "not_approved" and campaign["brief"]:
        status = "paused" if campaign["brief"]["status"] == "paused" else f"{status} ({campaign['brief']['status']})"
    if plan is None:
        row = campaign["landing_row"]
        return (
            status if row.get("budget") is None else f"{status}; {_money(row['budget'], row.get('currency'))} to spend"
        )
    if plan["budget"] is None:
        return status
    return f"{status}; {plan['spent'] or 0:,.2f} of {_money(plan['budget'], plan['currency'])} spent"


def _brief_of(campaign: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its row: the one that waits for a run if there is one; empty where none was delivered."""
    return campaign.get("landing_row") or campaign["brief"] or {}


def _print_items(brief: Mapping[str, Any], items: Sequence[str], beside: Sequence[str]) -> None:
    """What people are offered, and what of the source platform belongs to it."""
    if not items:
        return
    if not beside:
        _print_field("items", "; ".join(items))
        return
    names = ("first one of", "then one of") if brief["kind"] == "interactive" else ("shelf", "and, offered")
    for name, platform, titles in zip(names, ("source", "target"), (beside, items), strict=True):
        _print_field(name, f"on {brief[f'{platform}_platform']}: {'; '.join(titles)}")


def _print_brief(campaign: Mapping[str, Any]) -> None:
    """What a campaign is, by the row that waits for a run if there is one."""
    waiting, plan, brief = campaign.get("landing_row"), campaign["plan"], _brief_of(campaign)
    _print_wrapped("", f"{campaign['campaign_key']}  {campaign['name'] or '(no row of it was delivered)'}")
    if brief.get("kind"):
        by = f" by {brief['channel']}" if brief.get("channel") else ""
        sides = f"{brief['source_platform']} -> {brief['target_platform']}"
        _print_field("kind", f"{brief['kind'].replace('_', ' ')}{by}, {sides}")
    if waiting is None and plan is not None:
        # In the time zone of the run, and with what is assumed where the row does not say.
        first, last, share = plan["first_date"], plan["last_date"], plan["holdout_share"]
    else:
        first, last = (str(brief.get(name) or "")[:10] for name in ("starts_at", "ends_at"))
        share = brief.get("holdout_share")
    held_out = "" if share is None else f"{share:.0%} of the people"
    if first and last:
        _print_field("days", f"{first} to {last}" + (f"; {held_out} held out" if held_out else ""))
    elif held_out:
        _print_field("held out", held_out)
    _print_field("status", _status(campaign))


def _print_plan(campaign: Mapping[str, Any]) -> None:
    """What the present plan makes of a campaign; nothing where it neither plans nor refuses it."""
    plan = campaign["plan"]
    is_planned = plan is not None and plan["people_in_segment"] is not None
    if not is_planned and not campaign["problem"]:
        return
    print("\nPlan")
    if campaign["problem"]:
        _print_field("problem", campaign["problem"])
    if not is_planned:
        return
    _print_field(
        "people",
        f"{plan['people_in_segment']:,} in the segment; {plan['eligible_people']:,} may be contacted, "
        f"{plan['held_out_people']:,} more are held out",
    )
    _print_field(
        "contacts",
        f"{plan['planned_contacts']:,} to {plan['planned_people']:,} people, {plan['plan_first_date']} to "
        f"{plan['plan_last_date']}, for {plan['planned_cost']:,.2f} of {_money(plan['budget_left'], plan['currency'])} left",
    )
    _print_field(
        "expected",
        f"{plan['expected_conversions']:,.1f} conversions, {plan['expected_incremental_conversions']:,.1f} of them caused",
    )
    lift = plan["detectable_difference"]
    _print_field(
        "can be shown",
        "nothing: too few people" if lift is None else f"a rise of {100 * lift:.2f} percentage points or more",
    )
    if campaign["obstacle"]:
        _print_field("why none", f"mostly: {campaign['obstacle'].replace('_', ' ')}")
    if others := plan["competes_with"]:
        more = len(others) - _SHOWN_RIVALS
        _print_field("competes with", ", ".join(others[:_SHOWN_RIVALS]) + (f" and {more} more" if more > 0 else ""))


def _print_result(
    result: Mapping[str, Any], lifts: Mapping[tuple[str, str], Mapping[str, Any]], worth: float | None
) -> None:
    """What a campaign caused and what speaks against believing it; then what was counted, which says nothing of cause.

    Args:
        result: Row of marketing.campaign_result.
        lifts: Rows of marketing.lift of the campaign, by measure and method.
        worth: What the brief says that a conversion is worth; None if it does not.
    """
    is_final = _is_final(result)
    conversion, revenue = (
        lifts.get((measure, _method(result, at_the_end)))
        for measure, at_the_end in (("conversion", "newcombe"), ("revenue", "student"))
    )
    print(
        "\nResult, in brackets 95 % intervals for one look, at the end"
        if is_final
        else "\nResult so far, in brackets 95 % intervals that hold whenever they are read"
    )
    _print_wrapped("  ", result["verdict"])
    if result["sample_ratio_alarm"]:
        chance = result["sample_ratio_p_value"]
        _print_field("warning", f"the arms are not of their planned sizes (p = {chance:.1g}): do not trust the lift")
    if exposed := result["held_out_people_exposed"]:
        _print_field("warning", f"held-out people who were contacted all the same: {exposed:,}; the lift is too small")
    if both := result["people_in_both_arms"]:
        _print_field("warning", f"people recorded in both arms: {both:,}; they count in the first")
    if conversion is not None and conversion["difference"] is not None:
        low, high = (None if conversion[end] is None else 100 * conversion[end] for end in ("ci_low", "ci_high"))
        _print_field(
            "lift",
            f"{100 * conversion['difference']:+.2f} percentage points{_ends(low, high, '+.2f')}: {conversion['treatment']:.2%} "
            f"convert, of the held out {conversion['control']:.2%}",
        )
    caused = [
        f"{round(value):,} {unit}" + _ends(*_ends_of_everyone(lift))
        for value, unit, lift in (
            (result["incremental_conversions"], "conversions", conversion),
            (result["incremental_revenue"], f"{result['currency'] or ''} of revenue".strip(), revenue),
        )
        if value is not None
    ]
    if caused:
        _print_field("caused", " and ".join(caused))
    _print_challenge(lifts.get((_CHALLENGE, "newcombe")))
    cost = _money(result["cost"], result["currency"])
    if result["return_on_cost"] is not None:
        by = "by revenue" if worth is None else f"with a conversion worth {_money(worth, result['currency'])}"
        cost += f"; return {result['return_on_cost']:,.1f} times that, {by}"
    _print_field("cost", cost)
    print("\nCounted, caused or not")
    _print_field(
        "people",
        f"{result['people_treatment']:,} to be contacted, {result['people_reached']:,} reached; "
        f"{result['people_control']:,} held out",
    )
    if result["exposures"]:
        _print_field(
            "answers",
            f"{result['exposures']:,} shown: {result['clicks']:,} clicks "
            f"({result['click_rate']:.1%}; {result['click_rate_low']:.1%} to {result['click_rate_high']:.1%}), "
            f"{result['conversions']:,} conversions reported, {result['unsubscribes']:,} unsubscribed",
        )
        money = result["attributed_revenue"]
        last, linear, position = (result[f"attributed_conversions_{rule}"] for rule in ("last", "linear", "position"))
        _print_field(
            "attributed",
            f"{last:,.1f} conversions (last), {linear:,.1f} (linear), {position:,.1f} (position)"
            + ("" if money is None else f"; {_money(money, result['currency'])} (linear)"),
        )
    if result["satisfaction"] is not None:
        mean = f"{result['satisfaction']:.2f}" + _ends(result["satisfaction_low"], result["satisfaction_high"], ".2f")
        _print_field("satisfaction", f"{mean} on average of {_answers(result['satisfaction_answers'])}")


def _print_challenge(lift: Mapping[str, Any] | None) -> None:
    """Who did both steps of a challenge in time, of both arms; nothing where there is none, or nobody was followed for so long."""
    if lift is None or lift["difference"] is None:
        return
    ends = _ends(100 * lift["ci_low"], 100 * lift["ci_high"], "+.2f") if lift["ci_low"] is not None else ""
    _print_field(
        "challenge",
        f"done by {lift['treatment']:.2%}, of the held out by {lift['control']:.2%}: "
        f"{100 * lift['difference']:+.2f} percentage points{ends}",
    )


def _is_final(result: Mapping[str, Any]) -> bool:
    """Whether the verdict rests on one look at the end."""
    return bool(result["verdict_basis"] == "fixed_horizon")


def _method(result: Mapping[str, Any], at_the_end: str) -> str:
    """Method of the lift that the verdict rests on: that of one look only once it is final."""
    return at_the_end if _is_final(result) else "sequential"


def _answers(number: int) -> str:
    return f"{number:,} answer{'' if number == 1 else 's'}"


def _ends_of_everyone(lift: Mapping[str, Any] | None) -> tuple[float | None, float | None]:
    """Ends of what a lift adds up to over the treated people who are compared."""
    if lift is None or lift["ci_low"] is None or lift["ci_high"] is None:
        return None, None
    return lift["ci_low"] * lift["people_treatment"], lift["ci_high"] * lift["people_treatment"]


def _ends(low: float | None, high: float | None, digits: str = ",.0f") -> str:
    """Both ends of an interval in brackets; nothing if one is not known."""
    return "" if low is None or high is None else f" ({low:{digits}} to {high:{digits}})"


def _money(amount: float, currency: str | None) -> str:
    return f"{amount:,.2f} {currency or ''}".rstrip()


def _print_field(name: str, text: str) -> None:
    _print_wrapped(f"  {name:<14}", text)


def _print_wrapped(start: str, text: str) -> None:
    """Prints a text within the width, its further lines below its first."""
    width = max(WIDTH - len(start), 20)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
    for number, line in enumerate(lines):
        print(f"{start if number == 0 else ' ' * len(start)}{line}")


def _span(proposal: Mapping[str, Any], name: str, digits: int) -> str:
    mean, low, high = (proposal[f"expected_{name}{end}"] for end in ("", "_low", "_high"))
    return f"{mean:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def _keys_of(row: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Keys of the items of a row of `marketing/campaigns`: those of the target platform, and those of the source platform."""
    start = f"{row['source_platform']}:"
    named = row.get("item_ids") or ()
    beside = [item for item in named if item.startswith(start)]
    return [f"{row['target_platform']}:{item}" for item in named if not item.startswith(start)], beside


def _items_of(connection: duckdb.DuckDBPyConnection, campaign: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Titles of the items of a campaign: those of the target platform, and those of the source platform."""
    if "landing_row" in campaign:
        keys = _keys_of(campaign["landing_row"])
    else:
        brief = campaign["brief"] or dict.fromkeys(("item_ids", "source_item_ids"))
        of_target, of_source = (brief[name] or () for name in ("item_ids", "source_item_ids"))
        keys = (
            [f"{brief['target_platform']}:{item}" for item in of_target],
            [f"{brief['source_platform']}:{item}" for item in of_source],
        )
    offered, beside = (_titles(connection, of_side) for of_side in keys)
    return offered, beside


def _titles(connection: duckdb.DuckDBPyConnection, item_keys: Sequence[str]) -> list[str]:
    """Titles in the order of the keys."""
    found = dict(
        connection.execute(
            "select item_key, coalesce(title, item_key) from core.dim_item where list_contains(?, item_key)",
            [list(item_keys)],
        ).fetchall()
    )
    return [found.get(key, key) for key in item_keys]


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
    result = connection.execute(sql, list(values))
    columns = [column[0] for column in result.description or []]
    return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]


def _expect_marts(connection: duckdb.DuckDBPyConnection) -> None:
    """Refuses a publication without campaigns, and one of an earlier version that lacks something of `_READ`."""
    there = set(
        connection.execute(
            "select table_schema || '.' || table_name, column_name from information_schema.columns "
            "where table_catalog = current_database()"
        ).fetchall()
    )
    if not {table for table, _ in there} >= {f"marketing.campaign_{name}" for name in ("proposal", "plan", "result")}:
        raise CallError("This publication has no campaigns in it yet; `zhiying run` makes one that has")
    if not there >= {(table, column) for table, columns in _READ.items() for column in columns.split(", ")}:
        raise CallError("This publication was made by an earlier version; run `zhiying run` first")


def _as_of(connection: duckdb.DuckDBPyConnection) -> datetime:
    known = has_relation(connection, "marketing.plan")
    row = connection.execute("select max(as_of) from marketing.plan").fetchone() if known else None
    if row is None or row[0] is None:
        raise CallError("This publication has no plan in it yet; `zhiying run` makes one that has")
    moment: datetime = row[0]
    return moment


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise CallError(f"{option} {text!r} is not a day; for instance 2026-02-02") from error


def _file(landing: Path, campaign_id: str) -> Path:
    if not landing.is_dir():
        raise CallError(f"The landing folder {landing} does not exist; name one with --landing")
    if not campaign_id or Path(campaign_id).name != campaign_id or campaign_id.startswith((".", "_")):
        raise CallError(
            f"{campaign_id!r} cannot be the name of a file; deliver its row in marketing/campaigns yourself"
        )
    return landing / _FOLDER / f"{campaign_id}.ndjson"


def _landed(file: Path) -> dict[str, Any] | None:
    """The row of a campaign's own file; None if there is none."""
    try:
        row = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    return row if isinstance(row, dict) else None


def _as_landing_row(campaign: Mapping[str, Any]) -> dict[str, Any]:
    """The row that a published campaign came from."""
    row = {
        key: value for key, value in campaign.items() if key not in {"campaign_key", "is_inferred", "source_item_ids"}
    }
    beside = [f"{campaign['source_platform']}:{item}" for item in campaign["source_item_ids"] or ()]
    row["item_ids"] = [*beside, *(campaign["item_ids"] or ())]
    for key in ("budget", "cost_per_exposure", "value_per_conversion"):
        row[key] = None if row[key] is None else float(row[key])
    for key in ("starts_at", "ends_at", "updated_at"):
        row[key] = None if row[key] is None else row[key].isoformat(timespec="seconds")
    return {"campaign_id": campaign["campaign_key"], **row}


def _decided_at(as_of: datetime, earlier: Mapping[str, Any] | None) -> str:
    """When it was decided, in the time that the warehouse lives in: after what is published, and after any earlier version.

    With deliveries of another year a row of today would be in the future of everything that it is joined with.
    """
    moment = as_of + timedelta(seconds=1)
    if earlier is not None and earlier.get("updated_at") is not None:
        moment = max(moment, _moment(earlier["updated_at"]) + timedelta(seconds=1))
    return moment.isoformat(timespec="seconds")


def _moment(value: Any) -> datetime:
    """Naive UTC of a published or a landed time."""
    return value if isinstance(value, datetime) else parse_time(str(value))


def _write(file: Path, row: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all; what is hidden is not read by a run."""
    write_whole(file, json.dumps(row, ensure_ascii=False, default=str) + "\n")

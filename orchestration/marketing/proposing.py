"""Campaigns that could be run, from the segments, tastes and lists of the warehouse.

Which pairs of themes pull people over is found in `theme_pairs`; what they would bring and which are put forward is decided in
`models_ml.campaigns.proposals`. Approving one is a call of the command line (`campaign_commands`).
"""

import json
import zlib
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from models_ml.campaigns.planning import detectable_difference_of_shares
from models_ml.campaigns.proposals import (
    Forecast,
    IncrementalShare,
    MeasuredShare,
    ProposalConfig,
    Rate,
    Span,
    best_channel,
    campaign_kind,
    expected_contacts,
    forecast,
    incremental_share,
    proposal_id,
    put_forward,
    rounded_budget,
)
from orchestration.marketing.campaign_briefs import CHALLENGE_DAYS, MADE_ANEW, campaign_days
from orchestration.marketing.measuring import PRIOR_RATES, PRIOR_STRENGTH
from orchestration.marketing.theme_pairs import ThemePair, theme_pairs
from orchestration.resources.warehouse import replace_table
from orchestration.settings import Settings
from orchestration.sql import has_relation

TABLE = "marketing.proposed_campaign"
# The day after the latest event is being handed over; two more are for reading and approving.
STARTS_AFTER_DAYS = 3
WINDOW_DAYS = 28
CONTACTS_PER_PERSON = 2
# Without any campaign before: what is asked for, and what is assumed to be paid for an exposure and got for a conversion.
HOLDOUT_SHARE = 0.1
COST_PER_EXPOSURE = 0.02
VALUE_PER_CONVERSION = 1.0
CURRENCY = "USD"
CHANNELS = {
    "joint_promotion": "email",
    "special_programme": "email",
    "interactive": "in_app_quiz",
    "cross_ad": "app_banner",
}
# Kinds that show items of both platforms: a themed shelf, and a challenge that begins on one and ends on the other.
KINDS_OF_BOTH_SIDES = ("special_programme", "interactive")
_ANSWERS = tuple(PRIOR_RATES)

_SPANS = ("clicks", "conversions", "incremental_conversions", "revenue", "return")
PROPOSAL_SCHEMA = pa.schema(
    [
        ("proposal_id", pa.string()),
        ("rank", pa.int32()),
        ("name", pa.string()),
        ("kind", pa.string()),
        ("channel", pa.string()),
        ("source_platform", pa.string()),
        ("target_platform", pa.string()),
        ("segment_key", pa.string()),
        ("source_topic", pa.string()),
        ("target_topic", pa.string()),
        ("item_keys", pa.list_(pa.string())),
        ("source_item_keys", pa.list_(pa.string())),
        ("starts_on", pa.date32()),
        ("ends_on", pa.date32()),
        ("time_zone", pa.string()),
        ("currency", pa.string()),
        ("interested_people", pa.int32()),
        ("reach", pa.int32()),
        ("pull", pa.float64()),
        ("pull_low", pa.float64()),
        ("holdout_share", pa.float64()),
        ("contacts", pa.int32()),
        ("cost_per_exposure", pa.float64()),
        ("value_per_conversion", pa.float64()),
        ("budget", pa.float64()),
        ("cost", pa.float64()),
        *((f"expected_{name}{end}", pa.float64()) for name in _SPANS for end in ("", "_low", "_high")),
        ("detectable_difference", pa.float64()),
        ("evidence", pa.list_(pa.string())),
        ("landing_row", pa.string()),
    ]
)


class _Known(NamedTuple):
    """What earlier campaigns say."""

    as_of_date: date
    as_of: str
    time_zone: str
    currency: str
    holdout_share: float
    costs: Mapping[str, float]
    values: Mapping[str, float]
    channels: Mapping[str, Mapping[str, tuple[int, int]]]
    rates: Mapping[tuple[str, str, str], Rate]
    measured: list[MeasuredShare]


def propose(
    connection: duckdb.DuckDBPyConnection, settings: Settings, config: ProposalConfig | None = None
) -> pa.Table:
    """The campaigns that would bring most, best first.

    Args:
        connection: Of the build file; temporary tables are made and dropped.
        settings: Seed of the intervals.
        config: How many, and what is assumed; by default as documented there.

    Returns:
        `PROPOSAL_SCHEMA`; empty where no theme of one side pulls people to the other.
    """
    config = config or ProposalConfig()
    known = _known(connection)
    candidates = theme_pairs(connection, known.currency)
    rows = [_proposal(one, known, config, settings.seed) for one in candidates]
    # Of what a campaign would bring, the part that the pair of themes is good for: what is in all lists can be brought to anyone.
    scores = np.array([row["expected_revenue"] * (1 - 1 / row["pull_low"]) for row in rows], dtype=np.float64)
    pairs = [(f"{one.source}/{one.source_topic}", f"{one.target}/{one.target_topic}") for one in candidates]
    chosen = put_forward(scores, [one.segment_key for one in candidates], pairs, config)
    best = [{**rows[index], "rank": rank} for rank, index in enumerate(chosen, start=1)]
    return pa.Table.from_pylist(best, schema=PROPOSAL_SCHEMA)


def write_proposals(connection: duckdb.DuckDBPyConnection, proposals: pa.Table) -> int:
    """Replaces `marketing.proposed_campaign`; returns its number of rows.

    Args:
        connection: Writer of the build file.
        proposals: From `propose`.
    """
    return replace_table(connection, TABLE, proposals)


def _known(connection: duckdb.DuckDBPyConnection) -> _Known:
    as_of, as_of_date, time_zone = _row(
        connection,
        "select strftime(as_of, '%Y-%m-%dT%H:%M:%S'), cast(timezone(time_zone, timezone('UTC', as_of)) as date), time_zone "
        "from raw.run",
    )
    (currency,) = _row(
        connection,
        """
        select coalesce(
            (
                select currency from core.dim_campaign, raw.run
                where status = 'approved' and ends_at > as_of and currency is not null
                group by currency order by count(*) desc, currency limit 1
            ),
            (
                select currency from core.dim_campaign where currency is not null
                group by currency order by count(*) desc, currency limit 1
            ),
            (
                select currency from core.fct_purchase where currency is not null
                group by currency order by count(*) desc, currency limit 1
            ),
            $fallback
        )
        """,
        {"fallback": CURRENCY},
    )
    (holdout,) = _row(
        connection, "select median(holdout_share) from core.dim_campaign where holdout_share > 0 and holdout_share < 1"
    )
    costs = connection.execute(
        "select coalesce(channel, ''), cast(avg(cost_per_exposure) as double) from core.dim_campaign "
        "where currency = $1 and cost_per_exposure >= 0 group by rollup (coalesce(channel, ''))",
        [currency],
    ).fetchall()
    values = connection.execute(
        "select target_platform, cast(avg(value_per_conversion) as double) from core.dim_campaign "
        "where currency = $1 and value_per_conversion > 0 group by target_platform",
        [currency],
    ).fetchall()
    channels: dict[str, dict[str, tuple[int, int]]] = {}
    for kind, channel, answers, exposures in connection.execute(
        """
        select campaigns.kind, coalesce(exposures.channel, campaigns.channel), count(responses.exposure_key), count(*)
        from core.fct_exposure as exposures
        inner join core.dim_campaign as campaigns on exposures.campaign_key = campaigns.campaign_key
        left join (
            select distinct exposure_key from core.fct_response where response_type = 'conversion'
        ) as responses on exposures.exposure_key = responses.exposure_key
        where
            exposures.arm = 'treatment' and campaigns.kind is not null
            and coalesce(exposures.channel, campaigns.channel) is not null
        group by all
        """
    ).fetchall():
        channels.setdefault(kind, {})[channel] = (answers, exposures)
    return _Known(
        as_of_date=as_of_date,
        as_of=as_of,
        time_zone=time_zone,
        currency=currency,
        holdout_share=HOLDOUT_SHARE if holdout is None else float(holdout),
        costs={"all" if channel is None else channel: cost for channel, cost in costs if cost is not None},
        values=dict(values),
        channels=channels,
        rates=_rates(connection),
        measured=_measured_shares(connection),
    )


def _rates(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str, str], Rate]:
    """Rates of kind, segment and answer; a posterior is the prior and what was seen."""
    if not has_relation(connection, "marketing.measured_rate"):
        return {}
    found = connection.execute(
        "select kind, segment_key, answer, exposures, answers, cast(prior_mean as double), cast(prior_strength as double) "
        "from marketing.measured_rate"
    ).fetchall()
    return {
        (kind, segment, answer): Rate(
            prior_mean * strength + answers, (1 - prior_mean) * strength + exposures - answers, exposures, answers
        )
        for kind, segment, answer, exposures, answers, prior_mean, strength in found
    }


def _measured_shares(connection: duckdb.DuckDBPyConnection) -> list[MeasuredShare]:
    """Share of conversions that each measured campaign caused, with its error."""
    if not has_relation(connection, "marketing.measured_lift"):
        return []
    found = connection.execute(
        """
        select
            campaigns.kind,
            cast(lifts.difference / lifts.treatment as double),
            cast((lifts.ci_high - lifts.ci_low) / (2 * 1.96) / lifts.treatment as double)
        from marketing.measured_lift as lifts
        inner join core.dim_campaign as campaigns on lifts.scope_value = campaigns.campaign_key
        where
            lifts.scope = 'campaign' and lifts.measure = 'conversion' and lower(lifts.method) = 'newcombe'
            and lifts.treatment > 0 and lifts.ci_high > lifts.ci_low and campaigns.kind is not null
        order by campaigns.campaign_key
        """
    ).fetchall()
    return [MeasuredShare(kind, share, error) for kind, share, error in found]


def _row(connection: duckdb.DuckDBPyConnection, sql: str, values: Any = None) -> tuple[Any, ...]:
    row = connection.execute(sql, values).fetchone()
    assert row is not None
    return row


def _proposal(one: ThemePair, known: _Known, config: ProposalConfig, seed: int) -> dict[str, Any]:
    kind, why = campaign_kind(
        one.family,
        one.state,
        one.source_topic,
        one.target_topic,
        one.on_both / one.reach,
        has_source_items=bool(one.source_item_keys),
    )
    found = {answer: _rate(known, kind, one.segment_key, answer) for answer in _ANSWERS}
    rates = {answer: rate for answer, (rate, _) in found.items()}
    channel, tried = best_channel(known.channels.get(kind, {}), rates["conversion"], CHANNELS[kind])
    cost_per_exposure = known.costs.get(channel, known.costs.get("all", COST_PER_EXPOSURE))
    value, value_from = _value(one, known)
    treated = round(one.reach * (1 - known.holdout_share))
    stop_rate = min(1.0, sum(rates[answer].mean for answer in ("conversion", "dismiss", "unsubscribe")))
    identity = proposal_id(
        {
            "kind": kind,
            "segment_key": one.segment_key,
            "source": [one.source, one.source_topic],
            "target": [one.target, one.target_topic],
            "items": sorted(one.item_keys),
        }
    )
    caused = incremental_share(kind, known.measured, config)
    expected = forecast(
        expected_contacts(treated, CONTACTS_PER_PERSON, stop_rate),
        cost_per_exposure,
        value,
        rates["click"],
        rates["conversion"],
        caused,
        # A proposal's intervals do not depend on which others there are.
        seed=seed + zlib.crc32(identity.encode()),
        draws=config.draws,
    )
    starts_on = known.as_of_date + timedelta(days=STARTS_AFTER_DAYS)
    row = {
        "proposal_id": identity,
        "name": _name(one),
        "kind": kind,
        "channel": channel,
        "source_platform": one.source,
        "target_platform": one.target,
        "segment_key": one.segment_key,
        "source_topic": one.source_topic,
        "target_topic": one.target_topic,
        "item_keys": one.item_keys,
        "source_item_keys": one.source_item_keys if kind in KINDS_OF_BOTH_SIDES else [],
        "starts_on": starts_on,
        "ends_on": starts_on + timedelta(days=WINDOW_DAYS - 1),
        "time_zone": known.time_zone,
        "currency": known.currency,
        "interested_people": one.people,
        "reach": one.reach,
        "pull": one.pull,
        "pull_low": one.pull_low,
        "holdout_share": known.holdout_share,
        "contacts": expected.contacts,
        "cost_per_exposure": cost_per_exposure,
        "value_per_conversion": round(value, 2),
        "budget": rounded_budget(expected.cost),
        "cost": expected.cost,
        **_figures("clicks", expected.clicks),
        **_figures("conversions", expected.conversions),
        **_figures("incremental_conversions", expected.incremental_conversions),
        **_figures("revenue", expected.revenue),
        **_figures("return", expected.expected_return),
        "detectable_difference": _detectable(one.reach, known.holdout_share, treated, expected, caused),
    }
    return {
        **row,
        "evidence": _evidence(one, known, row, why, found, tried, value_from, caused),
        "landing_row": json.dumps(landing_row(row, known.as_of), ensure_ascii=False),
    }


def landing_row(proposal: Mapping[str, Any], updated_at: str) -> dict[str, Any]:
    """The row of `marketing/campaigns` that a proposal becomes; laying it into the landing zone approves it.

    Args:
        proposal: Columns of `marketing.campaign_proposal`.
        updated_at: When it was decided, ISO 8601.
    """
    return {
        "campaign_id": campaign_id(proposal["proposal_id"]),
        "name": proposal["name"],
        "kind": proposal["kind"],
        "objective": (
            f"Bring people of the {proposal['source_platform']} platform who like {proposal['source_topic']} "
            f"to {proposal['target_topic']} on the {proposal['target_platform']} platform."
        ),
        "source_platform": proposal["source_platform"],
        "target_platform": proposal["target_platform"],
        "channel": proposal["channel"],
        **campaign_days(proposal["starts_on"], proposal["ends_on"], proposal["time_zone"]),
        "budget": round(proposal["budget"], 4),
        "currency": proposal["currency"],
        "cost_per_exposure": round(proposal["cost_per_exposure"], 4),
        "value_per_conversion": round(proposal["value_per_conversion"], 4),
        "frequency_cap": CONTACTS_PER_PERSON,
        "frequency_window_days": WINDOW_DAYS,
        "holdout_share": proposal["holdout_share"],
        # A key is the platform and the id, which is how an item of the source platform is named.
        "item_ids": [*proposal["source_item_keys"], *(key.split(":", 1)[1] for key in proposal["item_keys"])],
        "segment": proposal["segment_key"],
        "status": "approved",
        "updated_at": updated_at,
    }


def campaign_id(identity: str) -> str:
    """The campaign that a proposal becomes."""
    return f"zhiying-{identity}"


def _rate(known: _Known, kind: str, segment_key: str, answer: str) -> tuple[Rate, str]:
    """Rate of the segment if it is told apart, else of everyone; and whose it is."""
    for segment, whose in ((segment_key, "this segment"), ("all", "all people")):
        if (found := known.rates.get((kind, segment, answer))) is not None:
            return found, whose
    mean = PRIOR_RATES[answer]
    return Rate(mean * PRIOR_STRENGTH, (1 - mean) * PRIOR_STRENGTH), "all people"


def _value(one: ThemePair, known: _Known) -> tuple[float, str]:
    """Worth of a conversion, and the clause that says where it comes from."""
    if one.mean_paid is not None and one.purchases >= 5:
        return one.mean_paid, f"the mean of {one.purchases:,} purchases of these items"
    if one.median_price is not None:
        return one.median_price, "the median price of these items; they have hardly been bought yet"
    if one.target in known.values:
        return known.values[
            one.target
        ], f"what earlier campaigns to the {one.target} platform stated; no item has a price"
    return VALUE_PER_CONVERSION, "an assumption, since nothing is known: set it before you approve"


def _detectable(
    reach: int, holdout_share: float, treated: int, expected: Forecast, caused: IncrementalShare
) -> float | None:
    """Smallest rise of the share of people who convert that the holdout would show."""
    if not treated:
        return None
    base = (expected.conversions.mean - expected.incremental_conversions.mean) / treated
    if not 0 < base < 1:
        base = expected.conversions.mean / treated * (1 - min(max(caused.mean, 0.0), 0.99))
    if not 0 < base < 1:
        return None
    return detectable_difference_of_shares(base, reach, holdout_share).difference


def _name(one: ThemePair) -> str:
    """Readable in a list; people are named by their segment as analysts know it."""
    if one.source_topic == one.target_topic:
        themes = f"{one.source_topic} on {one.source} and on {one.target}"
    else:
        themes = f"{one.source_topic} on {one.source} to {one.target_topic} on {one.target}"
    segment = one.segment_name[0].lower() + one.segment_name[1:]
    if one.family == "taste":
        people = f"people with a taste for {one.segment_name}"
    else:
        people = segment if one.family == "value" else f"people {segment}"
    return f"{themes[0].upper()}{themes[1:]}, for {people}"


def _figures(name: str, span: Span | None) -> dict[str, float | None]:
    if span is None:
        return {f"expected_{name}{end}": None for end in ("", "_low", "_high")}
    return {f"expected_{name}": span.mean, f"expected_{name}_low": span.low, f"expected_{name}_high": span.high}


def _evidence(
    one: ThemePair,
    known: _Known,
    row: Mapping[str, Any],
    why: str,
    rates: Mapping[str, tuple[Rate, str]],
    tried: int,
    value_from: str,
    caused: IncrementalShare,
) -> list[str]:
    currency, kind = known.currency, str(row["kind"]).replace("_", " ")
    return [
        f"Pull: {one.target_topic} fills {one.share:.1%} of the first 20 places in the {one.target} lists "
        f"of {one.people:,} of these people who like {one.source_topic}; {one.base:.1%} is usual. "
        f"That is {one.pull:.1f} times as much, and at least {one.pull_low:.1f} times beyond chance.",
        f"Reach: {one.reach:,} people who may be contacted on the {one.source} platform and have one of the "
        f"{len(one.item_keys)} items in their list; {one.on_both:,} of them use both sides.",
        *(
            [
                f"Segment: one of {one.family}, which the models and what people do make anew in each run. If it is gone one day, "
                "the campaign is refused until its row names another; who was contacted by then keeps their arm."
            ]
            if one.family in MADE_ANEW
            else []
        ),
        f"Kind: {kind}, because {why}.",
        *_both_sides(one, row),
        f"Channel: {row['channel']}, "
        + (
            f"the best of those tried for this kind ({tried:,} exposures)."
            if tried
            else "the usual one for this kind; none has been tried."
        ),
        f"Contacts: {row['contacts']:,}, at most {CONTACTS_PER_PERSON} for each of the people who are not held out "
        f"({known.holdout_share:.0%} are), fewer where a first one is answered.",
        f"Cost: {row['cost_per_exposure']:.4g} {currency} a contact, "
        + ("as in earlier campaigns." if known.costs else "an assumption, since there was no campaign yet."),
        _rate_evidence("Clicks", "click", *rates["click"]),
        _rate_evidence("Conversions", "conversion", *rates["conversion"]),
        "Caused: "
        + (
            f"{caused.mean:.0%} of the conversions would not have come without contact, from {caused.campaigns} measured "
            "campaigns, drawn towards a cautious 40 %."
            if caused.campaigns
            else "40 % of the conversions (0 to 80 %) would not have come without contact: an assumption, since no campaign "
            "has been measured."
        ),
        f"Revenue: {row['value_per_conversion']:.2f} {currency} for a conversion, {value_from}.",
    ]


def _both_sides(one: ThemePair, row: Mapping[str, Any]) -> list[str]:
    """What the items of the source platform are for, where there are any."""
    if not row["source_item_keys"]:
        return []
    beside = f"{len(row['source_item_keys'])} items of {one.source_topic} on {one.source}, from the same people's lists there"
    offered = f"Offered, and counted as a conversion, is what is on {one.target}."
    if row["kind"] == "interactive":
        return [
            f"Challenge: first one of {beside}, then one of the {len(one.item_keys)} on {one.target}, both completed or rated "
            f"within {CHALLENGE_DAYS} days of the contact. {offered}"
        ]
    return [f"Shelf: beside the {len(one.item_keys)} items on {one.target} {beside}. {offered}"]


def _rate_evidence(what: str, answer: str, rate: Rate, whose: str) -> str:
    start = f"{what}: {rate.mean:.2%} of contacts, "
    if not rate.exposures:
        return (
            start
            + f"assumed: no exposure of this kind has been seen (it weighs as much as {rate.strength:,.0f} would)."
        )
    prior_strength = rate.strength - rate.exposures
    return (
        start + f"from {rate.answers:,} {answer}s of {rate.exposures:,} exposures of {whose}, drawn towards "
        f"{(rate.alpha - rate.answers) / prior_strength:.2%} as if by {prior_strength:,.0f} more."
    )

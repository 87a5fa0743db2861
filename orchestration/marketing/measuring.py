"""What campaigns caused: results, days, lifts, attribution and rates, from what people did after their first contact.

Arms are compared by intention to treat: everyone who was to be contacted counts as treated, whether the exposure was delivered or
not, and everyone counts from their first contact until 30 days later or as_of, whatever comes first. Arms are drawn by lot and
start at the same times, so that they are followed for equally long, and no one is left out for being recent. Shares within a fixed
number of days (the panel of satisfaction) are of those who have been followed for that long.

Here rows become arrays and tables; the statistics are in `models_ml.campaigns`, the reading in `outcomes`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.campaigns.attribution import attribute
from models_ml.campaigns.means import mean_of_rows, pair_moments, pair_moments_of_sums
from models_ml.campaigns.planning import detectable_difference_of_shares
from models_ml.campaigns.posterior import BetaPrior, measured_rates
from models_ml.campaigns.proportions import share_of_rows
from models_ml.campaigns.sample_ratio import sample_ratio
from models_ml.campaigns.valuation import KINDS
from orchestration.marketing.lifts import EVERYONE, compare_arms, sequence_of_shares_to_date
from orchestration.marketing.outcomes import (
    FOLLOW_UP_DAYS,
    MOSTLY_ANSWERED_DAYS,
    Outcomes,
    campaign_of_subjects,
    flags,
    numbers,
    was_member,
    whole_numbers,
)
from orchestration.marketing.verdict import Evidence, verdict
from orchestration.resources.warehouse import registered, replace_table
from orchestration.sql import exact_sum

SCHEMA = "marketing"
# Rates that are assumed before a campaign of any kind was answered, worth so many exposures.
PRIOR_RATES = {"click": 0.03, "conversion": 0.005, "dismiss": 0.03, "unsubscribe": 0.003}
PRIOR_STRENGTH = 50.0
_RATED_FAMILIES = ("lifecycle:joined:", "value:", "potential:")

_RESULT_SCHEMA = pa.schema(
    [
        ("campaign_key", pa.string()),
        ("name", pa.string()),
        ("kind", pa.string()),
        ("channel", pa.string()),
        ("currency", pa.string()),
        ("starts_at", pa.timestamp("us")),
        ("ends_at", pa.timestamp("us")),
        ("people_treatment", pa.int32()),
        ("people_control", pa.int32()),
        ("people_reached", pa.int32()),
        ("people_in_both_arms", pa.int32()),
        ("held_out_people_exposed", pa.int32()),
        ("exposures", pa.int64()),
        ("clicks", pa.int64()),
        ("dismissals", pa.int64()),
        ("unsubscribes", pa.int64()),
        ("conversions", pa.int64()),
        ("click_rate", pa.float64()),
        ("click_rate_low", pa.float64()),
        ("click_rate_high", pa.float64()),
        ("conversion_rate", pa.float64()),
        ("conversion_rate_low", pa.float64()),
        ("conversion_rate_high", pa.float64()),
        ("satisfaction_answers", pa.int64()),
        ("satisfaction", pa.float64()),
        ("satisfaction_low", pa.float64()),
        ("satisfaction_high", pa.float64()),
        ("cost", pa.float64()),
        ("attributed_conversions_last", pa.float64()),
        ("attributed_conversions_linear", pa.float64()),
        ("attributed_conversions_position", pa.float64()),
        ("attributed_revenue", pa.float64()),
        ("lift_conversion", pa.float64()),
        ("lift_conversion_low", pa.float64()),
        ("lift_conversion_high", pa.float64()),
        ("lift_conversion_p_value", pa.float64()),
        ("lift_conversion_p_adjusted", pa.float64()),
        ("lift_conversion_sequential_low", pa.float64()),
        ("lift_conversion_sequential_high", pa.float64()),
        ("incremental_conversions", pa.float64()),
        ("incremental_conversions_low", pa.float64()),
        ("incremental_conversions_high", pa.float64()),
        ("incremental_revenue", pa.float64()),
        ("incremental_revenue_low", pa.float64()),
        ("incremental_revenue_high", pa.float64()),
        ("return_on_cost", pa.float64()),
        ("sample_ratio_p_value", pa.float64()),
        ("sample_ratio_alarm", pa.bool_()),
        ("detectable_difference", pa.float64()),
        ("verdict_basis", pa.string()),
        ("verdict", pa.string()),
    ]
)
_DAY_SCHEMA = pa.schema(
    [
        ("campaign_key", pa.string()),
        ("date", pa.date32()),
        ("currency", pa.string()),
        ("contacts_promised", pa.int64()),
        ("exposures", pa.int64()),
        ("people", pa.int64()),
        ("clicks", pa.int64()),
        ("conversions", pa.int64()),
        ("click_rate", pa.float64()),
        ("revenue", pa.float64()),
        ("cost", pa.float64()),
        ("cost_to_date", pa.float64()),
        ("budget", pa.float64()),
        ("budget_share_to_date", pa.float64()),
        ("lift_to_date", pa.float64()),
        ("lift_to_date_low", pa.float64()),
        ("lift_to_date_high", pa.float64()),
    ]
)
_REACH_SCHEMA = pa.schema(
    [
        ("scope", pa.string()),
        ("scope_value", pa.string()),
        ("currency", pa.string()),
        ("exposures", pa.int64()),
        ("people", pa.int64()),
        ("clicks", pa.int64()),
        ("click_rate", pa.float64()),
        ("click_rate_low", pa.float64()),
        ("click_rate_high", pa.float64()),
        ("conversions", pa.int64()),
        ("revenue", pa.float64()),
        ("cost", pa.float64()),
    ]
)
_ATTRIBUTION_SCHEMA = pa.schema(
    [
        ("conversion_key", pa.string()),
        ("exposure_key", pa.string()),
        ("campaign_key", pa.string()),
        ("user_key", pa.string()),
        ("item_key", pa.string()),
        ("converted_at", pa.timestamp("us")),
        ("shown_at", pa.timestamp("us")),
        ("last", pa.float64()),
        ("linear", pa.float64()),
        ("position", pa.float64()),
        ("amount", pa.float64()),
        ("currency", pa.string()),
    ]
)
_RATE_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("segment_key", pa.string()),
        ("answer", pa.string()),
        ("exposures", pa.int64()),
        ("answers", pa.int64()),
        ("rate", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("prior_mean", pa.float64()),
        ("prior_strength", pa.float64()),
        ("is_prior_only", pa.bool_()),
    ]
)

# Each conversion beside each exposure that could have brought it.
_CREDITABLE = f"""
with runs as (
    select as_of from raw.run
),

pairs as (
    select
        conversions.conversion_key,
        exposures.exposure_key,
        exposures.campaign_key,
        exposures.user_key,
        conversions.item_key,
        conversions.converted_at,
        exposures.shown_at,
        conversions.amount,
        conversions.currency
    from conversion as conversions
    inner join core.fct_exposure as exposures
        on conversions.campaign_key = exposures.campaign_key and conversions.user_key = exposures.user_key
    where
        exposures.arm = 'treatment'
        and exposures.shown_at <= conversions.converted_at
        and exposures.shown_at >= conversions.converted_at - interval {FOLLOW_UP_DAYS} day
)

select
    dense_rank() over (order by conversion_key) - 1 as conversion,
    *
from pairs
order by conversion_key, shown_at, exposure_key
"""

_REACHED = f"""
with runs as (
    select as_of from raw.run
),

answers as (
    select
        responses.exposure_key,
        responses.response_type
    from core.fct_response as responses
    cross join runs
    where responses.occurred_at <= runs.as_of
),

flags as (
    select
        exposure_key,
        bool_or(response_type = 'click') as is_clicked,
        bool_or(response_type = 'conversion') as is_converted,
        bool_or(response_type = 'dismiss') as is_dismissed,
        bool_or(response_type = 'unsubscribe') as is_unsubscribed
    from answers
    group by all
),

-- What a contact of the ledger costs stands there, delivered or not.
priced as (
    select distinct
        md5(contact_key) as exposure_key,
        segment_keys
    from marketing.past_contact
),

-- Of what no contact tells of.
members as (
    select
        exposures.exposure_key,
        list(memberships.segment_key order by memberships.segment_key) as segment_keys
    from core.fct_exposure as exposures
    anti join priced on exposures.exposure_key = priced.exposure_key
    inner join marketing.known_membership as memberships on exposures.user_key = memberships.user_key
    where exposures.arm = 'treatment' and {was_member("exposures.shown_at")}
    group by all
)

select
    exposures.exposure_key,
    exposures.campaign_key,
    exposures.user_key,
    exposures.shown_at,
    exposures.exposure_date as date,
    coalesce(flags.is_clicked, false) as is_clicked,
    coalesce(flags.is_converted, false) as is_converted,
    coalesce(flags.is_dismissed, false) as is_dismissed,
    coalesce(flags.is_unsubscribed, false) as is_unsubscribed,
    if(priced.exposure_key is null, campaigns.cost_per_exposure, 0) as cost,
    coalesce(exposures.channel, campaigns.channel) as channel,
    coalesce(priced.segment_keys, members.segment_keys) as segment_keys
from core.fct_exposure as exposures
inner join campaign as campaigns on exposures.campaign_key = campaigns.campaign_key
left join flags on exposures.exposure_key = flags.exposure_key
left join priced on exposures.exposure_key = priced.exposure_key
left join members on exposures.exposure_key = members.exposure_key
cross join runs
where exposures.arm = 'treatment' and exposures.shown_at <= runs.as_of
order by exposures.exposure_key
"""

# One person may be shown many: what they answer to one says what they answer to the next.
_BY_PERSON = f"""
with runs as (
    select as_of from raw.run
),

told as (
    select
        responses.exposure_key,
        count(*) as answers,
        {exact_sum("responses.value")} as value
    from core.fct_response as responses
    cross join runs
    where
        responses.response_type = 'satisfaction'
        and responses.value is not null
        and responses.occurred_at <= runs.as_of
    group by all
)

select
    exposures.campaign_key,
    exposures.user_key,
    cast(count(*) as double) as exposures,
    cast(count(*) filter (where exposures.is_clicked) as double) as clicks,
    cast(count(*) filter (where exposures.is_converted) as double) as conversions,
    cast(coalesce(sum(told.answers), 0) as double) as satisfaction_answers,
    coalesce({exact_sum("told.value")}, 0) as satisfaction
from exposure as exposures
inner join total as totals on exposures.campaign_key = totals.campaign_key
left join told on exposures.exposure_key = told.exposure_key
group by all
order by exposures.campaign_key, exposures.user_key
"""

# What an exposure brought in the currency of its campaign, and the contacts that count: each from its day on, shown or not.
_BROUGHT_AND_PROMISED = f"""
with runs as (
    select as_of from raw.run
),

credits as (
    select
        credits.exposure_key,
        {exact_sum("credits.linear * credits.amount")} as revenue
    from credit as credits
    inner join campaign as campaigns
        on credits.campaign_key = campaigns.campaign_key and credits.currency = campaigns.currency
    group by all
),

promised as (
    select
        contacts.campaign_key,
        contacts.contact_date,
        contacts.channel,
        contacts.segment_keys,
        contacts.user_key,
        contacts.cost
    from marketing.past_contact as contacts
    inner join campaign as campaigns on contacts.campaign_key = campaigns.campaign_key
    cross join runs
    where contacts.arm = 'treatment' and contacts.not_before <= runs.as_of and contacts.decided_at < runs.as_of
),
"""

_SHOWN_DAYS = f"""{_BROUGHT_AND_PROMISED}
promises as (
    select
        campaign_key,
        contact_date as date,
        count(*) as contacts_promised,
        {exact_sum("cost")} as cost
    from promised
    group by all
),

deliveries as (
    select
        exposures.campaign_key,
        exposures.date,
        count(*) as exposures,
        count(distinct exposures.user_key) as people,
        count(*) filter (where exposures.is_clicked) as clicks,
        count(*) filter (where exposures.is_converted) as conversions,
        {exact_sum("exposures.cost")} as cost,
        {exact_sum("credits.revenue")} as revenue
    from exposure as exposures
    left join credits on exposures.exposure_key = credits.exposure_key
    group by all
),

days as (
    select
        campaign_key,
        date,
        coalesce(promises.contacts_promised, 0) as contacts_promised,
        coalesce(deliveries.exposures, 0) as exposures,
        coalesce(deliveries.people, 0) as people,
        coalesce(deliveries.clicks, 0) as clicks,
        coalesce(deliveries.conversions, 0) as conversions,
        coalesce(deliveries.revenue, 0) as revenue,
        coalesce(promises.cost, 0) + coalesce(deliveries.cost, 0) as cost
    from promises
    full join deliveries using (campaign_key, date)
)

select
    days.campaign_key,
    days.date,
    campaigns.currency,
    days.contacts_promised,
    days.exposures,
    days.people,
    days.clicks,
    days.conversions,
    days.clicks / nullif(days.exposures, 0) as click_rate,
    if(campaigns.currency is null, null, days.revenue) as revenue,
    days.cost,
    sum(days.cost) over (partition by days.campaign_key order by days.date) as cost_to_date,
    campaigns.budget,
    cost_to_date / nullif(campaigns.budget, 0) as budget_share_to_date
from days
inner join campaign as campaigns on days.campaign_key = campaigns.campaign_key
order by days.campaign_key, days.date
"""

_TOTALS = f"""
with runs as (
    select as_of from raw.run
),

exposed as (
    select
        campaign_key,
        count(*) as exposures,
        count(*) filter (where is_clicked) as clicks,
        count(*) filter (where is_dismissed) as dismissals,
        count(*) filter (where is_unsubscribed) as unsubscribes,
        count(*) filter (where is_converted) as conversions
    from exposure
    group by all
),

spent as (
    select
        campaign_key,
        {exact_sum("cost")} as cost
    from day
    group by all
),

credited as (
    select
        credits.campaign_key,
        {exact_sum("credits.last")} as last,
        {exact_sum("credits.linear")} as linear,
        {exact_sum("credits.position")} as position,
        {exact_sum("credits.linear * credits.amount", "credits.currency = campaigns.currency")} as revenue
    from credit as credits
    inner join campaign as campaigns on credits.campaign_key = campaigns.campaign_key
    group by all
),

people as (
    select
        subjects.campaign_key,
        count(*) filter (where subjects.is_treated) as people_treatment,
        count(*) filter (where not subjects.is_treated) as people_control,
        count(*) filter (where outcomes.is_reached) as people_reached,
        count(*) filter (where subjects.is_in_both_arms) as people_in_both_arms,
        count(*) filter (where not subjects.is_treated and outcomes.is_reached) as held_out_people_exposed,
        count(*) filter (where subjects.is_compared and subjects.is_treated) as compared_treatment,
        count(*) filter (where subjects.is_compared and not subjects.is_treated) as compared_control,
        count(*) filter (where subjects.propensity is not null and subjects.is_treated) as lots_treatment,
        count(*) filter (where subjects.propensity is not null and not subjects.is_treated) as lots_control,
        {exact_sum("1 - subjects.propensity")} / count(subjects.propensity) as planned_control_share,
        bool_and(subjects.is_followed_through) as is_followed_through
    from subject as subjects
    inner join outcome as outcomes on subjects.subject = outcomes.subject
    group by all
)

select
    campaigns.campaign_key,
    campaigns.name,
    campaigns.kind,
    campaigns.channel,
    campaigns.currency,
    campaigns.starts_at,
    campaigns.ends_at,
    people.people_treatment,
    people.people_control,
    people.people_reached,
    people.people_in_both_arms,
    people.held_out_people_exposed,
    people.compared_treatment,
    people.compared_control,
    people.lots_treatment,
    people.lots_control,
    people.planned_control_share,
    -- Who stops a campaign for what it seems to cause has looked: its end is that of its row.
    coalesce(people.is_followed_through and campaigns.ends_at + interval {FOLLOW_UP_DAYS} day <= runs.as_of, false)
        as is_complete,
    coalesce(exposed.exposures, 0) as exposures,
    coalesce(exposed.clicks, 0) as clicks,
    coalesce(exposed.dismissals, 0) as dismissals,
    coalesce(exposed.unsubscribes, 0) as unsubscribes,
    coalesce(exposed.conversions, 0) as conversions,
    coalesce(spent.cost, 0) as cost,
    coalesce(credited.last, 0) as attributed_conversions_last,
    coalesce(credited.linear, 0) as attributed_conversions_linear,
    coalesce(credited.position, 0) as attributed_conversions_position,
    if(campaigns.currency is null, null, coalesce(credited.revenue, 0)) as attributed_revenue,
    campaigns.value_per_conversion
from people
cross join runs
inner join campaign as campaigns on people.campaign_key = campaigns.campaign_key
left join exposed on people.campaign_key = exposed.campaign_key
left join spent on people.campaign_key = spent.campaign_key
left join credited on people.campaign_key = credited.campaign_key
order by campaigns.campaign_key
"""

# Exposures and answers by kind and segment of the person when contact was decided or, by others, shown; cells without any included.
_CELLS = """
with runs as (
    select as_of from raw.run
),

kinds as (
    select unnest($kinds) as kind
),

segments as (
    select distinct segment_key from marketing.known_membership
    where list_bool_or(list_transform($families, lambda family: starts_with(segment_key, family)))
),

converting as (
    select distinct exposure_key from credit
    where last = 1
),

shown as (
    select
        campaigns.kind,
        exposures.exposure_key,
        exposures.user_key,
        exposures.shown_at,
        exposures.segment_keys,
        exposures.is_clicked as click,
        exposures.is_converted or converting.exposure_key is not null as conversion,
        exposures.is_dismissed as dismiss,
        exposures.is_unsubscribed as unsubscribe
    from exposure as exposures
    inner join campaign as campaigns on exposures.campaign_key = campaigns.campaign_key
    left join converting on exposures.exposure_key = converting.exposure_key
    cross join runs
    where campaigns.kind is not null and exposures.shown_at <= runs.as_of - to_days($rated_after)
),

placed as (
    select
        shown.*,
        segments.segment_key
    from shown
    inner join segments on list_contains(shown.segment_keys, segments.segment_key)
    union all
    select
        shown.*,
        $everyone
    from shown
),

cells as (
    select
        kind,
        segment_key
    from kinds
    cross join (
        select segment_key from segments
        union all
        select $everyone
    ) as every
)

select
    cells.kind,
    cells.segment_key,
    count(placed.exposure_key) as exposures,
    count(*) filter (where placed.click) as click,
    count(*) filter (where placed.conversion) as conversion,
    count(*) filter (where placed.dismiss) as dismiss,
    count(*) filter (where placed.unsubscribe) as unsubscribe
from cells
left join placed on cells.kind = placed.kind and cells.segment_key = placed.segment_key
group by cells.kind, cells.segment_key
order by cells.kind, cells.segment_key
"""

# What was shown and what contacts cost, by each scope that a person and campaign are in; money of one currency.
_REACH = f"""{_BROUGHT_AND_PROMISED}
parts as (
    select
        exposures.campaign_key,
        exposures.channel,
        exposures.segment_keys,
        exposures.user_key,
        1 as exposures,
        cast(exposures.is_clicked as integer) as clicks,
        cast(exposures.is_converted as integer) as conversions,
        credits.revenue,
        exposures.cost
    from exposure as exposures
    left join credits on exposures.exposure_key = credits.exposure_key
    union all
    select
        campaign_key,
        channel,
        segment_keys,
        user_key,
        0,
        0,
        0,
        null,
        cost
    from promised
),

scoped as (
    select
        parts.user_key,
        parts.exposures,
        parts.clicks,
        parts.conversions,
        parts.revenue,
        parts.cost,
        campaigns.currency,
        unnest(
            [
                {{'scope': 'all', 'scope_value': '{EVERYONE}'}},
                {{'scope': 'campaign', 'scope_value': parts.campaign_key}},
                {{'scope': 'kind', 'scope_value': campaigns.kind}},
                {{'scope': 'channel', 'scope_value': parts.channel}}
            ]
            || list_transform(
                coalesce(parts.segment_keys, []),
                lambda segment_key: {{'scope': 'segment', 'scope_value': segment_key}}
            ),
            recursive := true
        )
    from parts
    inner join campaign as campaigns on parts.campaign_key = campaigns.campaign_key
),

people as (
    select
        scope,
        scope_value,
        currency,
        sum(exposures) as exposures,
        sum(clicks) as clicks,
        sum(conversions) as conversions,
        {exact_sum("revenue")} as revenue,
        {exact_sum("cost")} as cost
    from scoped
    where scope_value is not null
    group by scope, scope_value, currency, user_key
)

select
    scope,
    scope_value,
    currency,
    cast(sum(exposures) as bigint) as exposures,
    count(*) filter (where exposures > 0) as people,
    cast(sum(clicks) as bigint) as clicks,
    cast(sum(conversions) as bigint) as conversions,
    if(currency is null, null, coalesce({exact_sum("revenue")}, 0)) as revenue,
    coalesce({exact_sum("cost")}, 0) as cost,
    cast(sum(exposures * exposures) as bigint) as exposures_squared,
    cast(sum(clicks * clicks) as bigint) as clicks_squared,
    cast(sum(clicks * exposures) as bigint) as clicks_by_exposures
from people
group by scope, scope_value, currency
order by scope, scope_value, currency
"""


@dataclass(frozen=True)
class Measured:
    """Tables of the measurement, one for each of `marketing.measured_*`.

    Attributes:
        result: One row per campaign.
        day: One row per campaign and day with contacts or exposures.
        lift: One row per scope, its value, measure and method.
        attribution: One row per conversion and exposure that it is credited to.
        rate: One row per kind of campaign, segment and answer.
        reach: One row per scope, its value and currency, with what was shown, answered and spent.
    """

    result: pa.Table
    day: pa.Table
    lift: pa.Table
    attribution: pa.Table
    rate: pa.Table
    reach: pa.Table


def measure(connection: duckdb.DuckDBPyConnection, known: Outcomes) -> Measured:
    """Everything that campaigns have caused, up to as_of.

    Args:
        connection: To the build file, after the load of the ledger; nothing is written.
        known: From `read_outcomes`.
    """
    with registered(
        connection,
        campaign=known.campaigns,
        subject=known.subjects,
        outcome=known.outcomes,
        conversion=known.conversions,
    ):
        attribution = _attribution(connection.execute(_CREDITABLE).to_arrow_table())
        exposures = connection.execute(_REACHED).to_arrow_table()
        with registered(connection, credit=attribution, exposure=exposures):
            days = connection.execute(_SHOWN_DAYS).to_arrow_table()
            with registered(connection, day=days):
                totals = connection.execute(_TOTALS).to_arrow_table()
            with registered(connection, total=totals):
                people = connection.execute(_BY_PERSON).to_arrow_table()
            reach = connection.execute(_REACH).to_arrow_table()
            cells = connection.execute(
                _CELLS,
                {
                    "kinds": list(KINDS),
                    "families": list(_RATED_FAMILIES),
                    "everyone": EVERYONE,
                    "rated_after": MOSTLY_ANSWERED_DAYS,
                },
            ).to_arrow_table()
    lift = compare_arms(known)
    return Measured(
        result=_result(totals, people, lift),
        day=_day(days, known),
        lift=lift,
        attribution=attribution,
        rate=_rate(cells),
        reach=_reach(reach),
    )


def write_measurement(connection: duckdb.DuckDBPyConnection, measured: Measured) -> None:
    """Replaces the tables `marketing.measured_*`.

    Args:
        connection: To the build file, open for writing.
        measured: From `measure`.
    """
    for name in ("result", "day", "lift", "attribution", "rate", "reach"):
        replace_table(connection, f"{SCHEMA}.measured_{name}", getattr(measured, name))


def _attribution(pairs: pa.Table) -> pa.Table:
    """Weights of each exposure in each conversion. A conversion is its own person: a purchase counts for the campaigns about it."""
    conversion = whole_numbers(pairs, "conversion")
    converted_at, shown_at = (whole_numbers(pairs, name) for name in ("converted_at", "shown_at"))
    first = np.flatnonzero(np.diff(conversion, prepend=-1))
    found = attribute(
        conversion[first], converted_at[first], conversion, shown_at, window=FOLLOW_UP_DAYS * 86_400_000_000
    )
    rows = pairs.take(pa.array(found.exposure))
    for rule in ("last", "linear", "position"):
        rows = rows.append_column(rule, pa.array(getattr(found, rule)))
    return rows.select(_ATTRIBUTION_SCHEMA.names).cast(_ATTRIBUTION_SCHEMA)


def _result(totals: pa.Table, people: pa.Table, lift: pa.Table) -> pa.Table:
    """Each campaign with its lift of conversion, what that amounts to, and what is to be made of it."""
    rows = totals.to_pylist()
    lifts = {
        (row["scope_value"], row["measure"], row["method"]): row
        for row in lift.to_pylist()
        if row["scope"] == "campaign"
    }
    found = []
    for row, answers in zip(rows, _answers(totals["campaign_key"].to_pylist(), people), strict=True):
        key = row["campaign_key"]
        conversion = lifts.get((key, "conversion", "newcombe"), {})
        sequential = lifts.get((key, "conversion", "sequential"), {})
        basis = conversion if row["is_complete"] else sequential
        revenue = lifts.get((key, "revenue", "student"), {})
        row |= answers
        row |= {
            "lift_conversion": conversion.get("difference"),
            "lift_conversion_low": conversion.get("ci_low"),
            "lift_conversion_high": conversion.get("ci_high"),
            "lift_conversion_p_value": conversion.get("p_value"),
            "lift_conversion_p_adjusted": conversion.get("p_adjusted"),
            "lift_conversion_sequential_low": sequential.get("ci_low"),
            "lift_conversion_sequential_high": sequential.get("ci_high"),
        }
        for name, source in (("incremental_conversions", conversion), ("incremental_revenue", revenue)):
            for suffix, part in (("", "difference"), ("_low", "ci_low"), ("_high", "ci_high")):
                row[name + suffix] = _of_everyone(source, part)
        row["return_on_cost"] = _return_on_cost(row)
        row |= _sample_ratio(row)
        row["detectable_difference"] = _detectable(row, conversion)
        row["verdict_basis"] = "fixed_horizon" if row["is_complete"] else "sequential"
        row["verdict"] = verdict(
            Evidence(
                is_complete=row["is_complete"],
                people_treatment=row["compared_treatment"],
                people_control=row["compared_control"],
                lots_treatment=row["lots_treatment"],
                lots_control=row["lots_control"],
                planned_control_share=row["planned_control_share"],
                sample_ratio_p_value=row["sample_ratio_p_value"],
                sample_ratio_alarm=row["sample_ratio_alarm"],
                is_measured=bool(conversion),
                difference=basis.get("difference"),
                incremental=_of_everyone(basis, "difference"),
                low=_of_everyone(basis, "ci_low"),
                high=_of_everyone(basis, "ci_high"),
                p_value=basis.get("p_value"),
                p_adjusted=basis.get("p_adjusted"),
                return_on_cost=row["return_on_cost"],
                detectable_difference=row["detectable_difference"],
                held_out_people_exposed=row["held_out_people_exposed"],
            )
        )
        found.append({name: row[name] for name in _RESULT_SCHEMA.names})
    return pa.Table.from_pylist(found, _RESULT_SCHEMA)


def _of_everyone(lift: dict[str, Any], part: str) -> float | None:
    """A part of a lift times the treated people who are compared."""
    return None if lift.get(part) is None else float(lift[part] * lift["people_treatment"])


def _answers(campaign_keys: list[str], people: pa.Table) -> Iterator[dict[str, float | None]]:
    """What people answered to exposures, by campaign; what is not known is None.

    Args:
        campaign_keys: The campaigns, in the order of the rows that come back.
        people: Rows of `_BY_PERSON`.
    """
    place = {key: number for number, key in enumerate(campaign_keys)}
    campaign = np.array([place[key] for key in people["campaign_key"].to_pylist()], dtype=np.int64)
    exposures, told = numbers(people, "exposures"), numbers(people, "satisfaction_answers")
    found = {
        name: share_of_rows(pair_moments(numbers(people, answer), exposures, campaign, len(place)))
        for name, answer in (("click_rate", "clicks"), ("conversion_rate", "conversions"))
    }
    who = told > 0
    satisfaction = pair_moments(numbers(people, "satisfaction")[who], told[who], campaign[who], len(place))
    found["satisfaction"] = mean_of_rows(satisfaction)
    columns = {
        name + end: pa.array(getattr(interval, part), from_pandas=True)
        for name, interval in found.items()
        for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    columns["satisfaction_answers"] = pa.array(np.bincount(campaign, told, len(place)), pa.int64())
    yield from pa.table(columns).to_pylist()


def _reach(cells: pa.Table) -> pa.Table:
    """Rows of `_REACH` with the share that was clicked, by people."""
    people, clicks, exposures, *products = (
        whole_numbers(cells, name)
        for name in ("people", "clicks", "exposures", "clicks_squared", "exposures_squared", "clicks_by_exposures")
    )
    rate = share_of_rows(pair_moments_of_sums(people, clicks, exposures, *products))
    for end, part in (("", "value"), ("_low", "low"), ("_high", "high")):
        cells = cells.append_column(f"click_rate{end}", pa.array(getattr(rate, part), from_pandas=True))
    return cells.select(_REACH_SCHEMA.names).cast(_REACH_SCHEMA)


def _return_on_cost(row: dict[str, Any]) -> float | None:
    """What was caused is worth, by the brief's value of a conversion, else by revenue, over what it cost."""
    if not row["cost"]:
        return None
    if row["value_per_conversion"] is not None and row["incremental_conversions"] is not None:
        return float(row["incremental_conversions"] * row["value_per_conversion"] / row["cost"])
    return None if row["incremental_revenue"] is None else float(row["incremental_revenue"] / row["cost"])


def _sample_ratio(row: dict[str, Any]) -> dict[str, Any]:
    """Whether the arms of known lots have their planned sizes; nothing where one is empty, which the verdict says by itself."""
    planned = row["planned_control_share"]
    if not row["lots_control"] or not row["lots_treatment"] or not 0 < planned < 1:
        return {"sample_ratio_p_value": None, "sample_ratio_alarm": False}
    found = sample_ratio([row["lots_control"], row["lots_treatment"]], [planned, 1 - planned])
    return {"sample_ratio_p_value": float(found.p_value[0]), "sample_ratio_alarm": bool(found.alarm[0])}


def _detectable(row: dict[str, Any], conversion: dict[str, Any]) -> float | None:
    """Smallest lift of conversion that these arms would have shown in 8 of 10 cases."""
    held_out, people = row["compared_control"], row["compared_control"] + row["compared_treatment"]
    if not conversion or not 0 < held_out < people:
        return None
    # One half more, so that a holdout in which nobody converted does not pass for a rate of zero.
    base = (conversion["control"] * held_out + 0.5) / (held_out + 1)
    return detectable_difference_of_shares(base, people, held_out / people).difference


def _day(days: pa.Table, known: Outcomes) -> pa.Table:
    """Days with the lift up to each, as it could have been looked at that evening."""

    def number(column: pa.ChunkedArray) -> NDArray[np.int64]:
        dates = column.cast(pa.date32()).cast(pa.int32()).fill_null(np.iinfo(np.int32).max)
        return np.asarray(dates.to_numpy(), dtype=np.int64)

    campaigns = campaign_of_subjects(known)
    treated = flags(known.subjects, "is_treated")
    started, converted = number(known.subjects["started_on"]), number(known.outcomes["converted_on"])
    recorded = flags(known.outcomes, "is_conversion_recorded") & flags(known.subjects, "is_compared")
    place = {key: number for number, key in enumerate(known.campaigns["campaign_key"].to_pylist())}
    at = number(days["date"])
    of = np.array([place[key] for key in days["campaign_key"].to_pylist()], dtype=np.int64)
    counted = np.zeros((4, days.num_rows), dtype=np.int64)
    for campaign in np.unique(of):
        looks = of == campaign
        for arm, is_treated in enumerate((False, True)):
            who = recorded & (campaigns == campaign) & (treated == is_treated)
            for offset, when in ((0, np.maximum(started[who], converted[who])), (1, started[who])):
                counted[2 * arm + offset, looks] = np.searchsorted(np.sort(when), at[looks], side="right")
    lift = sequence_of_shares_to_date((counted[0], counted[1], counted[2], counted[3]))
    for name, values in (
        ("lift_to_date", lift.difference),
        ("lift_to_date_low", lift.low),
        ("lift_to_date_high", lift.high),
    ):
        days = days.append_column(name, pa.array(values, pa.float64(), from_pandas=True))
    return days.select(_DAY_SCHEMA.names).cast(_DAY_SCHEMA)


def _rate(cells: pa.Table) -> pa.Table:
    """Posterior rates of every cell and answer."""
    exposures = whole_numbers(cells, "exposures")
    kinds = cells["kind"].to_pylist()
    segments = cells["segment_key"].to_pylist()
    everyone = np.array([segment == EVERYONE for segment in segments])
    kind = np.array([KINDS.index(one) for one in kinds])
    rows = []
    for answer, assumed in PRIOR_RATES.items():
        answers = whole_numbers(cells, answer)
        given = BetaPrior(assumed * PRIOR_STRENGTH, (1 - assumed) * PRIOR_STRENGTH)
        found = measured_rates(answers, exposures, kind, everyone, len(KINDS), given)
        rows.append(
            pa.table(
                {
                    "kind": kinds,
                    "segment_key": segments,
                    "answer": [answer] * len(kinds),
                    "exposures": exposures,
                    "answers": answers,
                    "rate": found.rate.mean,
                    "ci_low": found.rate.low,
                    "ci_high": found.rate.high,
                    "prior_mean": found.prior_mean,
                    "prior_strength": found.prior_strength,
                    "is_prior_only": exposures == 0,
                }
            )
        )
    return pa.concat_tables(rows).select(_RATE_SCHEMA.names).cast(_RATE_SCHEMA)

"""Who was in which campaign, and what they did after: the rows that measurement works on.

Holds the SQL that turns contacts, exposures, responses and facts into subjects, conversions and outcomes, all up to as_of. What
follows from them is in `measuring`.

A **subject** is a person in a campaign, from their first contact on: a contact of the ledger or a delivered exposure, of either
arm. A **conversion** is a purchase of one of the campaign's items (of anything on its target platform if it
names none) that was not refunded, or a `conversion` response with no such purchase within a day of it.
"""

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestration.marketing.campaign_briefs import CHALLENGE_EVENTS
from orchestration.resources.warehouse import registered
from orchestration.sql import exact_sum

# How long after the first contact what a person does counts, alike in both arms.
FOLLOW_UP_DAYS = 30
# After so many days most answers have come; a contact of less would count as unanswered.
MOSTLY_ANSWERED_DAYS = 7
# How long before it revenue is known that makes the comparison sharper (CUPED).
LOOK_BACK_DAYS = 14
# A response within this time of a purchase tells of the purchase.
_SAME_CONVERSION = "interval 1 day"


def was_member(moment: str) -> str:
    """SQL of whether a row of known_membership, `memberships`, is a stay that is known to have held at a moment.

    Who is in the segment today is no matter: whoever bought has left the segment of those who might, and among its members of
    today hardly anybody ever converts. Of interest, potential and taste a stay is known from the first run that saw it on.

    Args:
        moment: SQL of the moment.
    """
    return f"""(
    memberships.entered_at <= {moment}
    and (memberships.exited_at is null or memberships.exited_at > {moment})
)"""


#: A query for what is known of the lots of campaigns whose held-out people others delivered: campaign_key, propensity (of
#: treatment; NULL if no one lot is known) and is_told (whether any was delivered). The propensity of a treated exposure is that of
#: its item too. So a lot is only known where all of a campaign's controls were delivered with the same one.
LOTS = """
    select
        exposures.campaign_key,
        case
            when
                count(*) = count(exposures.propensity)
                and max(exposures.propensity) - min(exposures.propensity) < 1e-9
                and min(exposures.propensity) > 0
                and max(exposures.propensity) < 1
                then 1 - max(exposures.propensity)
        end as propensity,
        count(exposures.propensity) > 0 as is_told
    from core.fct_exposure as exposures
    cross join raw.run as runs
    where
        exposures.arm = 'control'
        and exposures.shown_at <= runs.as_of
        and exposures.exposure_key not in (select md5(contact_key) from marketing.past_contact)
    group by exposures.campaign_key
"""

_CAMPAIGNS = """
with runs as (
    select as_of from raw.run
),

-- Delivered rows of held-out people say that the channel follows both arms, so that its responses can be compared.
followed as (
    select distinct exposures.campaign_key
    from core.fct_exposure as exposures
    cross join runs
    where exposures.arm = 'control' and exposures.shown_at <= runs.as_of
),

selling as (
    select distinct purchases.domain
    from core.fct_purchase as purchases
),

steps as (
    select campaign_key, source_platform as domain, unnest(source_item_ids) as item_id, 1 as step from core.dim_campaign
    where kind = 'interactive'
    union all
    select campaign_key, target_platform, unnest(item_ids), 2 from core.dim_campaign
    where kind = 'interactive'
),

-- A step of which no item is in the catalogue can be done by nobody. One item is enough; what was done with the others counts
-- too, as they may have been there at the time.
challenges as (
    select steps.campaign_key
    from steps
    inner join core.dim_item as items on steps.domain = items.domain and steps.item_id = items.item_id
    where not items.is_inferred
    group by steps.campaign_key
    having count(distinct steps.step) = 2
)

select
    campaigns.campaign_key,
    campaigns.name,
    campaigns.kind,
    campaigns.channel,
    campaigns.source_platform,
    campaigns.target_platform,
    campaigns.currency,
    list_transform(campaigns.item_ids, lambda item_id: campaigns.target_platform || ':' || item_id) as item_keys,
    list_transform(
        campaigns.source_item_ids, lambda item_id: campaigns.source_platform || ':' || item_id
    ) as source_item_keys,
    challenges.campaign_key is not null as is_challenge,
    cast(campaigns.budget as double) as budget,
    coalesce(cast(campaigns.cost_per_exposure as double), 0) as cost_per_exposure,
    cast(campaigns.value_per_conversion as double) as value_per_conversion,
    campaigns.holdout_share,
    campaigns.starts_at,
    campaigns.ends_at,
    followed.campaign_key is not null as is_control_followed,
    selling.domain is not null as is_purchase_recorded
from core.dim_campaign as campaigns
left join followed on campaigns.campaign_key = followed.campaign_key
left join selling on campaigns.target_platform = selling.domain
left join challenges on campaigns.campaign_key = challenges.campaign_key
order by campaigns.campaign_key
"""

# Who is not known any more is no subject.
_SUBJECTS = f"""
-- What this very run has handed over begins at as_of at the earliest; it is not measured by the run, made again or not.
with runs as (
    select as_of, time_zone from raw.run
),

lots as ({LOTS}),

-- Of the lot that fell on them then; limits and briefs of today may hold out another share.
draws as (
    select md5(contact_key) as exposure_key, any_value(propensity) as propensity
    from marketing.past_contact
    group by contact_key
),

contacts as (
    select
        contacts.campaign_key,
        contacts.user_key,
        contacts.arm,
        contacts.channel,
        contacts.not_before as started_at,
        contacts.segment_keys,
        contacts.propensity,
        true as is_promised
    from marketing.past_contact as contacts
    cross join runs
    where contacts.not_before <= runs.as_of and contacts.decided_at < runs.as_of
    union all
    select
        exposures.campaign_key,
        exposures.user_key,
        exposures.arm,
        exposures.channel,
        exposures.shown_at,
        null,
        draws.propensity,
        false
    from core.fct_exposure as exposures
    cross join runs
    left join draws on exposures.exposure_key = draws.exposure_key
    where exposures.shown_at <= runs.as_of
),

arms as (
    select
        campaign_key,
        user_key,
        count(distinct arm) > 1 as is_in_both_arms
    from contacts
    group by all
),

started as (
    select contacts.*
    from contacts
    inner join core.dim_user as users on contacts.user_key = users.user_key
    inner join core.dim_campaign as campaigns on contacts.campaign_key = campaigns.campaign_key
    qualify
        row_number() over (
            partition by contacts.campaign_key, contacts.user_key
            order by contacts.started_at, contacts.is_promised desc, contacts.arm, contacts.channel
        ) = 1
),

-- Contacts of the ledger have their segments with them.
members as (
    select
        started.campaign_key,
        started.user_key,
        list(memberships.segment_key order by memberships.segment_key) as segment_keys
    from started
    inner join marketing.known_membership as memberships on started.user_key = memberships.user_key
    where {{was_member}}
    group by all
)

select
    row_number() over (order by started.campaign_key, started.user_key) - 1 as subject,
    started.campaign_key,
    started.user_key,
    started.arm = 'treatment' as is_treated,
    coalesce(started.channel, campaigns.channel) as channel,
    started.started_at,
    cast(timezone(runs.time_zone, timezone('UTC', started.started_at)) as date) as started_on,
    least(runs.as_of, started.started_at + interval {{follow_up}} day) as followed_until,
    started.started_at + interval {{follow_up}} day <= runs.as_of as is_followed_through,
    coalesce(started.segment_keys, members.segment_keys, cast([] as varchar[])) as segment_keys,
    started.is_promised,
    -- Where others held out without a word of how many, as many as the brief says.
    coalesce(started.propensity, lots.propensity, if(not lots.is_told, 1 - campaigns.holdout_share, null)) as propensity,
    started.propensity is not null or lots.campaign_key is not null as is_drawn,
    -- An arm that nobody drew is no experiment. A campaign of nothing else has its people here, for it to be said that it is none.
    is_drawn or not bool_or(is_drawn) over (partition by started.campaign_key) as is_compared,
    arms.is_in_both_arms
from started
inner join arms on started.campaign_key = arms.campaign_key and started.user_key = arms.user_key
inner join core.dim_campaign as campaigns on started.campaign_key = campaigns.campaign_key
left join members on started.campaign_key = members.campaign_key and started.user_key = members.user_key
left join lots on started.campaign_key = lots.campaign_key
cross join runs
order by subject
"""

_CONVERSIONS = f"""
with runs as (
    select as_of from raw.run
),

purchases as (
    select
        subjects.campaign_key,
        subjects.user_key,
        purchases.event_key as conversion_key,
        purchases.item_key,
        purchases.occurred_at as converted_at,
        if(purchases.refunded_at > runs.as_of, purchases.gross_amount, purchases.amount) as amount,
        purchases.currency,
        purchases.is_refunded and coalesce(purchases.refunded_at <= runs.as_of, true) as is_refunded
    from subject as subjects
    inner join campaign as campaigns on subjects.campaign_key = campaigns.campaign_key
    inner join core.fct_purchase as purchases
        on subjects.user_key = purchases.user_key and campaigns.target_platform = purchases.domain
    cross join runs
    where
        purchases.occurred_at <= runs.as_of
        and (coalesce(len(campaigns.item_keys), 0) = 0 or list_contains(campaigns.item_keys, purchases.item_key))
),

responses as (
    select
        responses.campaign_key,
        responses.user_key,
        responses.response_key as conversion_key,
        exposures.item_key,
        responses.occurred_at as converted_at,
        responses.amount,
        campaigns.currency
    from core.fct_response as responses
    inner join core.fct_exposure as exposures on responses.exposure_key = exposures.exposure_key
    inner join campaign as campaigns on responses.campaign_key = campaigns.campaign_key
    cross join runs
    where responses.response_type = 'conversion' and responses.occurred_at <= runs.as_of
),

told as (
    select distinct responses.conversion_key
    from responses
    inner join purchases
        on
            responses.campaign_key = purchases.campaign_key
            and responses.user_key = purchases.user_key
            and purchases.converted_at
            between responses.converted_at - {_SAME_CONVERSION} and responses.converted_at + {_SAME_CONVERSION}
)

select
    campaign_key,
    user_key,
    conversion_key,
    item_key,
    converted_at,
    cast(amount as double) as amount,
    currency,
    false as is_response
from purchases
where not is_refunded
union all
select
    responses.campaign_key,
    responses.user_key,
    responses.conversion_key,
    responses.item_key,
    responses.converted_at,
    cast(responses.amount as double),
    responses.currency,
    true
from responses
anti join told on responses.conversion_key = told.conversion_key
order by campaign_key, user_key, converted_at, conversion_key
"""

_REVENUE = exact_sum("conversions.amount", "conversions.currency = subjects.currency")

_OUTCOMES = """
with runs as (
    select as_of, time_zone from raw.run
),

subjects as (
    select
        subjects.*,
        campaigns.source_platform,
        campaigns.target_platform,
        campaigns.currency,
        campaigns.is_purchase_recorded,
        campaigns.is_challenge,
        -- Nothing is delivered of a held-out contact of the ledger, so that no response can tell of one.
        campaigns.is_control_followed and not subjects.is_promised as is_response_comparable
    from subject as subjects
    inner join campaign as campaigns on subjects.campaign_key = campaigns.campaign_key
),

converted as (
    select
        subjects.subject,
        min(conversions.converted_at) as converted_at,
        {revenue} as revenue
    from subjects
    inner join conversion as conversions
        on subjects.campaign_key = conversions.campaign_key and subjects.user_key = conversions.user_key
    where
        conversions.converted_at > subjects.started_at
        and conversions.converted_at <= subjects.followed_until
        and (subjects.is_response_comparable or not conversions.is_response)
    group by all
),

spent as (
    select
        subjects.subject,
        sum(purchases.gross_amount) as revenue_before
    from subjects
    inner join core.fct_purchase as purchases
        on subjects.user_key = purchases.user_key and subjects.currency = purchases.currency
    where
        purchases.occurred_at < subjects.started_at
        and purchases.occurred_at >= subjects.started_at - interval {look_back} day
    group by all
),

acted as (
    select
        subjects.subject,
        min(interactions.occurred_at) as returned_at,
        min(interactions.occurred_at) filter (
            where interactions.event_type = 'complete' and interactions.domain = subjects.target_platform
        ) as completed_at
    from subjects
    inner join core.fct_interaction as interactions on subjects.user_key = interactions.user_key
    where
        interactions.event_type != 'impression'
        and interactions.occurred_at > subjects.started_at
        and interactions.occurred_at <= subjects.followed_until
    group by all
),

done as (
    select
        subjects.subject,
        list_contains(campaigns.source_item_keys, interactions.item_key) as is_first_step,
        interactions.occurred_at
    from subjects
    inner join campaign as campaigns on subjects.campaign_key = campaigns.campaign_key and campaigns.is_challenge
    inner join core.fct_interaction as interactions
        on
            subjects.user_key = interactions.user_key
            and list_contains(campaigns.source_item_keys || campaigns.item_keys, interactions.item_key)
    where
        interactions.event_type in {challenge_events}
        and interactions.occurred_at > subjects.started_at
        and interactions.occurred_at <= subjects.followed_until
),

begun as (
    select subject, min(occurred_at) as occurred_at from done
    where is_first_step
    group by all
),

challenged as (
    select
        done.subject,
        min(done.occurred_at) as completed_at
    from done
    inner join begun on done.subject = begun.subject
    where not done.is_first_step and done.occurred_at > begun.occurred_at
    group by all
),

refunded as (
    select
        subjects.subject,
        min(purchases.refunded_at) as refunded_at
    from subjects
    inner join core.fct_purchase as purchases
        on subjects.user_key = purchases.user_key and subjects.target_platform = purchases.domain
    where
        purchases.occurred_at > subjects.started_at
        and purchases.refunded_at <= subjects.followed_until
    group by all
),

unsubscribed as (
    select
        subjects.subject,
        min(responses.occurred_at) as unsubscribed_at
    from subjects
    inner join core.fct_response as responses on subjects.user_key = responses.user_key
    where
        responses.response_type = 'unsubscribe'
        and responses.occurred_at > subjects.started_at
        and responses.occurred_at <= subjects.followed_until
    group by all
),

rated as (
    select
        subjects.subject,
        avg(ratings.rating) as rating
    from subjects
    inner join core.fct_rating as ratings
        on subjects.user_key = ratings.user_key and subjects.target_platform = ratings.domain
    where ratings.rated_at > subjects.started_at and ratings.rated_at <= subjects.followed_until
    group by all
),

-- A kind of event that a platform never delivers is not measured, which is not the same as none.
recording as (
    select domain, bool_or(event_type = 'complete') as has_completions from core.fct_interaction
    where event_type in {challenge_events}
    group by domain
),

answered as (
    select distinct responses.campaign_key from core.fct_response as responses
    cross join runs
    where responses.occurred_at <= runs.as_of
),

reached as (
    select distinct
        exposures.campaign_key,
        exposures.user_key
    from core.fct_exposure as exposures
    cross join runs
    where exposures.arm = 'treatment' and exposures.shown_at <= runs.as_of
)

select
    subjects.subject,
    converted.converted_at,
    cast(timezone(runs.time_zone, timezone('UTC', converted.converted_at)) as date) as converted_on,
    cast(coalesce(converted.revenue, 0) as double) as revenue,
    cast(coalesce(spent.revenue_before, 0) as double) as revenue_before,
    (epoch_us(acted.returned_at) - epoch_us(subjects.started_at)) / 86400e6 as returned_after,
    (epoch_us(acted.completed_at) - epoch_us(subjects.started_at)) / 86400e6 as completed_after,
    (epoch_us(challenged.completed_at) - epoch_us(subjects.started_at)) / 86400e6 as challenge_after,
    (epoch_us(refunded.refunded_at) - epoch_us(subjects.started_at)) / 86400e6 as refunded_after,
    (epoch_us(unsubscribed.unsubscribed_at) - epoch_us(subjects.started_at)) / 86400e6 as unsubscribed_after,
    cast(rated.rating as double) as rating,
    (epoch_us(runs.as_of) - epoch_us(subjects.started_at)) / 86400e6 as followed_days,
    coalesce(recording.has_completions, false) as is_completion_recorded,
    subjects.is_challenge and recording.domain is not null and recording_there.domain is not null as is_challenge_recorded,
    answered.campaign_key is not null as is_answer_recorded,
    subjects.is_purchase_recorded,
    subjects.is_purchase_recorded or subjects.is_response_comparable as is_conversion_recorded,
    reached.user_key is not null as is_reached
from subjects
cross join runs
left join converted on subjects.subject = converted.subject
left join spent on subjects.subject = spent.subject
left join acted on subjects.subject = acted.subject
left join challenged on subjects.subject = challenged.subject
left join refunded on subjects.subject = refunded.subject
left join unsubscribed on subjects.subject = unsubscribed.subject
left join rated on subjects.subject = rated.subject
left join recording on subjects.target_platform = recording.domain
left join recording as recording_there on subjects.source_platform = recording_there.domain
left join answered on subjects.campaign_key = answered.campaign_key
left join reached
    on subjects.campaign_key = reached.campaign_key and subjects.user_key = reached.user_key
order by subjects.subject
"""


@dataclass(frozen=True)
class Outcomes:
    """What is known of campaigns up to as_of, as Arrow tables.

    Attributes:
        campaigns: One row per campaign, with what its brief says.
        subjects: One row per person and campaign, numbered from 0 by `subject`.
        conversions: One row per campaign and conversion of one of its subjects, at any time up to as_of.
        outcomes: One row per subject in their order: what they did within the follow-up.
    """

    campaigns: pa.Table
    subjects: pa.Table
    conversions: pa.Table
    outcomes: pa.Table


def read_outcomes(connection: duckdb.DuckDBPyConnection) -> Outcomes:
    """Reads campaigns, their subjects and what became of them.

    Args:
        connection: To the build file; nothing is written.
    """
    days = {"follow_up": FOLLOW_UP_DAYS, "look_back": LOOK_BACK_DAYS}
    campaigns = connection.execute(_CAMPAIGNS).to_arrow_table()
    subjects = connection.execute(
        _SUBJECTS.format(was_member=was_member("started.started_at"), **days)
    ).to_arrow_table()
    with registered(connection, campaign=campaigns, subject=subjects):
        conversions = connection.execute(_CONVERSIONS).to_arrow_table()
        with registered(connection, conversion=conversions):
            outcomes = connection.execute(
                _OUTCOMES.format(revenue=_REVENUE, challenge_events=CHALLENGE_EVENTS, **days)
            ).to_arrow_table()
    return Outcomes(campaigns, subjects, conversions, outcomes)


def campaign_of_subjects(known: Outcomes) -> NDArray[np.int64]:
    """Place of each subject's campaign among the campaigns, shape (subjects,)."""
    place = {key: number for number, key in enumerate(known.campaigns["campaign_key"].to_pylist())}
    return np.array([place[key] for key in known.subjects["campaign_key"].to_pylist()], dtype=np.int64)


def numbers(table: pa.Table, column: str) -> NDArray[np.float64]:
    """A column as floating point numbers; what is null is NaN."""
    return np.asarray(table[column].to_numpy(), dtype=np.float64)


def whole_numbers(table: pa.Table, column: str) -> NDArray[np.int64]:
    """A column without nulls as whole numbers; times as microseconds since 1970."""
    values = table[column]
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us")).cast(pa.int64())
    return np.asarray(values.to_numpy(), dtype=np.int64)


def flags(table: pa.Table, column: str) -> NDArray[np.bool_]:
    """A column without nulls as booleans."""
    return np.asarray(table[column].to_numpy(), dtype=bool)

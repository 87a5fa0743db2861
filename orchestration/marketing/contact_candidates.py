"""Who could be contacted by which campaign, about which item, and what happened before: the facts that a plan starts from.

Holds the SQL that turns the warehouse into arrays of numbers; keys of people and items stay in DuckDB. Which of the reasons against
a contact counts is in `models_ml.campaigns.eligibility`, what a contact is worth in `valuation`, who is chosen in `planning`.

A **pair** is a person and a campaign; people are numbered in the order of their keys. Everything is as of `raw.run.as_of`. Memory
in Python: about 20 bytes a pair here; DuckDB's own is bounded by its limit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models_ml.campaigns.allocation_problem import NO_ITEM
from models_ml.campaigns.eligibility import eligibility_codes
from models_ml.campaigns.valuation import KINDS, ContactFeatures, ContactHistory, RatePriors
from orchestration.marketing.answers import ANSWERS, PERMISSION
from orchestration.marketing.campaign_briefs import NO_CHANNEL, Brief
from orchestration.marketing.outcomes import FOLLOW_UP_DAYS, LOTS, MOSTLY_ANSWERED_DAYS
from orchestration.resources.warehouse import registered
from orchestration.sql import exact_sum, has_relation

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Days in which earlier contacts tire, and in which activity is counted.
RECENT_DAYS, ACTIVE_DAYS = 14, 90
# Contacts of more than this many days ago say little of today's people, and are many; so do dismissals of them.
HISTORY_DAYS = 365
# Segments by which answers differ; each person is in one of them.
SEGMENTS = "lifecycle:joined:"

_TABLES = ("plan_person", "plan_access", "plan_earlier", "plan_owned", "plan_pair")

_PERSON = """
create or replace temp table plan_person as
select
    cast(row_number() over (order by user_key) - 1 as bigint) as person,
    user_key,
    may_be_personalised
from core.dim_user
"""

# A person may be contacted if one account of the platform may; what the others say is already in the permission of that one.
_ACCESS = f"""
create or replace temp table plan_access as
select
    people.person,
    accounts.platform,
    bool_or(accounts.is_contactable) as is_contactable,
    coalesce(bool_or(accounts.reason = 'erased'), false) as is_erased,
    coalesce(bool_or(accounts.reason = 'unsubscribed'), false) as is_unsubscribed,
    arg_min(accounts.time_zone, (not accounts.is_contactable, accounts.account_key)) as time_zone
from ({PERMISSION}) as accounts
inner join plan_person as people on accounts.user_key = people.user_key
group by all
"""

# What earlier plans handed over, under the keys that exposures of it have. The delivery of a contact to its person is that same
# contact; after accounts were parted, it may be somebody else who was shown it, and who then has had a contact too.
_PROMISED = """
promised as (
    select contacts.*, md5(contacts.contact_key) as exposure_key
    from marketing.past_contact as contacts
    cross join raw.run as runs
    where contacts.plan_id != $plan_id and contacts.decided_at <= runs.as_of
),

delivered as (
    select exposures.*
    from core.fct_exposure as exposures
    cross join raw.run as runs
    anti join promised on exposures.exposure_key = promised.exposure_key and exposures.user_key = promised.user_key
    where exposures.shown_at <= runs.as_of
)
"""

# Contacts handed over before, and those that others delivered. What was shown to another person than it was handed over for is had
# by both, but spent once.
_EARLIER = f"""
create or replace temp table plan_earlier as
with {_PROMISED}

select
    people.person,
    promised.campaign_key,
    promised.channel,
    promised.item_key,
    promised.contact_date,
    promised.not_before,
    promised.arm = 'treatment' as is_spent,
    coalesce(promised.cost, 0) as cost
from promised
left join plan_person as people on promised.user_key = people.user_key
union all
select
    people.person,
    delivered.campaign_key,
    coalesce(delivered.channel, campaigns.channel, $no_channel),
    delivered.item_key,
    cast(timezone(coalesce(access.time_zone, runs.time_zone), timezone('UTC', delivered.shown_at)) as date),
    delivered.shown_at,
    delivered.exposure_key not in (select exposure_key from promised),
    coalesce(cast(campaigns.cost_per_exposure as double), 0)
from delivered
inner join plan_person as people on delivered.user_key = people.user_key
inner join core.dim_campaign as campaigns on delivered.campaign_key = campaigns.campaign_key
left join plan_access as access on people.person = access.person and delivered.platform = access.platform
cross join raw.run as runs
where delivered.arm = 'treatment'
"""

# Had to do with an item in a way that makes advertising it to the person pointless.
_OWNED = """
create or replace temp table plan_owned as
select distinct items.slot, items.item, people.person
from core.fct_interaction as interactions
inner join plan_item as items on interactions.item_key = items.item_key
inner join plan_person as people on interactions.user_key = people.user_key
cross join raw.run as runs
where
    interactions.event_type in ('purchase', 'progress', 'complete', 'rating')
    and interactions.occurred_at <= runs.as_of
"""

# Besides the people of a campaign's segment those whom it contacted before and who have left it.
_PAIR = f"""
create or replace temp table plan_pair as
with runs as (
    select as_of from raw.run
),

members as (
    select campaigns.slot, people.person
    from plan_campaign as campaigns
    inner join marketing.known_membership as memberships
        on campaigns.segment_key = memberships.segment_key and memberships.is_current
    inner join plan_person as people on memberships.user_key = people.user_key
    union
    select campaigns.slot, access.person
    from plan_campaign as campaigns
    inner join plan_access as access on campaigns.source_platform = access.platform
    where campaigns.segment_key is null
),

contacted as (
    select campaigns.slot, earlier.person, min(earlier.not_before) as first_at
    from plan_earlier as earlier
    inner join plan_campaign as campaigns on earlier.campaign_key = campaigns.campaign_key
    where earlier.person is not null
    group by all
),

erased as (
    select distinct person from plan_access where is_erased
),

answers as (
    select
        campaigns.slot,
        people.person,
        bool_or(responses.response_type = 'conversion') as is_conversion,
        bool_or(responses.response_type = 'dismiss') as is_dismissal
    from ({ANSWERS}) as responses
    inner join plan_campaign as campaigns on responses.campaign_key = campaigns.campaign_key
    inner join plan_person as people on responses.user_key = people.user_key
    where responses.response_type in ('conversion', 'dismiss')
    group by all
),

-- Of a campaign without items whatever was bought on its target platform since its first contact.
bought as (
    select items.slot, people.person
    from core.fct_purchase as purchases
    inner join plan_item as items on purchases.item_key = items.item_key
    inner join plan_person as people on purchases.user_key = people.user_key
    cross join runs
    where purchases.occurred_at <= runs.as_of
    union
    select contacted.slot, contacted.person
    from contacted
    inner join plan_campaign as campaigns on contacted.slot = campaigns.slot and not campaigns.has_items
    inner join plan_person as people on contacted.person = people.person
    inner join core.fct_purchase as purchases
        on people.user_key = purchases.user_key and campaigns.target_platform = purchases.domain
    cross join runs
    where purchases.occurred_at > contacted.first_at and purchases.occurred_at <= runs.as_of
),

on_offer as (
    select slot, count(*) as items from plan_item
    where is_available
    group by all
),

had as (
    select owned.slot, owned.person, count(*) as items
    from plan_owned as owned
    inner join plan_item as items on owned.slot = items.slot and owned.item = items.item
    where items.is_available
    group by all
),

pairs as (
    select coalesce(members.slot, contacted.slot) as slot, coalesce(members.person, contacted.person) as person,
        members.person is null as outside_segment
    from members
    full join contacted on members.slot = contacted.slot and members.person = contacted.person
)

select
    pairs.slot,
    pairs.person,
    erased.person is not null as erased,
    access.person is not null and not access.is_contactable and not access.is_unsubscribed as no_consent,
    coalesce(access.is_unsubscribed and not access.is_contactable, false) as unsubscribed,
    access.person is null as no_account,
    pairs.outside_segment,
    bought.person is not null or coalesce(answers.is_conversion, false) as already_converted,
    coalesce(answers.is_dismissal, false) as dismissed,
    campaigns.has_items and coalesce(on_offer.items, 0) <= coalesce(had.items, 0) as item_not_available,
    not campaigns.has_days as campaign_not_active
from pairs
inner join plan_campaign as campaigns on pairs.slot = campaigns.slot
left join plan_access as access on pairs.person = access.person and campaigns.source_platform = access.platform
left join erased on pairs.person = erased.person
left join answers on pairs.slot = answers.slot and pairs.person = answers.person
left join bought on pairs.slot = bought.slot and pairs.person = bought.person
left join on_offer on pairs.slot = on_offer.slot
left join had on pairs.slot = had.slot and pairs.person = had.person
"""

# The person's best items by score; where lists name too few of a campaign's, its most popular ones that the person does not have.
# The list of who may not be profiled says nothing of them, so that nobody of them is chosen by a score.
_OFFER = """
with offered as (
    select campaigns.slot, items.item, earlier.person, count(*) as times
    from plan_earlier as earlier
    inner join plan_campaign as campaigns on earlier.campaign_key = campaigns.campaign_key
    inner join plan_item as items on campaigns.slot = items.slot and earlier.item_key = items.item_key
    where earlier.person is not null
    group by all
),

-- Materialized, because the planner would rather pair every candidate with every item before it looks at the lists.
scored as materialized (
    select items.slot, items.item, people.person, scored.score
    from recommendations.scored_user_item as scored
    inner join plan_item as items on scored.item_key = items.item_key and items.is_available
    inner join plan_person as people on scored.user_key = people.user_key
    where people.may_be_personalised
),

listed as (
    select
        candidates.pair,
        candidates.slot,
        candidates.person,
        scored.item,
        scored.score,
        coalesce(offered.times, 0) as times
    from scored
    inner join plan_candidate as candidates on scored.slot = candidates.slot and scored.person = candidates.person
    left join offered
        on scored.slot = offered.slot and scored.item = offered.item and scored.person = offered.person
    anti join plan_owned as owned
        on scored.slot = owned.slot and scored.item = owned.item and scored.person = owned.person
    qualify row_number() over (partition by candidates.pair order by times, scored.score desc, scored.item) <= $most
),

named as (
    select pair, count(*) filter (where times = 0) as items from listed
    group by pair
),

popular as (
    select items.slot, items.item, row_number() over (
        partition by items.slot order by count(distinct interactions.user_key) desc, items.item
    ) as place
    from plan_item as items
    cross join raw.run as runs
    left join (
        select interactions.*
        from core.fct_interaction as interactions
        semi join (select user_key from plan_person where may_be_personalised) as people
            on interactions.user_key = people.user_key
    ) as interactions
        on items.item_key = interactions.item_key and interactions.occurred_at <= runs.as_of
    where items.is_available
    group by items.slot, items.item
),

-- Hardly anybody has had or been offered one of a campaign's items: only for those are all of its items looked at.
filled as (
    select candidates.pair, candidates.slot, candidates.person, popular.item, popular.place
    from plan_candidate as candidates
    left join named on candidates.pair = named.pair
    left join (select slot, person from plan_owned union select slot, person from offered) as owners
        on candidates.slot = owners.slot and candidates.person = owners.person
    inner join popular
        on candidates.slot = popular.slot and (popular.place <= $most or owners.person is not null)
    where coalesce(named.items, 0) < $most
),

more as (
    select filled.pair, filled.item, null as score, filled.place, coalesce(offered.times, 0) as times
    from filled
    left join offered
        on filled.slot = offered.slot and filled.item = offered.item and filled.person = offered.person
    anti join plan_owned as owned
        on filled.slot = owned.slot and filled.item = owned.item and filled.person = owned.person
    anti join listed on filled.pair = listed.pair and filled.item = listed.item
),

offers as (
    select pair, item, score, 0 as place, times from listed
    union all
    select pair, item, score, place, times from more
    qualify row_number() over (partition by pair order by times, place, item) <= $most
)

select pair, cast(item as bigint) as item, cast(score as double) as score from offers
qualify row_number() over (partition by pair order by times, place, score desc, item) <= $most
order by pair, times, place, score desc, item
"""

_SETTLED = f"""
with {_PROMISED},

lots as ({LOTS}),

-- Whoever was shown what was handed over for another is in the arm that was drawn for that one.
draws as (
    select exposure_key, any_value(propensity) as propensity from promised
    group by exposure_key
),

first_contacts as (
    select campaign_key, user_key, arm, propensity, not_before as started_at, 0 as source
    from promised
    union all
    select delivered.campaign_key, delivered.user_key, delivered.arm,
        if(draws.exposure_key is null, lots.propensity, draws.propensity), delivered.shown_at, 1
    from delivered
    left join lots on delivered.campaign_key = lots.campaign_key
    left join draws on delivered.exposure_key = draws.exposure_key
)

select
    campaigns.slot,
    people.person,
    arg_min(first_contacts.arm, (first_contacts.started_at, first_contacts.source, first_contacts.arm)) = 'treatment'
        as is_treated,
    arg_min_null(first_contacts.propensity, (first_contacts.started_at, first_contacts.source, first_contacts.arm))
        as propensity
from first_contacts
inner join plan_campaign as campaigns on first_contacts.campaign_key = campaigns.campaign_key
inner join plan_person as people on first_contacts.user_key = people.user_key
group by all
order by campaigns.slot, people.person
"""

_CHOSEN = """
select people.person, bool_or(contacts.arm = 'treatment') as is_treated
from marketing.past_contact as contacts
cross join raw.run as runs
left join plan_person as people on contacts.user_key = people.user_key
where
    contacts.plan_id != $plan_id
    and contacts.decided_at <= runs.as_of
    and contacts.contact_date >= $since
    and list_contains(contacts.segment_keys, $key)
group by contacts.user_key, people.person
"""

_MEMBERS = """
select people.person, list_position($keys::varchar[], memberships.segment_key) - 1 as segment
from marketing.known_membership as memberships
inner join plan_person as people on memberships.user_key = people.user_key
where memberships.is_current and list_contains($keys::varchar[], memberships.segment_key)
"""

_KNOWN = f"""
with runs as (
    select as_of from raw.run
),

-- What would have been sent to the held out tires too: else they would be the fresher ones, and be chosen before the contacted.
tired as (
    select person, count(*) as contacts from plan_earlier
    cross join runs
    where not_before > runs.as_of - to_days($recent) and person is not null
    group by all
),

dismissed as (
    select people.person, count(*) as dismissals
    from ({ANSWERS}) as responses
    inner join plan_person as people on responses.user_key = people.user_key
    cross join runs
    where responses.response_type = 'dismiss' and responses.occurred_at > runs.as_of - to_days($history)
    group by all
),

placed as (
    select people.person, min(memberships.segment_key) as segment_key
    from marketing.known_membership as memberships
    inner join plan_person as people on memberships.user_key = people.user_key
    where memberships.is_current and starts_with(memberships.segment_key, $segments)
    group by all
)

select
    cast(coalesce(tired.contacts, 0) as bigint) as recent_contacts,
    cast(coalesce(list_position($segment_keys::varchar[], placed.segment_key), 0) - 1 as bigint) as segment,
    cast(coalesce(dismissed.dismissals, 0) as bigint) as dismissals,
    people.may_be_personalised
from plan_person as people
left join tired on people.person = tired.person
left join dismissed on people.person = dismissed.person
left join placed on people.person = placed.person
order by people.person
"""

_EVENTS_ON = """
select people.person, interactions.domain as platform, cast(count(*) as double) as events
from core.fct_interaction as interactions
inner join plan_person as people on interactions.user_key = people.user_key
cross join raw.run as runs
where interactions.occurred_at > runs.as_of - to_days($active) and interactions.occurred_at <= runs.as_of
group by all
"""

_PLACES = """
with memberships as (
    select contacts.person, list(distinct memberships.segment_key order by memberships.segment_key) as segment_keys
    from (select distinct person from plan_contact) as contacts
    inner join plan_person as people on contacts.person = people.person
    inner join marketing.known_membership as memberships on people.user_key = memberships.user_key
    where memberships.is_current
    group by contacts.person
)

select access.time_zone, coalesce(memberships.segment_keys, cast([] as varchar[])) as segment_keys
from plan_contact as contacts
left join memberships on contacts.person = memberships.person
left join plan_access as access on contacts.person = access.person and contacts.platform = access.platform
order by contacts.contact
"""

# Purchases alone count as conversions, since those of held-out people are delivered as no response. Nothing is learnt from people
# who may not be profiled.
_HISTORY = f"""
with runs as (
    select as_of from raw.run
),

contacts as (
    select
        people.person,
        past.*,
        campaigns.kind,
        campaigns.target_platform,
        campaigns.item_ids,
        cast(coalesce(campaigns.value_per_conversion, 0) as double) as value_per_conversion,
        count(*) over (
            partition by people.person order by past.not_before
            range between to_days($recent) preceding and current row exclude group
        ) as recent_contacts
    from marketing.past_contact as past
    inner join plan_person as people on past.user_key = people.user_key and people.may_be_personalised
    inner join core.dim_campaign as campaigns on past.campaign_key = campaigns.campaign_key
    cross join runs
    where
        past.plan_id != $plan_id
        and past.not_before < runs.as_of
        and past.decided_at <= runs.as_of
        and past.decided_at > runs.as_of - to_days($history)
        and campaigns.kind is not null
),

clicked as (
    select distinct exposure_key from core.fct_response
    cross join runs
    where response_type = 'click' and occurred_at <= runs.as_of
),

converted as (
    select distinct contacts.contact_key
    from contacts
    inner join plan_person as people on contacts.person = people.person
    inner join core.fct_purchase as purchases
        on people.user_key = purchases.user_key and contacts.target_platform = purchases.domain
    cross join runs
    where
        purchases.occurred_at > contacts.not_before
        and purchases.occurred_at <= contacts.not_before + to_days($answer)
        and purchases.occurred_at <= runs.as_of
        and (
            len(contacts.item_ids) = 0
            or list_contains(contacts.item_ids, substr(purchases.item_key, len(contacts.target_platform) + 2))
        )
),

dismissed as (
    select contacts.contact_key, count(*) as dismissals
    from contacts
    inner join ({ANSWERS}) as responses
        on contacts.user_key = responses.user_key
        and responses.response_type = 'dismiss'
        and responses.occurred_at > contacts.decided_at - to_days($history)
        and responses.occurred_at <= contacts.decided_at
    group by all
),

-- Events of each person up to each moment, so that those between two moments are a difference.
moments as (
    select people.person, interactions.domain as platform, interactions.occurred_at, count(*) as events
    from core.fct_interaction as interactions
    inner join plan_person as people on interactions.user_key = people.user_key
    where people.person in (select person from contacts)
    group by all
),

summed as (
    select person, occurred_at, sum(sum(events)) over (partition by person order by occurred_at) as events
    from moments
    group by person, occurred_at
),

summed_there as (
    select person, platform, occurred_at,
        sum(events) over (partition by person, platform order by occurred_at) as events
    from moments
),

ended as (
    select contacts.*, coalesce(summed.events, 0) as events_until, coalesce(summed_there.events, 0) as events_there_until
    from contacts
    asof left join summed on contacts.person = summed.person and contacts.decided_at >= summed.occurred_at
    asof left join summed_there
        on contacts.person = summed_there.person
        and contacts.target_platform = summed_there.platform
        and contacts.decided_at >= summed_there.occurred_at
),

framed as (
    select ended.*, coalesce(summed.events, 0) as events_before, coalesce(summed_there.events, 0) as events_there_before
    from ended
    asof left join summed
        on ended.person = summed.person and ended.decided_at - to_days($active) >= summed.occurred_at
    asof left join summed_there
        on ended.person = summed_there.person
        and ended.target_platform = summed_there.platform
        and ended.decided_at - to_days($active) >= summed_there.occurred_at
)

select
    framed.contact_key,
    framed.person,
    cast(list_position($kinds::varchar[], framed.kind) - 1 as bigint) as kind,
    cast(coalesce(list_position(
        $segment_keys::varchar[], list_filter(framed.segment_keys, lambda one: starts_with(one, $segments))[1]
    ), 0) - 1 as bigint) as segment,
    cast(framed.recent_contacts as bigint) as recent_contacts,
    cast(framed.events_until - framed.events_before as double) as activity,
    cast(framed.events_there_until - framed.events_there_before as double) as activity_there,
    cast(coalesce(dismissed.dismissals, 0) as bigint) as dismissals,
    framed.value_per_conversion,
    coalesce(framed.cost, 0) as cost,
    framed.score_share,
    framed.arm = 'treatment' as treated,
    clicked.exposure_key is not null as clicked,
    converted.contact_key is not null as converted,
    framed.propensity,
    (epoch_us(runs.as_of) - epoch_us(framed.not_before)) / 86400e6 as observed_days,
    cast(dense_rank() over (order by framed.campaign_key) as bigint) as stratum
from framed
cross join runs
left join clicked on md5(framed.contact_key) = clicked.exposure_key
left join converted on framed.contact_key = converted.contact_key
left join dismissed on framed.contact_key = dismissed.contact_key
order by framed.decided_at, framed.contact_key
"""

_RATES = """
select kind, segment_key, answer, rate, coalesce(prior_strength, 0) + coalesce(exposures, 0) as strength
from marketing.measured_rate
where answer in ('click', 'conversion')
"""


@dataclass(frozen=True, eq=False)
class Pairs:
    """People of each planned campaign, in the order of campaign and person.

    Attributes:
        slot: Campaign, its place among the planned ones, shape (pairs,).
        person: Number of the person, same shape.
        code: Index into `eligibility.CODES`, before any holdout as it is read, same shape.
        takes_part: Whether the pair takes part in the choice, same shape; nobody's does as it is read.
        propensity: Probability with which the lot says treatment, same shape; NaN where none was drawn, and as it is read.
    """

    slot: Ints
    person: Ints
    code: NDArray[np.int8]
    takes_part: NDArray[np.bool_]
    propensity: Floats


@dataclass(frozen=True, eq=False)
class SettledArms:
    """People whose arm in a campaign was settled before, by a plan or by whoever delivered to them; all of shape (rows,).

    Attributes:
        slot: Campaign, its place among the planned ones.
        person: Number of the person.
        is_treated: Arm of the first contact, in which `outcomes` counts them.
        propensity: Probability with which the lot of that contact said treatment; NaN where none is known to have been drawn.
    """

    slot: Ints
    person: Ints
    is_treated: NDArray[np.bool_]
    propensity: Floats


@dataclass(frozen=True, eq=False)
class Offers:
    """What pairs could be shown, best first within a pair.

    Attributes:
        pair: Index of the pair, ascending, shape (offers,).
        item: Index of the item, `NO_ITEM` for a campaign without any, same shape.
        score: Recommendation score; NaN where the person's list does not name the item and of who may not be profiled, same shape.
    """

    pair: Ints
    item: Ints
    score: Floats


@dataclass(frozen=True, eq=False)
class KnownOfPeople:
    """What is known of every person, in the order of their numbers; all of shape (people,).

    Attributes:
        recent_contacts: Contacts in the last `RECENT_DAYS`, of either arm.
        activity: Events in the last `ACTIVE_DAYS`, on all platforms.
        segment: Place of the segment among `CandidateReader.segments`, -1 for none.
        dismissals: Contacts dismissed in the last `HISTORY_DAYS`, of any campaign.
        may_be_personalised: Whether the person may be profiled; of who may not be, `activity` and `dismissals` are means of others
            (see `of_the_profiled`).
        activity_on: `activity` on each platform with any, by its name.
    """

    recent_contacts: Ints
    activity: Floats
    segment: Ints
    dismissals: Floats
    may_be_personalised: NDArray[np.bool_]
    activity_on: dict[str, Floats]


@dataclass(frozen=True, eq=False)
class EarlierContacts:
    """Contacts that count against caps, delivered by anybody or held out; all of shape (contacts,).

    Attributes:
        person: Number of the person.
        day: Calendar day of the contact, counted from the first day of the plan.
        channel: Name of the channel.
        campaign_key: Campaign of the contact.
    """

    person: Ints
    day: Ints
    channel: NDArray[np.object_]
    campaign_key: NDArray[np.object_]


class CandidateReader:
    """Reads the facts of a plan; use it as a context, so that its temporary tables go away.

    Args:
        connection: Writer of the build file; only temporary tables are written.
        plan_id: The plan that is made. Contacts of an earlier making of the same plan do not count.
        briefs: The planned campaigns.
        items: Keys of the items that stock or campaigns name; items are indices into it.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, plan_id: str, briefs: Sequence[Brief], items: Sequence[str]
    ) -> None:
        self._connection, self._plan_id, self._briefs, self._items = connection, plan_id, briefs, items
        self.segments: list[str] = [
            key
            for (key,) in connection.execute(
                "select segment_key from marketing.known_segment where starts_with(segment_key, ?) order by 1",
                [SEGMENTS],
            ).fetchall()
        ]

    def __enter__(self) -> "CandidateReader":
        """Numbers people and collects earlier contacts."""
        self._connection.execute(_PERSON)
        self._connection.execute(_ACCESS)
        self._connection.execute(_EARLIER, {"plan_id": self._plan_id, "no_channel": NO_CHANNEL})
        return self

    def __exit__(self, *_: object) -> None:
        """Drops the temporary tables."""
        for table in _TABLES:
            self._connection.execute(f"drop table if exists temp.{table}")

    def people(self) -> pa.Table:
        """Keys of people in the order of their numbers."""
        return self._connection.execute("select user_key from plan_person order by person").to_arrow_table()

    def spent(self, since: date | None = None) -> dict[str, float]:
        """Cost of contacts delivered or handed over so far, by campaign.

        Args:
            since: Only contacts of this day and later.
        """
        return dict(
            self._connection.execute(
                f"select campaign_key, {exact_sum('cost')} from plan_earlier where is_spent and contact_date >= ? group by all",
                [since or date.min],
            ).fetchall()
        )

    def spent_by_day(self, campaign_keys: Sequence[str], since: date) -> dict[date, float]:
        """Cost of contacts of some campaigns delivered or handed over on each day from one on.

        Args:
            campaign_keys: The campaigns.
            since: First day.
        """
        return dict(
            self._connection.execute(
                f"select contact_date, {exact_sum('cost')} from plan_earlier "
                "where is_spent and contact_date >= ? and list_contains(?::varchar[], campaign_key) group by all",
                [since, list(campaign_keys)],
            ).fetchall()
        )

    def followed_contacts(self) -> dict[str, int]:
        """Contacts delivered or handed over that answers may have come to, by campaign."""
        return dict(
            self._connection.execute(
                "select campaign_key, count(*) from plan_earlier cross join raw.run as runs "
                "where is_spent and not_before <= runs.as_of - to_days($days) group by all",
                {"days": MOSTLY_ANSWERED_DAYS},
            ).fetchall()
        )

    def given(self, since: date | None = None) -> dict[str, int]:
        """Contacts delivered or handed over so far, by item.

        Args:
            since: Only contacts of this day and later.
        """
        return dict(
            self._connection.execute(
                "select item_key, count(*) from plan_earlier "
                "where is_spent and item_key is not null and contact_date >= ? group by all",
                [since or date.min],
            ).fetchall()
        )

    def chosen_of(self, segment_key: str, since: date | None = None) -> tuple[Ints, int]:
        """People whom earlier plans chose in a segment: those who are still known, of either arm, and how many were contacted.

        Args:
            segment_key: Segment that they were in when it was decided.
            since: Only contacts of this day and later.

        Returns:
            Numbers of people, shape (people,); and people whose contact was handed over, known or not.
        """
        found = self._connection.execute(
            _CHOSEN, {"plan_id": self._plan_id, "key": segment_key, "since": since or date.min}
        )
        rows = found.to_arrow_table()
        return _ints(rows.filter(pc.is_valid(rows["person"])), "person"), int(_flags(rows, "is_treated").sum())

    def members(self, segment_keys: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each person is in each of some segments now, shape (people, segments)."""
        found = self._connection.execute(_MEMBERS, {"keys": list(segment_keys)}).to_arrow_table()
        ((people,),) = self._connection.execute("select count(*) from plan_person").fetchall()
        members = np.zeros((people, len(segment_keys)), bool)
        members[_ints(found, "person"), _ints(found, "segment")] = True
        return members

    def earlier(self, first: date, days: int) -> EarlierContacts:
        """Contacts of people who are still known, from `days` days before the first day of the plan on."""
        found = self._connection.execute(
            """
            select person, cast(contact_date - $first as bigint) as day, channel, campaign_key from plan_earlier
            where person is not null and contact_date - $first >= -$days
            order by person, day, channel, campaign_key
            """,
            {"first": first, "days": days},
        ).to_arrow_table()
        return EarlierContacts(
            _ints(found, "person"),
            _ints(found, "day"),
            found["channel"].to_numpy(zero_copy_only=False),
            found["campaign_key"].to_numpy(zero_copy_only=False),
        )

    def pairs(self, has_days: Sequence[bool], available: NDArray[np.bool_]) -> Pairs:
        """People of each planned campaign with the first reason against a contact.

        Args:
            has_days: Whether each campaign has a day left to plan.
            available: Whether each item may be offered, shape (items,).
        """
        with self._tables(has_days, available):
            self._connection.execute(_OWNED)
            self._connection.execute(_PAIR)
        found = self._connection.execute("from plan_pair order by slot, person").to_arrow_table()
        self._connection.execute("drop table temp.plan_pair")
        flags = {
            name: found[name].to_numpy(zero_copy_only=False)
            for name in found.column_names
            if name not in ("slot", "person")
        }
        rows = found.num_rows
        return Pairs(
            _ints(found, "slot"),
            _ints(found, "person"),
            eligibility_codes(rows, flags),
            takes_part=np.zeros(rows, bool),
            propensity=np.full(rows, np.nan),
        )

    def settled_arms(self) -> SettledArms:
        """People with a contact of a planned campaign, handed over or delivered, in either arm."""
        with self._tables([True] * len(self._briefs), np.ones(len(self._items), bool)):
            found = self._connection.execute(_SETTLED, {"plan_id": self._plan_id}).to_arrow_table()
        return SettledArms(
            _ints(found, "slot"), _ints(found, "person"), _flags(found, "is_treated"), _floats(found, "propensity")
        )

    def offers(self, slot: Ints, person: Ints, available: NDArray[np.bool_], most: int) -> Offers:
        """What each pair would be shown, what it was offered before only where nothing else is left; after `pairs` was read.

        Args:
            slot: Campaign of each pair, shape (pairs,).
            person: Person of each pair, same shape.
            available: Whether each item may be offered, shape (items,).
            most: Most items of a pair.
        """
        without = np.array([not brief.item_keys for brief in self._briefs], bool)
        bare = np.flatnonzero(without[slot]) if len(slot) else np.zeros(0, np.int64)
        candidates = pa.table({"pair": np.arange(len(slot)), "slot": slot, "person": person})
        with (
            self._tables([True] * len(self._briefs), available),
            registered(self._connection, plan_candidate=candidates),
        ):
            found = self._connection.execute(_OFFER, {"most": most}).to_arrow_table()
        pair = np.concatenate([_ints(found, "pair"), bare])
        item = np.concatenate([_ints(found, "item"), np.full(len(bare), NO_ITEM)])
        score = np.concatenate([_floats(found, "score"), np.full(len(bare), np.nan)])
        order = np.argsort(pair, kind="stable")
        return Offers(pair[order], item[order], score[order])

    def known(self) -> KnownOfPeople:
        """Recent contacts, activity, segment and dismissals of every person."""
        found = self._connection.execute(
            _KNOWN,
            {
                "recent": RECENT_DAYS,
                "history": HISTORY_DAYS,
                "segments": SEGMENTS,
                "segment_keys": self.segments,
            },
        ).to_arrow_table()
        events = self._connection.execute(_EVENTS_ON, {"active": ACTIVE_DAYS}).to_arrow_table()
        platform = events["platform"].to_numpy(zero_copy_only=False)
        activity_on = {}
        for name in np.unique(platform.astype(str)).tolist():
            mine = platform == name
            activity_on[name] = np.zeros(found.num_rows)
            activity_on[name][_ints(events, "person")[mine]] = _floats(events, "events")[mine]
        segment, may_be_personalised = _ints(found, "segment"), _flags(found, "may_be_personalised")
        return KnownOfPeople(
            recent_contacts=_ints(found, "recent_contacts"),
            activity=of_the_profiled(sum(activity_on.values(), np.zeros(found.num_rows)), segment, may_be_personalised),
            segment=segment,
            dismissals=of_the_profiled(_floats(found, "dismissals"), segment, may_be_personalised),
            may_be_personalised=may_be_personalised,
            activity_on={
                name: of_the_profiled(events, segment, may_be_personalised) for name, events in activity_on.items()
            },
        )

    def zones_and_segments(
        self, person: Ints, platform: Sequence[str | None]
    ) -> tuple[list[str | None], list[list[str]]]:
        """Time zone and current segments of each contact's person.

        Args:
            person: Number of the person, shape (contacts,).
            platform: Where they are contacted, same length.
        """
        contacts = pa.table(
            {"contact": np.arange(len(person)), "person": person, "platform": pa.array(platform, pa.string())}
        )
        with registered(self._connection, plan_contact=contacts):
            found = self._connection.execute(_PLACES).to_arrow_table()
        return found["time_zone"].to_pylist(), found["segment_keys"].to_pylist()

    def history(self) -> ContactHistory | None:
        """Contacts of both arms with what became of them; None before there are any."""
        found = read_history(self._connection, self.segments, self._plan_id)
        return None if found is None else found[1]

    def rates(self) -> RatePriors:
        """Measured rates by kind and segment; unknown before anything was measured."""
        rates = RatePriors.unknown(len(self.segments))
        if not has_relation(self._connection, "marketing.measured_rate"):
            return rates
        columns = {key: at for at, key in enumerate([*self.segments, "all"])}
        click, conversion, strength = rates.click.copy(), rates.conversion.copy(), rates.strength.copy()
        for kind, segment, answer, rate, weight in self._connection.execute(_RATES).fetchall():
            if kind in KINDS and segment in columns and rate is not None:
                cell = KINDS.index(kind), columns[segment]
                (click if answer == "click" else conversion)[cell] = min(max(rate, 1e-6), 1 - 1e-6)
                strength[cell] = weight
        return RatePriors(click, conversion, strength)

    @contextmanager
    def _tables(self, has_days: Sequence[bool], available: NDArray[np.bool_]) -> Iterator[None]:
        """Campaigns and their items, for SQL to read."""
        number = {key: at for at, key in enumerate(self._items)}
        campaigns = pa.table(
            {
                "slot": pa.array(range(len(self._briefs)), pa.int64()),
                "campaign_key": pa.array([brief.campaign_key for brief in self._briefs], pa.string()),
                "source_platform": pa.array([brief.source_platform for brief in self._briefs], pa.string()),
                "target_platform": pa.array([brief.target_platform for brief in self._briefs], pa.string()),
                "segment_key": pa.array([brief.segment_key for brief in self._briefs], pa.string()),
                "has_items": pa.array([bool(brief.item_keys) for brief in self._briefs], pa.bool_()),
                "has_days": pa.array(list(has_days), pa.bool_()),
            }
        )
        listed = [(slot, number[key], key) for slot, brief in enumerate(self._briefs) for key in brief.item_keys]
        items = pa.table(
            {
                "slot": pa.array([slot for slot, _, _ in listed], pa.int64()),
                "item": pa.array([item for _, item, _ in listed], pa.int64()),
                "item_key": pa.array([key for _, _, key in listed], pa.string()),
                "is_available": pa.array([bool(available[item]) for _, item, _ in listed], pa.bool_()),
            }
        )
        with registered(self._connection, plan_campaign=campaigns, plan_item=items):
            yield


@contextmanager
def numbered_people(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Numbers of people, for `read_history` where no plan is made.

    Args:
        connection: Of the build file; a temporary table is made and dropped.
    """
    connection.execute(_PERSON)
    try:
        yield
    finally:
        connection.execute("drop table temp.plan_person")


def read_history(
    connection: duckdb.DuckDBPyConnection, segments: Sequence[str], plan_id: str = ""
) -> tuple[pa.ChunkedArray, ContactHistory] | None:
    """Contacts of both arms with what became of them, and their keys; None before there are any.

    Args:
        connection: Of the build file, where people are numbered.
        segments: Segments that answers may differ by.
        plan_id: The plan that is made, whose own contacts do not count.
    """
    found = connection.execute(
        _HISTORY,
        {
            "plan_id": plan_id,
            "recent": RECENT_DAYS,
            "active": ACTIVE_DAYS,
            "answer": FOLLOW_UP_DAYS,
            "history": HISTORY_DAYS,
            "segments": SEGMENTS,
            "segment_keys": list(segments),
            "kinds": list(KINDS),
        },
    ).to_arrow_table()
    if not found.num_rows:
        return None
    features = ContactFeatures(
        score_share=_floats(found, "score_share"),
        kind=_ints(found, "kind"),
        segment=_ints(found, "segment"),
        person=_ints(found, "person"),
        recent_contacts=_ints(found, "recent_contacts"),
        activity=_floats(found, "activity"),
        value_per_conversion=_floats(found, "value_per_conversion"),
        cost=_floats(found, "cost"),
        further=further_columns(_floats(found, "activity_there"), _floats(found, "dismissals")),
    )
    return found["contact_key"], ContactHistory(
        features=features,
        treated=_flags(found, "treated"),
        clicked=_flags(found, "clicked"),
        converted=_flags(found, "converted"),
        propensity=_floats(found, "propensity"),
        observed_days=_floats(found, "observed_days"),
        stratum=_ints(found, "stratum"),
    )


def of_the_profiled(values: Floats, segment: Ints, may_be_personalised: NDArray[np.bool_]) -> Floats:
    """What is known of people, and of those who may not be profiled the mean of the others of their segment.

    Args:
        values: One a person, shape (people,).
        segment: Their segments, -1 for none, same shape.
        may_be_personalised: Whether a person may be profiled, same shape.

    Returns:
        Same shape. Where nobody of the segment may be profiled it is the mean of all who may be; 0 if there are none.
    """
    known = values[may_be_personalised]
    place = segment + 1
    people, total = (
        np.bincount(place[may_be_personalised], weights, place.max(initial=0) + 1) for weights in (None, known)
    )
    of_all = known.mean() if len(known) else 0.0
    of_segment = np.divide(total, people, out=np.full(len(total), of_all), where=people > 0)
    return np.where(may_be_personalised, values, of_segment[place])


def further_columns(activity_there: Floats, dismissals: Floats) -> Floats:
    """What models may learn from besides: who knows the other platform, and who does not want to be contacted.

    Both tell what contact does apart from response: visitors of the other side are won by it, and people who dismiss what they are
    shown are put off, however often they buy (the "sleeping dogs" of Radcliffe and Surry, "Real-world uplift modelling with
    significance-based uplift trees", 2011).

    Args:
        activity_there: Events on the campaign's target platform in the last `ACTIVE_DAYS`, shape (rows,).
        dismissals: Contacts that the person dismissed in the last `HISTORY_DAYS`, shape (rows,).

    Returns:
        Shape (rows, 2).
    """
    return np.log1p(np.column_stack([activity_there, dismissals]))


def _ints(table: pa.Table, column: str) -> Ints:
    return np.asarray(table[column].to_numpy(), np.int64)


def _floats(table: pa.Table, column: str) -> Floats:
    return np.asarray(table[column].to_numpy(zero_copy_only=False), np.float64)


def _flags(table: pa.Table, column: str) -> NDArray[np.bool_]:
    return np.asarray(table[column].to_numpy(zero_copy_only=False), bool)

"""Pairs of themes across the platforms that pull people over, found inside the engine.

For each segment: who can be reached where, which theme of one platform they like, which theme of the other fills their lists beyond
the usual, and with which items. What comes of a pair is worked out in `proposing`.
"""

from typing import NamedTuple

import duckdb

FEWEST_ITEMS, MOST_ITEMS = 4, 12
# Below that many people a holdout shows nothing and a list is not worth the work.
FEWEST_PEOPLE = 100
# Target themes of a segment that are worked out in detail, the clearest first: what is worked out stays bounded, however many there
# are.
MOST_THEMES = 15
# Fractions are added up as whole numbers of 1e-12: sums of floating point numbers differ in their last digits with the order in
# which threads come to them, and the same data must give the same proposals.
_FRACTION = "decimal(18, 12)"

# Who can be reached where, and what for. People who have gone quiet on a platform are asked back to it from the other one; who is
# still there is shown the other side.
_AUDIENCE = """
create or replace temporary table audience as
with platforms as (
    select source, if(source = 'film', 'knowledge', 'film') as target
    from (values ('film'), ('knowledge')) as platforms (source)
),

segments as (
    select
        segment_key,
        family,
        name,
        platform,
        if(family = 'lifecycle', split_part(segment_key, ':', 3), null) as state
    from marketing.known_segment
),

contactable as (
    select distinct user_key, platform from intermediate.int_account__contactable where is_contactable
)

select
    segments.segment_key,
    platforms.source,
    platforms.target,
    contactable.user_key,
    if(segments.family = 'interest', split_part(segments.segment_key, ':', 3), null) as only_topic
from segments
inner join platforms
    on
        segments.platform = 'joined'
        or segments.platform = case
            when segments.family = 'potential' or segments.state in ('at_risk', 'dormant') then platforms.target
            else platforms.source
        end
inner join marketing.known_membership as memberships
    on segments.segment_key = memberships.segment_key and memberships.is_current
inner join contactable
    on memberships.user_key = contactable.user_key and platforms.source = contactable.platform
"""

# A theme is a person's if it is among their five largest and a good deal larger than with people at large: else everyone would be
# interested in what is most common.
_INTERESTED = f"""
create or replace temporary table interested as
with sized as (
    select
        interests.user_key,
        topics.topic_key,
        topics.topic,
        topics.on_film,
        topics.on_knowledge,
        interests.weight,
        sum(cast(interests.weight as {_FRACTION})) over (partition by interests.topic_key)
        / (select count(distinct user_key) from features.user_interest) as usual_weight
    from features.user_interest as interests
    inner join core.dim_topic as topics on interests.topic_key = topics.topic_key
),

placed as (
    select
        sized.*,
        platforms.source,
        row_number() over (
            partition by sized.user_key, platforms.source order by sized.weight desc, sized.topic_key
        ) as place
    from sized
    inner join (values ('film'), ('knowledge')) as platforms (source)
        on if(platforms.source = 'film', sized.on_film, sized.on_knowledge)
)

select user_key, source, topic_key, topic
from placed
where place <= 5 and weight >= 1.5 * usual_weight
"""

_LISTED = f"""
create or replace temporary table listed as
with lengths as (
    select user_key, target_domain, count(*) as places
    from recommendations.scored_user_item
    where rank <= 20
    group by all
)

select
    lists.user_key,
    lists.target_domain as target,
    bridges.topic_key,
    cast(sum(cast(bridges.weight as {_FRACTION})) / any_value(lengths.places) as {_FRACTION}) as share
from recommendations.scored_user_item as lists
inner join lengths using (user_key, target_domain)
inner join core.bridge_item_topic as bridges on lists.item_key = bridges.item_key
where lists.rank <= 20
group by all
"""

# The pull of a theme: its share in the lists of the people who like the source theme, over its share in the catalogue, in
# everyone's lists or in those of their segment, whichever is largest; people who all get the same general list are pulled nowhere
# by their tastes. (A segment of interest is its own source theme, so that its lists are no base.) Of all the source themes that a
# segment could be addressed with, the one with the clearest pull is taken.
_PAIRS = f"""
create or replace temporary table pair as
with catalogue as (
    select
        items.domain as target,
        bridges.topic_key,
        sum(cast(bridges.weight as {_FRACTION})) / any_value(sizes.items) as share,
        count(*) as items
    from core.bridge_item_topic as bridges
    inner join core.dim_item as items on bridges.item_key = items.item_key
    inner join (select domain, count(*) as items from core.dim_item group by all) as sizes on items.domain = sizes.domain
    group by all
),

reachable as (
    select target, count(distinct user_key) as people from audience group by all
),

everyone as (
    select listed.target, listed.topic_key, sum(listed.share) / any_value(reachable.people) as share
    from listed
    inner join (select distinct user_key, target from audience) as people using (user_key, target)
    inner join reachable on listed.target = reachable.target
    group by all
),

tastes as (
    select
        audience.segment_key,
        audience.source,
        audience.target,
        audience.user_key,
        interested.topic_key as source_topic_key
    from audience
    inner join interested on audience.user_key = interested.user_key and audience.source = interested.source
    where audience.only_topic is null or audience.only_topic = interested.topic
),

sizes as (
    select segment_key, source, source_topic_key, count(*) as people from tastes group by all having count(*) >= 30
),

pulls as (
    select
        tastes.segment_key,
        tastes.source,
        tastes.target,
        tastes.source_topic_key,
        listed.topic_key as target_topic_key,
        any_value(sizes.people) as people,
        sum(listed.share) / any_value(sizes.people) as share,
        -- People without the theme in their list count as 0.
        sqrt(
            greatest(
                sum(listed.share * listed.share) / any_value(sizes.people)
                - pow(sum(listed.share) / any_value(sizes.people), 2),
                0
            ) / any_value(sizes.people)
        ) as error,
        count(*) as with_theme
    from tastes
    inner join sizes using (segment_key, source, source_topic_key)
    inner join listed on tastes.user_key = listed.user_key and tastes.target = listed.target
    group by tastes.segment_key, tastes.source, tastes.target, tastes.source_topic_key, listed.topic_key
),

segment_shares as (
    select
        audience.segment_key,
        audience.source,
        listed.topic_key,
        sum(listed.share) / any_value(segment_sizes.people) as share
    from audience
    inner join (select segment_key, source, count(*) as people from audience group by all) as segment_sizes
        on audience.segment_key = segment_sizes.segment_key and audience.source = segment_sizes.source
    inner join listed on audience.user_key = listed.user_key and audience.target = listed.target
    where audience.only_topic is null
    group by all
),

based as (
    select
        pulls.*,
        greatest(catalogue.share, everyone.share, segment_shares.share) as base
    from pulls
    left join segment_shares
        on
            pulls.segment_key = segment_shares.segment_key
            and pulls.source = segment_shares.source
            and pulls.target_topic_key = segment_shares.topic_key
    inner join catalogue on pulls.target = catalogue.target and pulls.target_topic_key = catalogue.topic_key
    inner join everyone on pulls.target = everyone.target and pulls.target_topic_key = everyone.topic_key
    where catalogue.items >= 4 and pulls.with_theme >= 20
),

pulling as (
    select
        *,
        share / base as pull,
        (share - 1.96 * error) / base as pull_low,
        ln(greatest((share - 1.96 * error) / base, 1e-9)) * sqrt(people) as clarity
    from based
    where (share - 1.96 * error) / base > 1.1
),

clearest as (
    select *
    from pulling
    qualify
        row_number() over (
            partition by segment_key, source, target_topic_key order by clarity desc, source_topic_key
        ) = 1
)

select
    segment_key,
    source,
    target,
    source_topic_key,
    target_topic_key,
    people,
    share,
    base,
    pull,
    pull_low
from clearest
-- What is worked out in detail stays bounded, however many themes there are.
qualify
    row_number() over (partition by segment_key, source order by clarity desc, target_topic_key) <= $most_themes
"""

_ITEMS = f"""
create or replace temporary table pair_item as
with summed as (
    select
        pair.segment_key,
        pair.source,
        pair.target_topic_key,
        lists.item_key,
        sum(cast(1 / log2(lists.rank + 1) as {_FRACTION})) * coalesce(any_value(items.price), 1) as worth
    from pair
    inner join audience on pair.segment_key = audience.segment_key and pair.source = audience.source
    inner join interested
        on
            audience.user_key = interested.user_key
            and audience.source = interested.source
            and pair.source_topic_key = interested.topic_key
    inner join recommendations.scored_user_item as lists
        on audience.user_key = lists.user_key and pair.target = lists.target_domain
    inner join core.bridge_item_topic as bridges
        on lists.item_key = bridges.item_key and pair.target_topic_key = bridges.topic_key
    inner join core.dim_item as items on lists.item_key = items.item_key
    group by pair.segment_key, pair.source, pair.target_topic_key, lists.item_key
)

select *
from summed
qualify
    row_number() over (partition by segment_key, source, target_topic_key order by worth desc, item_key) <= $most_items
"""

# Items of the source theme that people who like it have on their lists for the source platform, those listed highest first: what
# stands beside the items of the target on a shelf, and what a challenge begins with. Whoever has had one does not have it listed.
_SOURCE_ITEMS = f"""
create or replace temporary table source_item as
with themes as (
    select distinct segment_key, source, source_topic_key from pair
),

summed as (
    select
        themes.segment_key,
        themes.source,
        themes.source_topic_key,
        lists.item_key,
        sum(cast(1 / log2(lists.rank + 1) as {_FRACTION})) as fit
    from themes
    inner join audience on themes.segment_key = audience.segment_key and themes.source = audience.source
    inner join interested
        on
            audience.user_key = interested.user_key
            and audience.source = interested.source
            and themes.source_topic_key = interested.topic_key
    inner join recommendations.scored_user_item as lists
        on audience.user_key = lists.user_key and themes.source = lists.target_domain
    inner join core.bridge_item_topic as bridges
        on lists.item_key = bridges.item_key and themes.source_topic_key = bridges.topic_key
    group by themes.segment_key, themes.source, themes.source_topic_key, lists.item_key
)

select *
from summed
qualify
    row_number() over (partition by segment_key, source, source_topic_key order by fit desc, item_key) <= $most_items
"""

# What runs already: a campaign for the segment, half of whose items are of the theme.
_RUNNING = """
select distinct campaigns.segment as segment_key, pair.target_topic_key
from core.dim_campaign as campaigns
cross join raw.run as runs
inner join pair on campaigns.segment = pair.segment_key and campaigns.target_platform = pair.target
where
    campaigns.status = 'approved'
    and campaigns.ends_at > runs.as_of
    and 2 * (
        select count(*)
        from core.bridge_item_topic as bridges
        where
            bridges.topic_key = pair.target_topic_key
            and list_contains(
                list_transform(campaigns.item_ids, lambda item_id: campaigns.target_platform || ':' || item_id),
                bridges.item_key
            )
    ) >= len(campaigns.item_ids)
"""

_CANDIDATES = """
with items as (
    select segment_key, source, target_topic_key, list(item_key order by worth desc, item_key) as item_keys
    from pair_item
    group by all
    having count(*) >= $fewest_items
),

source_items as (
    select segment_key, source, source_topic_key, list(item_key order by fit desc, item_key) as item_keys
    from source_item
    group by all
    having count(*) >= $fewest_items
),

reached as (
    select pair_item.segment_key, pair_item.source, pair_item.target_topic_key, count(distinct audience.user_key) as people,
        count(distinct if(users.on_film and users.on_knowledge, audience.user_key, null)) as on_both
    from pair_item
    inner join audience on pair_item.segment_key = audience.segment_key and pair_item.source = audience.source
    inner join recommendations.scored_user_item as lists
        on audience.user_key = lists.user_key and pair_item.item_key = lists.item_key
    inner join core.dim_user as users on audience.user_key = users.user_key
    group by all
),

paid as (
    select
        pair_item.segment_key,
        pair_item.source,
        pair_item.target_topic_key,
        avg(purchases.amount) filter (
            where not purchases.is_refunded and purchases.amount > 0 and purchases.currency = $currency
        ) as mean_paid,
        count(*) filter (
            where not purchases.is_refunded and purchases.amount > 0 and purchases.currency = $currency
        ) as purchases
    from pair_item
    inner join core.fct_purchase as purchases on pair_item.item_key = purchases.item_key
    group by all
),

prices as (
    select pair_item.segment_key, pair_item.source, pair_item.target_topic_key, median(items.price) as median_price
    from pair_item
    inner join core.dim_item as items on pair_item.item_key = items.item_key
    where items.price > 0 and items.currency = $currency
    group by all
)

select
    pair.segment_key,
    segments.name as segment_name,
    segments.family,
    if(segments.family = 'lifecycle', split_part(pair.segment_key, ':', 3), null) as state,
    pair.source,
    pair.target,
    sources.topic as source_topic,
    targets.topic as target_topic,
    pair.target_topic_key,
    pair.people,
    pair.share,
    pair.base,
    pair.pull,
    pair.pull_low,
    items.item_keys,
    coalesce(source_items.item_keys, cast([] as varchar[])) as source_item_keys,
    reached.people as reach,
    reached.on_both,
    cast(paid.mean_paid as double) as mean_paid,
    coalesce(paid.purchases, 0) as purchases,
    cast(prices.median_price as double) as median_price
from pair
inner join marketing.known_segment as segments on pair.segment_key = segments.segment_key
inner join core.dim_topic as sources on pair.source_topic_key = sources.topic_key
inner join core.dim_topic as targets on pair.target_topic_key = targets.topic_key
inner join items
    on
        pair.segment_key = items.segment_key
        and pair.source = items.source
        and pair.target_topic_key = items.target_topic_key
inner join reached
    on
        pair.segment_key = reached.segment_key
        and pair.source = reached.source
        and pair.target_topic_key = reached.target_topic_key
left join source_items
    on
        pair.segment_key = source_items.segment_key
        and pair.source = source_items.source
        and pair.source_topic_key = source_items.source_topic_key
left join paid
    on
        pair.segment_key = paid.segment_key
        and pair.source = paid.source
        and pair.target_topic_key = paid.target_topic_key
left join prices
    on
        pair.segment_key = prices.segment_key
        and pair.source = prices.source
        and pair.target_topic_key = prices.target_topic_key
where reached.people >= $fewest_people
order by pair.segment_key, pair.source, pair.target_topic_key
"""


class ThemePair(NamedTuple):
    """A segment, a theme that its people like, and a theme of the other platform that fills their lists.

    Attributes:
        segment_key: The segment.
        segment_name: Its name.
        family: Its family.
        state: new, active, at_risk or dormant of a lifecycle segment; else None.
        source: Platform on which people are contacted.
        target: The other one.
        source_topic: What they like.
        target_topic: What fills their lists.
        target_topic_key: Its key.
        people: Contactable people of the segment who like the source theme.
        share: Share of the target theme in the first 20 places of their lists.
        base: Its usual share.
        pull: The one over the other.
        pull_low: Lower end of the 95 % interval of the pull.
        item_keys: Items of the target theme, those worth most first.
        source_item_keys: Items of the source theme that they have on their lists there, the highest first; empty with fewer than
            four.
        reach: Contactable people of the segment with one of the items in their list.
        on_both: Of them, people who use both platforms.
        mean_paid: Mean price paid for these items in the currency; None if nobody did.
        purchases: Purchases that it is the mean of.
        median_price: Median price of the items in the currency; None without prices.
    """

    segment_key: str
    segment_name: str
    family: str
    state: str | None
    source: str
    target: str
    source_topic: str
    target_topic: str
    target_topic_key: str
    people: int
    share: float
    base: float
    pull: float
    pull_low: float
    item_keys: list[str]
    source_item_keys: list[str]
    reach: int
    on_both: int
    mean_paid: float | None
    purchases: int
    median_price: float | None


def theme_pairs(connection: duckdb.DuckDBPyConnection, currency: str) -> list[ThemePair]:
    """All pairs of themes that could be proposed, in the order of their keys.

    Args:
        connection: Of the build file; temporary tables are made and dropped.
        currency: Of the prices.

    Returns:
        Pairs with a pull that is above 1.1 beyond doubt, enough people and items, and no campaign that runs for them.
    """
    for statement in (_AUDIENCE, _INTERESTED, _LISTED):
        connection.execute(statement)
    connection.execute(_PAIRS, {"most_themes": MOST_THEMES})
    for statement in (_ITEMS, _SOURCE_ITEMS):
        connection.execute(statement, {"most_items": MOST_ITEMS})
    running = set(connection.execute(_RUNNING).fetchall())
    limits = {"fewest_items": FEWEST_ITEMS, "fewest_people": FEWEST_PEOPLE, "currency": currency}
    found = [ThemePair._make(row) for row in connection.execute(_CANDIDATES, limits).fetchall()]
    for table in ("audience", "interested", "listed", "pair", "pair_item", "source_item"):
        connection.execute(f"drop table temp.{table}")
    return [pair for pair in found if (pair.segment_key, pair.target_topic_key) not in running]

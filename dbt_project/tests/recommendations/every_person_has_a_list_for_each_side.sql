{{ config(meta={'dagster': {'ref': {'name': 'user_item'}}}) }}

{#-
    Whoever has an item left on a side has a list for it. Only items count that could be shown as of the run, as in
    `orchestration.recommendations.steps`, and that no active exclusion is about, whomever it concerns: an exclusion may empty a
    list, which is for the check of rules to say.
-#}
with runs as (
    select * from {{ source('raw', 'run') }}
),

newest as (
    select max(occurred_at) as occurred_at
    from {{ ref('fct_interaction') }}
),

preferences as (
    select * from {{ ref('user_item_preference') }}
),

exclusions as (
    select
        target_domain,
        item_id,
        lower(topic) as topic,
        lower(series) as series,
        lower(item_kind) as item_kind,
        lower(language) as language
    from {{ ref('recommendation_rules') }}
    where
        is_active
        and action = 'exclude'
),

-- The time of a run that looks back; otherwise what the platforms have delivered is what they show now.
horizons as (
    select
        case
            when runs.as_of < newest.occurred_at then runs.as_of
            else timestamp 'infinity'
        end as seen_until
    from runs
    cross join newest
),

topics as (
    select
        bridges.item_key,
        list(lower(topics.topic)) as topics
    from {{ ref('bridge_item_topic') }} as bridges
    inner join {{ ref('dim_topic') }} as topics on bridges.topic_key = topics.topic_key
    group by bridges.item_key
),

shown as (
    select
        items.item_key,
        items.item_id,
        items.domain,
        lower(items.kind) as item_kind,
        lower(items.series) as series,
        lower(items.language) as language,
        coalesce(topics.topics, []) as topics
    from {{ ref('dim_item') }} as items
    left join {{ ref('dim_content') }} as contents on items.item_key = contents.item_key
    left join topics on items.item_key = topics.item_key
    cross join horizons
    where
        coalesce(contents.published_at, cast(items.published_date as timestamp), horizons.seen_until)
        <= horizons.seen_until
        or items.item_key in (select preferences.item_key from preferences)
),

excluded as (
    select distinct shown.item_key
    from shown
    cross join exclusions
    where
        (exclusions.target_domain is null or exclusions.target_domain = shown.domain)
        and (exclusions.item_id is null or exclusions.item_id in (shown.item_id, shown.item_key))
        and (exclusions.series is null or exclusions.series = shown.series)
        and (exclusions.item_kind is null or exclusions.item_kind = shown.item_kind)
        and (
            exclusions.language is null
            or exclusions.language = shown.language
            or starts_with(shown.language, exclusions.language || '-')
        )
        and (exclusions.topic is null or list_contains(shown.topics, exclusions.topic))
),

offered as (
    select
        item_key,
        domain
    from shown
    where item_key not in (select excluded.item_key from excluded)
),

offers as (
    select
        domain,
        count(*) as items
    from offered
    group by domain
),

taken as (
    select
        preferences.user_key,
        offered.domain,
        count(*) as items
    from preferences
    inner join offered on preferences.item_key = offered.item_key
    where preferences.is_consumed
    group by
        preferences.user_key,
        offered.domain
),

lists as (
    select distinct
        user_key,
        target_domain
    from {{ ref('user_item') }}
)

select
    users.user_key,
    offers.domain as target_domain
from {{ ref('dim_user') }} as users
cross join offers
left join taken
    on
        users.user_key = taken.user_key
        and offers.domain = taken.domain
left join lists
    on
        users.user_key = lists.user_key
        and offers.domain = lists.target_domain
where
    lists.user_key is null
    and coalesce(taken.items, 0) < offers.items

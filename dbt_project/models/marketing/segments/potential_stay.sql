{{ config(materialized='view') }}

{%- set high = var('potential_high_share') -%}
{%- set medium = var('potential_medium_share') -%}
{%- set prior_people = var('potential_prior_people') %}

with

runs as (
    select * from {{ source('raw', 'run') }}
),

preferences as (
    select * from {{ ref('user_item_preference') }}
    where weight > 0
),

item_topics as (
    select * from {{ ref('bridge_item_topic') }}
),

-- Of others it is not known what they like on the other platform: they may have an account there that is not linked.
linked_users as (
    select * from {{ ref('dim_user') }}
    where is_linked
),

directions as (
    select
        directions.domain,
        directions.target_domain
    from (
        values
        ('film', 'knowledge'),
        ('knowledge', 'film')
    ) as directions (domain, target_domain)
),

-- Exact decimals add up to the same sum in any order.
sides as (
    select
        user_key,
        domain,
        sum(cast(weight as decimal(18, 9))) as strength
    from preferences
    group by
        user_key,
        domain
),

topic_strengths as (
    select
        preferences.user_key,
        preferences.domain,
        item_topics.topic_key,
        sum(cast(preferences.weight * item_topics.weight as decimal(18, 9))) as strength
    from preferences
    inner join item_topics on preferences.item_key = item_topics.item_key
    group by
        preferences.user_key,
        preferences.domain,
        item_topics.topic_key
),

linked_sides as (
    select
        sides.user_key,
        directions.domain,
        directions.target_domain,
        coalesce(other_sides.strength, 0) as target_strength
    from sides
    inner join linked_users on sides.user_key = linked_users.user_key
    inner join directions on sides.domain = directions.domain
    left join sides as other_sides
        on
            sides.user_key = other_sides.user_key
            and directions.target_domain = other_sides.domain
),

-- Where most linked people like nothing of a platform, half of them like 0, and whoever likes anything likes more.
judged as (
    select
        user_key,
        domain,
        target_domain,
        target_strength > median(target_strength) over (partition by target_domain) as likes_more
    from linked_sides
),

averages as (
    select
        target_domain,
        count(*) filter (where likes_more) / count(*) as share
    from judged
    group by target_domain
),

tastes as (
    select
        user_key,
        domain,
        topic_key,
        cast(strength / sum(strength) over (partition by user_key, domain) as decimal(18, 9)) as weight
    from topic_strengths
    where strength > 0
),

-- A topic of few linked people says little, and is drawn to the average of all of them.
topic_shares as (
    select
        judged.target_domain,
        tastes.topic_key,
        (
            coalesce(sum(tastes.weight) filter (where judged.likes_more), 0)
            + {{ prior_people }} * any_value(averages.share)
        )
        / (sum(tastes.weight) + {{ prior_people }}) as share
    from judged
    inner join tastes
        on
            judged.user_key = tastes.user_key
            and judged.domain = tastes.domain
    inner join averages on judged.target_domain = averages.target_domain
    group by
        judged.target_domain,
        tastes.topic_key
),

one_sided as (
    select
        user_key,
        any_value(domain) as domain
    from sides
    group by user_key
    having count(*) = 1
),

scored as (
    select
        one_sided.user_key,
        averages.target_domain,
        coalesce(
            sum(cast(topic_strengths.strength * coalesce(topic_shares.share, averages.share) as decimal(18, 9))), 0
        ) as score
    from one_sided
    inner join directions on one_sided.domain = directions.domain
    inner join averages on directions.target_domain = averages.target_domain
    left join topic_strengths on one_sided.user_key = topic_strengths.user_key
    left join topic_shares
        on
            averages.target_domain = topic_shares.target_domain
            and topic_strengths.topic_key = topic_shares.topic_key
    group by
        one_sided.user_key,
        averages.target_domain
),

-- Of equal scores all are in the same class, the lower one.
placed as (
    select
        user_key,
        target_domain,
        cume_dist() over (partition by target_domain order by score desc) as place
    from scored
)

select
    'potential:' || placed.target_domain || ':'
    || case
        when placed.place <= {{ high }} then 'high'
        when placed.place <= {{ high }} + {{ medium }} then 'medium'
        else 'low'
    end as segment_key,
    placed.user_key,
    runs.as_of as entered_at,
    cast(null as timestamp) as exited_at
from placed
cross join runs

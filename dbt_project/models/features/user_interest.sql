with

preferences as (
    select * from {{ ref('user_item_preference') }}
    where weight > 0
),

topics as (
    select * from {{ ref('bridge_item_topic') }}
),

strengths as (
    select
        preferences.user_key,
        topics.topic_key,
        sum(cast(preferences.weight * topics.weight as decimal(18, 9))) as strength,
        max(preferences.last_at) as last_seen_at
    from preferences
    inner join topics on preferences.item_key = topics.item_key
    group by
        preferences.user_key,
        topics.topic_key
)

select
    user_key,
    topic_key,
    cast(strength as double) / cast(sum(strength) over (partition by user_key) as double) as weight,
    cast(strength as double) as strength,
    last_seen_at
from strengths
where strength > 0

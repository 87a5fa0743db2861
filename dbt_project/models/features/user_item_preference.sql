with

runs as (
    select * from {{ source('raw', 'run') }}
),

users as (
    select * from {{ ref('dim_user') }}
),

weights as (
    select * from {{ ref('preference_weights') }}
),

purchases as (
    select * from {{ ref('fct_purchase') }}
),

events as (
    select * from {{ ref('training_event') }}
),

judged as (
    select
        events.user_key,
        events.item_key,
        events.domain,
        events.event_type,
        events.value_normalised,
        events.propensity_weight,
        events.occurred_at,
        date_diff('second', events.occurred_at, runs.as_of) / 86400 as age_days,
        coalesce(purchases.is_refunded and purchases.refunded_at <= runs.as_of, false) as is_refunded
    from events
    cross join runs
    left join purchases on events.event_key = purchases.event_key
),

weighed as (
    select
        judged.user_key,
        judged.item_key,
        judged.domain,
        judged.occurred_at,
        case
            when judged.event_type in ('rating', 'complete') then true
            when judged.event_type = 'purchase' then not judged.is_refunded
            else false
        end as is_consuming,
        case when judged.is_refunded then 0 else coalesce(weights.weight, 0) end
        * case when weights.uses_value then coalesce(judged.value_normalised, 0) else 1 end
        * judged.propensity_weight as strength,
        case
            when weights.half_life_days is null then 1
            else pow(2, -judged.age_days / weights.half_life_days)
        end as recency
    from judged
    left join weights
        on
            judged.domain = weights.domain
            and judged.event_type = weights.event_type
),

summed as (
    select
        user_key,
        item_key,
        any_value(domain) as domain,
        bool_or(is_consuming) as is_consumed,
        -- Exact decimals add up to the same sum in any order.
        cast(sum(cast(strength * recency as decimal(18, 9))) as double) as weight,
        cast(sum(cast(strength as decimal(18, 9))) as double) as strength,
        cast(count(*) as integer) as event_count,
        max(occurred_at) as last_at
    from weighed
    group by
        user_key,
        item_key
)

-- Of whoever may not be profiled it is only kept what not to show again.
select
    summed.user_key,
    summed.item_key,
    summed.domain,
    users.may_be_personalised,
    summed.is_consumed,
    case when users.may_be_personalised then summed.weight else 0 end as weight,
    case when users.may_be_personalised then summed.strength else 0 end as strength,
    summed.event_count,
    summed.last_at
from summed
inner join users on summed.user_key = users.user_key
where users.may_be_personalised or summed.is_consumed

with

runs as (
    select * from {{ source('raw', 'run') }}
),

users as (
    select * from {{ ref('dim_user') }}
),

interactions as (
    select * from {{ ref('fct_interaction') }}
    -- To be shown something is not to do something.
    where event_type != 'impression'
),

purchases as (
    select * from {{ ref('fct_purchase') }}
),

activity as (
    select
        interactions.user_key,
        max(interactions.occurred_at) as last_active_at,
        count(*) filter (
            where interactions.occurred_at > runs.as_of - interval '{{ var("activity_window_days") }} days'
        ) as recent_count
    from interactions
    cross join runs
    where interactions.occurred_at <= runs.as_of
    group by interactions.user_key
),

spending as (
    select
        purchases.user_key,
        sum(
            case
                when purchases.is_refunded and purchases.refunded_at > runs.as_of then purchases.gross_amount
                else purchases.amount
            end
        ) as amount,
        count(distinct purchases.currency) as currency_count
    from purchases
    cross join runs
    where
        purchases.occurred_at <= runs.as_of
        and purchases.occurred_at > runs.as_of - interval '{{ var("activity_window_days") }} days'
    group by purchases.user_key
),

measured as (
    select
        users.user_key,
        date_diff('second', activity.last_active_at, runs.as_of) // 86400 as recency_days,
        coalesce(activity.recent_count, 0) as frequency_90d,
        coalesce(spending.amount, 0) as monetary_90d,
        coalesce(spending.currency_count, 0) as currency_count_90d,
        date_diff('second', users.first_seen_at, runs.as_of) // 86400 as age_days,
        activity.last_active_at
    from users
    cross join runs
    left join activity on users.user_key = activity.user_key
    left join spending on users.user_key = spending.user_key
)

select
    user_key,
    case
        when age_days < {{ var('lifecycle_new_days') }} then 'new'
        when recency_days < {{ var('lifecycle_active_days') }} then 'active'
        when recency_days < {{ var('lifecycle_at_risk_days') }} then 'at_risk'
        else 'dormant'
    end as lifecycle,
    cast(recency_days as integer) as recency_days,
    cast(frequency_90d as integer) as frequency_90d,
    cast(monetary_90d as decimal(18, 4)) as monetary_90d,
    cast(currency_count_90d as integer) as currency_count_90d,
    last_active_at
from measured

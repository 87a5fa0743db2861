{{ config(materialized='view') }}

with

runs as (
    select
        *,
        {{ calendar_day('as_of', 'time_zone') }} as as_of_date
    from {{ source('raw', 'run') }}
),

classes as (
    select * from {{ ref('value_classes') }}
),

purchases as (
    select
        purchases.*,
        {{ calendar_day('purchases.refunded_at', 'runs.time_zone') }} as refund_date
    from {{ ref('fct_purchase') }} as purchases
    cross join runs
),

months as (
    select
        cast(
            unnest(generate_series(
                date_trunc('month', spans.first_date) + interval '1 month',
                cast(runs.as_of_date as timestamp),
                interval '1 month'
            )) as date
        ) as month_start
    from (select min(event_date) as first_date from purchases) as spans
    cross join runs
),

-- What was known on the first of each month: a purchase that was given back before it is none.
known as (
    select
        months.month_start,
        purchases.user_key,
        purchases.currency,
        date_diff('day', purchases.event_date, months.month_start) as age_days,
        case when purchases.is_refunded then purchases.gross_amount else purchases.amount end as amount
    from purchases
    inner join months on purchases.event_date < months.month_start
    where
        not purchases.is_refunded
        or purchases.refund_date >= months.month_start
),

spending as (
    select
        month_start,
        user_key,
        currency,
        min(age_days) as recency_days,
        count(*) filter (where age_days <= {{ var('value_window_days') }}) as purchase_count,
        coalesce(sum(amount) filter (where age_days <= {{ var('value_window_days') }}), 0) as amount
    from known
    group by
        month_start,
        user_key,
        currency
),

-- Currencies are not converted: people are compared with those who paid in the same one.
compared as (
    select
        *,
        percent_rank() over (
            partition by month_start, currency, purchase_count > 0
            order by amount
        ) as spends_more_than
    from spending
),

measured as (
    select
        month_start,
        user_key,
        min(recency_days) as recency_days,
        sum(purchase_count) as purchase_count,
        coalesce(max(spends_more_than) filter (where purchase_count > 0), 0) as spends_more_than
    from compared
    group by
        month_start,
        user_key
),

classed as (
    select
        measured.month_start,
        measured.user_key,
        classes.value_class
    from measured
    inner join classes
        on
            (classes.max_recency_days is null or measured.recency_days <= classes.max_recency_days)
            and measured.purchase_count >= classes.min_purchases
            and measured.spends_more_than >= classes.spends_more_than
    qualify row_number() over (
        partition by measured.month_start, measured.user_key
        order by classes.priority
    ) = 1
),

-- Months that follow one another in the same class have the same number of months between them and their place.
placed as (
    select
        *,
        date_diff('month', date '1970-01-01', month_start)
        - row_number() over (partition by user_key, value_class order by month_start) as stay
    from classed
),

stays as (
    select
        user_key,
        value_class,
        min(month_start) as first_month,
        cast(max(month_start) + interval '1 month' as date) as end_month
    from placed
    group by
        user_key,
        value_class,
        stay
)

select
    'value:joined:' || stays.value_class as segment_key,
    stays.user_key,
    {{ start_of_day('stays.first_month', 'runs.time_zone') }} as entered_at,
    case
        when stays.end_month <= runs.as_of_date
            then {{ start_of_day('stays.end_month', 'runs.time_zone') }}
    end as exited_at
from stays
cross join runs

with

runs as (
    select * from {{ source('raw', 'run') }}
),

moments as (
    select
        min(occurred_at) as first_at,
        max(occurred_at) as last_at
    from {{ ref('int_event__unioned') }}
    union all
    select
        min(shown_at) as first_at,
        max(shown_at) as last_at
    from {{ ref('stg_marketing__exposures') }}
    union all
    select
        min(occurred_at) as first_at,
        max(occurred_at) as last_at
    from {{ ref('stg_marketing__responses') }}
    union all
    select
        as_of as first_at,
        as_of as last_at
    from runs
),

-- A day to either side, since a calendar day in some time zone may fall into the year before or after.
span as (
    select
        year(min(first_at) - interval 1 day) as first_year,
        year(max(last_at) + interval 1 day) as last_year
    from moments
),

days as (
    select
        cast(
            unnest(generate_series(make_date(first_year, 1, 1), make_date(last_year, 12, 31), interval 1 day)) as date
        ) as date_key
    from span
)

select
    date_key,
    cast(year(date_key) as integer) as year,
    cast(quarter(date_key) as integer) as quarter,
    cast(month(date_key) as integer) as month,
    monthname(date_key) as month_name,
    cast(isoyear(date_key) as integer) as iso_year,
    cast(week(date_key) as integer) as iso_week,
    cast(day(date_key) as integer) as day_of_month,
    cast(isodow(date_key) as integer) as day_of_week,
    dayname(date_key) as day_name,
    isodow(date_key) >= 6 as is_weekend,
    cast(date_trunc('month', date_key) as date) as first_day_of_month
from days

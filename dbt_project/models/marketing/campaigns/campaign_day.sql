with

runs as (
    select * from {{ source('raw', 'run') }}
),

measured as (
    select * from {{ source('measured', 'measured_day') }}
)

select
    measured.campaign_key,
    measured.date,
    measured.currency,
    measured.contacts_promised,
    measured.exposures,
    measured.people,
    measured.clicks,
    measured.conversions,
    measured.click_rate,
    measured.revenue,
    measured.cost,
    measured.cost_to_date,
    measured.budget,
    measured.budget_share_to_date,
    measured.lift_to_date,
    measured.lift_to_date_low,
    measured.lift_to_date_high,
    runs.as_of as measured_at
from measured
cross join runs

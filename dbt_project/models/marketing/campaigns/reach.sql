with

runs as (
    select * from {{ source('raw', 'run') }}
),

measured as (
    select * from {{ source('measured', 'measured_reach') }}
)

select
    measured.scope,
    measured.scope_value,
    measured.currency,
    measured.exposures,
    measured.people,
    measured.clicks,
    measured.click_rate,
    measured.click_rate_low,
    measured.click_rate_high,
    measured.conversions,
    measured.revenue,
    measured.cost,
    runs.as_of as measured_at
from measured
cross join runs

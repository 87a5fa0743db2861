with

runs as (
    select * from {{ source('raw', 'run') }}
),

measured as (
    select * from {{ source('measured', 'measured_attribution') }}
)

select
    measured.conversion_key,
    measured.exposure_key,
    measured.campaign_key,
    measured.user_key,
    measured.item_key,
    measured.converted_at,
    measured.shown_at,
    measured.last,
    measured.linear,
    measured.position,
    measured.amount,
    measured.currency,
    runs.as_of as measured_at
from measured
cross join runs

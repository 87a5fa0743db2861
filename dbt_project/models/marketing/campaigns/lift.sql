with

runs as (
    select * from {{ source('raw', 'run') }}
),

measured as (
    select * from {{ source('measured', 'measured_lift') }}
)

select
    measured.scope,
    measured.scope_value,
    measured.measure,
    measured.method,
    measured.currency,
    measured.control,
    measured.treatment,
    measured.difference,
    measured.ci_low,
    measured.ci_high,
    measured.p_value,
    measured.p_adjusted,
    measured.people_control,
    measured.people_treatment,
    measured.reason,
    runs.as_of as measured_at
from measured
cross join runs

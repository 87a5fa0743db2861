with

runs as (
    select * from {{ source('raw', 'run') }}
),

measured as (
    select * from {{ source('measured', 'measured_policy') }}
)

select
    measured.policy,
    measured.estimator,
    measured.currency,
    measured.value,
    measured.ci_low,
    measured.ci_high,
    measured.logged_value,
    measured.difference,
    measured.difference_low,
    measured.difference_high,
    measured.contacted_share,
    measured.effective_sample,
    measured.decisions,
    measured.refused,
    runs.as_of as measured_at
from measured
cross join runs

with

runs as (
    select * from {{ source('raw', 'run') }}
),

measured as (
    select * from {{ source('measured', 'measured_rate') }}
)

select
    measured.kind,
    measured.segment_key,
    measured.answer,
    measured.exposures,
    measured.answers,
    measured.rate,
    measured.ci_low,
    measured.ci_high,
    measured.prior_mean,
    measured.prior_strength,
    measured.is_prior_only,
    runs.as_of as measured_at
from measured
cross join runs

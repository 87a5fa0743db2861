with

runs as (
    select * from {{ source('raw', 'run') }}
),

measured as (
    select * from {{ source('measured', 'measured_reliability') }}
),

decided as (
    select * from {{ source('decided', 'decided_reliability') }}
),

reliabilities as (
    select * from measured
    union all by name
    select * from decided
)

select
    reliabilities.reliability_key,
    reliabilities.model,
    reliabilities.answer,
    reliabilities.bin,
    reliabilities.contacts,
    reliabilities.predicted,
    reliabilities.observed,
    reliabilities.observed_low,
    reliabilities.observed_high,
    runs.as_of as measured_at
from reliabilities
cross join runs

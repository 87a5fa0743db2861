with

runs as (
    select * from {{ source('raw', 'run') }}
),

measured as (
    select * from {{ source('recommendations', 'model_evaluation') }}
)

select
    measured.model,
    measured.target_domain,
    measured.segment,
    measured.metric,
    measured.cutoff,
    measured.split,
    measured.is_champion,
    measured.value,
    measured.ci_low,
    measured.ci_high,
    measured.users,
    measured.model_version,
    runs.as_of as evaluated_at
from measured
cross join runs

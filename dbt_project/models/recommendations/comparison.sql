with

runs as (
    select * from {{ source('raw', 'run') }}
),

compared as (
    select * from {{ source('recommendations', 'model_comparison') }}
)

select
    compared.model,
    compared.baseline,
    compared.target_domain,
    compared.segment,
    compared.metric,
    compared.cutoff,
    compared.split,
    compared.model_value,
    compared.baseline_value,
    compared.difference,
    compared.ci_low,
    compared.ci_high,
    compared.p_value,
    compared.p_holm,
    compared.users,
    runs.as_of as evaluated_at
from compared
cross join runs

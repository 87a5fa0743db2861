{{ config(meta={'dagster': {'ref': {'name': 'policy_value'}}}) }}

-- Rounding may put a bound a hair inside.
select
    policy,
    estimator,
    currency,
    value,
    ci_low,
    ci_high,
    difference,
    refused
from {{ ref('policy_value') }}
where
    (value is null) != (refused is not null)
    or (difference is null) != (refused is not null)
    or value < ci_low - 1e-9
    or value > ci_high + 1e-9
    or difference < difference_low - 1e-9
    or difference > difference_high + 1e-9

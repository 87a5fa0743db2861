{{ config(meta={'dagster': {'ref': {'name': 'lift'}}}) }}

-- Rounding may put a bound a hair inside.
select
    scope,
    scope_value,
    measure,
    method,
    difference,
    ci_low,
    ci_high
from {{ ref('lift') }}
where
    difference < ci_low - 1e-9
    or difference > ci_high + 1e-9
    or (ci_low is null) != (reason is not null)

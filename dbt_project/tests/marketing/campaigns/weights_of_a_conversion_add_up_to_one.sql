{{ config(meta={'dagster': {'ref': {'name': 'attribution'}}}) }}

select
    conversion_key,
    sum(last) as last,
    sum(linear) as linear,
    sum(position) as position
from {{ ref('attribution') }}
group by conversion_key
having
    abs(sum(last) - 1) > 1e-9
    or abs(sum(linear) - 1) > 1e-9
    or abs(sum(position) - 1) > 1e-9

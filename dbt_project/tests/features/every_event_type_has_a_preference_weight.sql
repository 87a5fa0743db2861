{{ config(meta={'dagster': {'ref': {'name': 'fct_interaction'}}}) }}

{#- An event whose domain and type the seed does not list would weigh nothing without anybody saying so. -#}
select distinct
    interactions.domain,
    interactions.event_type
from {{ ref('fct_interaction') }} as interactions
left join {{ ref('preference_weights') }} as weights
    on
        interactions.domain = weights.domain
        and interactions.event_type = weights.event_type
where weights.weight is null

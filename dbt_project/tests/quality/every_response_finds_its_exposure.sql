{#- A response whose exposure has not arrived is left out of fct_response; here it is seen. -#}
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'stg_marketing__responses'}}}) }}

select
    responses.response_key,
    responses.exposure_key
from {{ ref('stg_marketing__responses') }} as responses
left join {{ ref('stg_marketing__exposures') }} as exposures on responses.exposure_key = exposures.exposure_key
where exposures.exposure_key is null

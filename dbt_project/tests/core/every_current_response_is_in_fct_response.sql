{{ config(meta={'dagster': {'ref': {'name': 'fct_response'}}}) }}

{#- Every response whose exposure is there is in the table once, and nothing else is. -#}
with expected as (
    select
        responses.response_key,
        exposures.user_key
    from {{ ref('stg_marketing__responses') }} as responses
    inner join {{ ref('fct_exposure') }} as exposures on responses.exposure_key = exposures.exposure_key
)

select
    expected.response_key as expected_key,
    found.response_key as found_key
from expected
full outer join {{ ref('fct_response') }} as found
    on
        expected.response_key = found.response_key
        and expected.user_key = found.user_key
where
    expected.response_key is null
    or found.response_key is null

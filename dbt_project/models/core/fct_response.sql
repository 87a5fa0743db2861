{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook=[
            "{{ take_touched('response_key', ref('int_response__touched')) }}",
            "{{ delete_touched('response_key') }}",
        ],
        post_hook="{{ advance_watermark() }}",
    )
}}

with

runs as (
    select * from {{ source('raw', 'run') }}
),

responses as (
    select * from {{ ref('stg_marketing__responses') }}
    {% if is_incremental() %}
        where response_key in (select response_key from {{ touched_keys() }})
    {% endif %}
),

exposures as (
    select * from {{ ref('fct_exposure') }}
)

select
    responses.response_key,
    exposures.exposure_key,
    exposures.campaign_key,
    exposures.user_key,
    responses.response_type,
    responses.value,
    responses.amount,
    {{ calendar_day('responses.occurred_at', 'runs.time_zone') }} as response_date,
    responses.occurred_at
from responses
inner join exposures on responses.exposure_key = exposures.exposure_key
cross join runs

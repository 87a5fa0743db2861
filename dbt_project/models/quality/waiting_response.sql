with

responses as (
    select * from {{ source('marketing', 'responses') }}
    where _is_current
),

exposures as (
    select * from {{ ref('stg_marketing__exposures') }}
),

deliveries as (
    select * from {{ source('raw', 'delivery') }}
)

select
    md5(responses.response_id) as response_key,
    responses.response_type,
    responses.occurred_at,
    {{ masked_path('deliveries.file') }} as file,
    responses._row_number as row_number
from responses
inner join deliveries on responses._delivery_id = deliveries.delivery_id
left join exposures on md5(responses.exposure_id) = exposures.exposure_key
where exposures.exposure_key is null

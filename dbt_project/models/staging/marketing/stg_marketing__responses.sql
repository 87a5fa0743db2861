with

responses as (
    select * from {{ source('marketing', 'responses') }}
    where _is_current
),

cleaned as (
    select
        md5(response_id) as response_key,
        md5(exposure_id) as exposure_key,
        response_type,
        value,
        amount,
        occurred_at
    from responses
)

select
    response_key,
    exposure_key,
    response_type,
    value,
    amount,
    occurred_at
from cleaned

with

delivered as (
    select
        md5(response_id) as response_key,
        _batch as batch
    from {{ source('marketing', 'responses') }}
),

removed as (
    select
        md5(row_key) as response_key,
        _batch as batch
    from {{ source('raw', 'removed_row') }}
    where table_name = 'responses'
),

touched_exposures as (
    select
        responses.response_key,
        exposures.batch
    from {{ ref('stg_marketing__responses') }} as responses
    inner join {{ ref('int_exposure__touched') }} as exposures on responses.exposure_key = exposures.exposure_key
)

select
    response_key,
    batch
from delivered
union all
select
    response_key,
    batch
from removed
union all
select
    response_key,
    batch
from touched_exposures

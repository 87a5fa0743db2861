with

limits as (
    select * from {{ source('decided', 'decided_limit') }}
)

select
    limit_key,
    limit_kind,
    campaign_key,
    item_key,
    segment_key,
    contact_date,
    allowed,
    used,
    shadow_price,
    plan_id
from limits

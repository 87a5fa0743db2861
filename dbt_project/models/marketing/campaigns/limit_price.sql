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
    channel,
    window_days,
    allowed,
    used,
    shadow_price,
    bound_people,
    total_price,
    plan_id
from limits

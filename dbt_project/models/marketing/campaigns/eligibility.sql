with

pairs as (
    select * from {{ source('decided', 'decided_eligibility') }}
)

select
    campaign_key,
    user_key,
    code,
    reason,
    propensity,
    item_key,
    p_click,
    p_conversion,
    uplift,
    expected_value
from pairs

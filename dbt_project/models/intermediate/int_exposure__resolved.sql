with

exposures as (
    select * from {{ ref('stg_marketing__exposures') }}
),

campaigns as (
    select * from {{ ref('stg_marketing__campaigns') }}
),

placed as (
    select
        exposures.*,
        coalesce(campaigns.target_platform, exposures.platform) as domain
    from exposures
    left join campaigns on exposures.campaign_key = campaigns.campaign_key
)

select
    exposure_key,
    campaign_key,
    account_key,
    {{ item_key('domain', 'item_id') }} as item_key,
    domain,
    item_id,
    platform,
    arm,
    channel,
    propensity,
    shown_at
from placed

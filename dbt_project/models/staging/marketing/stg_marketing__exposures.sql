with

exposures as (
    select * from {{ source('marketing', 'exposures') }}
    where _is_current
),

accounts as (
    select * from {{ source('raw', 'account') }}
),

cleaned as (
    select
        md5(exposures.exposure_id) as exposure_key,
        {{ clean_text('exposures.campaign_id') }} as campaign_key,
        accounts.account_key,
        exposures.platform,
        {{ clean_text('exposures.item_id') }} as item_id,
        exposures.arm,
        {{ lower_code('exposures.channel') }} as channel,
        exposures.propensity,
        exposures.shown_at
    from exposures
    inner join accounts
        on
            exposures.platform = accounts.platform
            and exposures.user_id = accounts.user_id
)

select
    exposure_key,
    campaign_key,
    account_key,
    platform,
    item_id,
    arm,
    channel,
    propensity,
    shown_at
from cleaned

with

campaigns as (
    select * from {{ ref('stg_marketing__campaigns') }}
),

mentions as (
    select campaign_key from {{ ref('int_event__unioned') }}
    where campaign_key is not null
    union
    select campaign_key from {{ ref('stg_marketing__exposures') }}
),

inferred as (
    select
        mentions.campaign_key,
        mentions.campaign_key as name,
        true as is_inferred
    from mentions
    left join campaigns on mentions.campaign_key = campaigns.campaign_key
    where campaigns.campaign_key is null
),

every_campaign as (
    select
        *,
        false as is_inferred
    from campaigns
    union all by name
    select * from inferred
)

select
    campaign_key,
    name,
    kind,
    objective,
    source_platform,
    target_platform,
    channel,
    coalesce(item_ids, cast([] as varchar[])) as item_ids,
    segment,
    status,
    currency,
    is_inferred,
    budget,
    cost_per_exposure,
    value_per_conversion,
    frequency_cap,
    frequency_window_days,
    holdout_share,
    starts_at,
    ends_at,
    changed_at as updated_at
from every_campaign

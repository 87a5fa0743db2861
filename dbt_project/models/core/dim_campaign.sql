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
    select mentions.campaign_key
    from mentions
    left join campaigns on mentions.campaign_key = campaigns.campaign_key
    where campaigns.campaign_key is null
)

-- The two sides share no key, so the full join is their union; unlike a union by name it leaves columns traceable.
select
    coalesce(campaigns.campaign_key, inferred.campaign_key) as campaign_key,
    coalesce(campaigns.name, inferred.campaign_key) as name,
    campaigns.kind,
    campaigns.objective,
    campaigns.source_platform,
    campaigns.target_platform,
    campaigns.channel,
    coalesce(campaigns.item_ids, cast([] as varchar[])) as item_ids,
    coalesce(campaigns.source_item_ids, cast([] as varchar[])) as source_item_ids,
    campaigns.segment,
    campaigns.status,
    campaigns.currency,
    campaigns.campaign_key is null as is_inferred,
    campaigns.budget,
    campaigns.cost_per_exposure,
    campaigns.value_per_conversion,
    campaigns.frequency_cap,
    campaigns.frequency_window_days,
    campaigns.holdout_share,
    campaigns.starts_at,
    campaigns.ends_at,
    campaigns.changed_at as updated_at
from campaigns
full join inferred on campaigns.campaign_key = inferred.campaign_key

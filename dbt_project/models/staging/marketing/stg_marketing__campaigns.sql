with

campaigns as (
    select * from {{ source('marketing', 'campaigns') }}
    where _is_current
),

deliveries as (
    select * from {{ source('raw', 'delivery') }}
),

cleaned as (
    select
        {{ clean_text('campaigns.campaign_id') }} as campaign_key,
        {{ clean_text('campaigns.name') }} as name,
        campaigns.kind,
        {{ clean_text('campaigns.objective') }} as objective,
        campaigns.source_platform,
        campaigns.target_platform,
        {{ lower_code('campaigns.channel') }} as channel,
        coalesce(campaigns.item_ids, cast([] as varchar[])) as item_ids,
        {{ clean_text('campaigns.segment') }} as segment,
        campaigns.status,
        {{ upper_code('campaigns.currency') }} as currency,
        campaigns.budget,
        campaigns.cost_per_exposure,
        campaigns.value_per_conversion,
        campaigns.frequency_cap,
        campaigns.frequency_window_days,
        campaigns.holdout_share,
        campaigns.starts_at,
        campaigns.ends_at,
        coalesce(campaigns.updated_at, deliveries.loaded_at) as changed_at
    from campaigns
    left join deliveries on campaigns._delivery_id = deliveries.delivery_id
)

select
    campaign_key,
    name,
    kind,
    objective,
    source_platform,
    target_platform,
    channel,
    item_ids,
    segment,
    status,
    currency,
    budget,
    cost_per_exposure,
    value_per_conversion,
    frequency_cap,
    frequency_window_days,
    holdout_share,
    starts_at,
    ends_at,
    changed_at
from cleaned

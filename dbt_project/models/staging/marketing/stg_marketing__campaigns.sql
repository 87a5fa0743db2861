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
        campaigns.source_platform || ':' as source_prefix,
        coalesce(campaigns.item_ids, cast([] as varchar[])) as named_ids,
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
    list_filter(named_ids, lambda named_id: not starts_with(named_id, source_prefix)) as item_ids,
    list_transform(
        list_filter(named_ids, lambda named_id: starts_with(named_id, source_prefix)),
        lambda named_id: substr(named_id, length(source_prefix) + 1)
    ) as source_item_ids,
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

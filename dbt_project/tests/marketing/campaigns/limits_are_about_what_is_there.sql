{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'limit_price'}}}) }}

with

limits as (
    select
        limit_id,
        limit_kind,
        item_key,
        segment_key
    from {{ ref('campaign_limits') }}
    where
        limit_kind in ('stock', 'minimum_reach')
        and is_active
),

planned as (
    select
        limit_kind,
        item_key,
        segment_key
    from {{ ref('limit_price') }}
)

select
    limits.limit_id,
    limits.limit_kind,
    limits.item_key,
    limits.segment_key
from limits
left join planned
    on
        limits.limit_kind = planned.limit_kind
        and coalesce(limits.item_key, limits.segment_key) = coalesce(planned.item_key, planned.segment_key)
where planned.limit_kind is null

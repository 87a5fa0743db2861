{{ config(meta={'dagster': {'ref': {'name': 'limit_price'}}}) }}

select
    limit_kind,
    campaign_key,
    item_key,
    contact_date,
    allowed,
    used
from {{ ref('limit_price') }}
where
    limit_kind in ('budget', 'day_budget', 'total_budget', 'stock')
    and used > allowed + 1e-6 * greatest(1, allowed)

{{ config(meta={'dagster': {'ref': {'name': 'user_item'}}}) }}

select
    recommended.user_key,
    recommended.target_domain,
    recommended.item_key
from {{ ref('user_item') }} as recommended
inner join {{ ref('dim_item') }} as items on recommended.item_key = items.item_key
where recommended.target_domain != items.domain

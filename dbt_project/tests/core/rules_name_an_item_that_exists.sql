{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'dim_item'}}}) }}

{#- An active rule about an item that is not known changes nothing; it may be a slip, or the item may have left. -#}
select
    rules.rule_id,
    rules.item_id
from {{ ref('recommendation_rules') }} as rules
left join {{ ref('dim_item') }} as items
    on
        (rules.item_id = items.item_id or rules.item_id = items.item_key)
        and (rules.target_domain is null or rules.target_domain = items.domain)
where
    rules.is_active
    and rules.item_id is not null
    and items.item_key is null

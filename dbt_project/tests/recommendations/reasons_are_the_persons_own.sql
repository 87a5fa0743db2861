{{ config(meta={'dagster': {'ref': {'name': 'user_item'}}}) }}

{#- An item that a reason names is one that the person has had to do with. -#}
with reasons as (
    select
        user_key,
        target_domain,
        rank,
        unnest([reason_item_key, reason_item_key_2, reason_item_key_3]) as reason_item_key
    from {{ ref('user_item') }}
)

select reasons.*
from reasons
left join {{ ref('user_item_preference') }} as preferences
    on
        reasons.user_key = preferences.user_key
        and reasons.reason_item_key = preferences.item_key
where
    reasons.reason_item_key is not null
    and preferences.item_key is null

{{ config(meta={'dagster': {'ref': {'name': 'user_item'}}}) }}

{#- Whoever has an item left on a side, among those that anybody has had to do with, has a list for it. -#}
with preferences as (
    select * from {{ ref('user_item_preference') }}
),

offers as (
    select
        domain,
        count(distinct item_key) as items
    from preferences
    group by domain
),

taken as (
    select
        user_key,
        domain,
        count(*) as items
    from preferences
    where is_consumed
    group by
        user_key,
        domain
),

lists as (
    select distinct
        user_key,
        target_domain
    from {{ ref('user_item') }}
)

select
    users.user_key,
    offers.domain as target_domain
from {{ ref('dim_user') }} as users
cross join offers
left join taken
    on
        users.user_key = taken.user_key
        and offers.domain = taken.domain
left join lists
    on
        users.user_key = lists.user_key
        and offers.domain = lists.target_domain
where
    lists.user_key is null
    and coalesce(taken.items, 0) < offers.items

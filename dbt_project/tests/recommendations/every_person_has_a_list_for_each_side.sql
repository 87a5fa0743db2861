{{ config(meta={'dagster': {'ref': {'name': 'user_item'}}}) }}

{#-
    Whoever has an item left on a side has a list for it. An exclusion may empty a list, which is for the check of rules to say.
-#}
with preferences as (
    select * from {{ ref('user_item_preference') }}
),

exclusions as (
    select count(*) as rules
    from {{ ref('recommendation_rules') }}
    where
        is_active
        and action = 'exclude'
),

offers as (
    select
        domain,
        count(*) as items
    from {{ ref('dim_item') }}
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
cross join exclusions
left join taken
    on
        users.user_key = taken.user_key
        and offers.domain = taken.domain
left join lists
    on
        users.user_key = lists.user_key
        and offers.domain = lists.target_domain
where
    exclusions.rules = 0
    and lists.user_key is null
    and coalesce(taken.items, 0) < offers.items

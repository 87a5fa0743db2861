{{ config(meta={'dagster': {'ref': {'name': 'user_mixed'}}}) }}

{#-
    A mixed list holds at least the share of the other side that the rules ask for, unless all of that side's list is in it.
    Which side is the other is judged from the history, not from the table.
-#}
with histories as (
    select
        user_key,
        count(*) filter (where domain = 'film') > count(*) filter (where domain = 'knowledge') as prefers_film
    from {{ ref('user_item_preference') }}
    where may_be_personalised
    group by user_key
),

asked as (
    select
        mixed.user_key,
        case when histories.prefers_film then 'knowledge' else 'film' end as other_domain,
        mixed.target_domain
    from {{ ref('user_mixed') }} as mixed
    left join histories on mixed.user_key = histories.user_key
),

counted as (
    select
        user_key,
        other_domain,
        count(*) as places,
        count(*) filter (where target_domain = other_domain) as other_places
    from asked
    group by
        user_key,
        other_domain
),

rules as (
    select
        target_domain,
        number
    from {{ ref('recommendation_rules') }}
    where
        action = 'min_share'
        and is_active
),

lists as (
    select
        user_key,
        target_domain,
        count(*) as available
    from {{ ref('user_item') }}
    group by
        user_key,
        target_domain
)

select
    counted.user_key,
    counted.places,
    counted.other_places,
    lists.available
from counted
inner join lists
    on
        counted.user_key = lists.user_key
        and counted.other_domain = lists.target_domain
where
    counted.other_places < lists.available
    and counted.other_places < counted.places * (
        select coalesce(max(rules.number), 0.3)
        from rules
        where rules.target_domain is null or rules.target_domain = counted.other_domain
    ) - 0.000001

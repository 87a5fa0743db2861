{#-
    Who has no list for a side that has items: because nothing is left for them, or because none of its items was there yet as
    of an earlier moment. That may be right, so it warns, with the number of them; no list is empty without its being said.
-#}
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'user_item'}}}) }}

with domains as (
    select distinct domain
    from {{ ref('dim_item') }}
),

lists as (
    select distinct
        user_key,
        target_domain
    from {{ ref('user_item') }}
)

select
    users.user_key,
    domains.domain as target_domain
from {{ ref('dim_user') }} as users
cross join domains
left join lists
    on
        users.user_key = lists.user_key
        and domains.domain = lists.target_domain
where lists.user_key is null

{#- Everyone who may be served has a list for every domain that has items to recommend. -#}
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

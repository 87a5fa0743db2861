with

accounts as (
    select * from {{ ref('int_account__joined') }}
),

links as (
    select * from {{ ref('stg_identity__account_links') }}
),

parted_links as (
    select
        knowledge_accounts.user_key as knowledge_user_key,
        film_accounts.user_key as film_user_key
    from links
    inner join accounts as knowledge_accounts on links.knowledge_account_key = knowledge_accounts.account_key
    inner join accounts as film_accounts on links.film_account_key = film_accounts.account_key
    where knowledge_accounts.user_key != film_accounts.user_key
),

-- The linter (sqlfluff 4.4) cannot read `using key`, where the edges are used.
edges as ( -- noqa: ST03
    select
        knowledge_user_key as node,
        film_user_key as neighbour
    from parted_links
    union all
    select
        film_user_key as node,
        knowledge_user_key as neighbour
    from parted_links
),

parts as (
    select * from {{ connected_components('edges') }} -- noqa: PRS
)

select
    accounts.account_key,
    accounts.platform,
    coalesce(others.node, accounts.user_key) as user_key
from accounts
left join parts as own on accounts.user_key = own.node
left join parts as others on own.label = others.label

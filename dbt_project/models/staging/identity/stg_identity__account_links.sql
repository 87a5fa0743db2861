with

links as (
    select * from {{ source('identity', 'account_links') }}
    where _is_current
),

accounts as (
    select * from {{ source('raw', 'account') }}
),

keyed as (
    select
        knowledge_accounts.account_key as knowledge_account_key,
        film_accounts.account_key as film_account_key,
        links.method,
        links.linked_at
    from links
    inner join accounts as knowledge_accounts
        on
            links.knowledge_user_id = knowledge_accounts.user_id
            and knowledge_accounts.platform = 'knowledge'
    inner join accounts as film_accounts
        on
            links.film_user_id = film_accounts.user_id
            and film_accounts.platform = 'film'
)

select
    knowledge_account_key,
    film_account_key,
    method,
    linked_at
from keyed

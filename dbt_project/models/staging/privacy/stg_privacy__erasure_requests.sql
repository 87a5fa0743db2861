with

requests as (
    select * from {{ source('privacy', 'erasure_requests') }}
    where _is_current
),

accounts as (
    select * from {{ source('raw', 'account') }}
),

keyed as (
    select
        accounts.account_key,
        requests.platform,
        requests.requested_at
    from requests
    inner join accounts
        on
            requests.platform = accounts.platform
            and requests.user_id = accounts.user_id
)

select
    account_key,
    platform,
    requested_at
from keyed

with

accounts as (
    select * from {{ ref('int_account__all_linked') }}
),

choices as (
    select * from {{ ref('int_account__choice') }}
),

requests as (
    select * from {{ ref('stg_privacy__erasure_requests') }}
),

refusing_accounts as (
    select account_key
    from choices
    where purpose = 'personalisation' and not granted
    union
    select account_key
    from requests
)

select distinct accounts.user_key
from refusing_accounts
inner join accounts on refusing_accounts.account_key = accounts.account_key

with

runs as (
    select * from {{ source('raw', 'run') }}
),

accounts as (
    select * from {{ ref('int_account__joined') }}
),

choices as (
    select choices.*
    from {{ ref('stg_privacy__consents') }} as choices
    cross join runs
    where
        choices.purpose = 'personalisation'
        and choices.changed_at <= runs.as_of
),

requests as (
    select requests.*
    from {{ ref('stg_privacy__erasure_requests') }} as requests
    cross join runs
    where requests.requested_at <= runs.as_of
),

refusing_accounts as (
    select account_key
    from choices
    group by account_key
    having not arg_max(granted, changed_at)
    union
    select account_key
    from requests
)

select distinct accounts.user_key
from refusing_accounts
inner join accounts on refusing_accounts.account_key = accounts.account_key

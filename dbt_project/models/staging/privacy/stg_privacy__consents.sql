with

consents as (
    select * from {{ source('privacy', 'consents') }}
    where _is_current
),

accounts as (
    select * from {{ source('raw', 'account') }}
),

keyed as (
    select
        accounts.account_key,
        consents.platform,
        consents.purpose,
        consents.granted,
        consents.changed_at
    from consents
    inner join accounts
        on
            consents.platform = accounts.platform
            and consents.user_id = accounts.user_id
)

select
    account_key,
    platform,
    purpose,
    granted,
    changed_at
from keyed

with

consents as (
    select * from {{ ref('stg_privacy__consents') }}
)

select
    account_key,
    purpose,
    arg_max(granted, changed_at) as granted,
    max(changed_at) as changed_at,
    max(changed_at) filter (where granted) as granted_at
from consents
group by account_key, purpose

{{ config(meta={'dagster': {'ref': {'name': 'contact'}}}) }}

with

contacts as (
    select * from {{ source('decided', 'decided_contact') }}
    where
        status = 'handed_over'
        and arm = 'treatment'
),

permitted as (
    select distinct
        user_key,
        platform
    from {{ ref('int_account__contactable') }}
    where is_contactable
)

select
    contacts.contact_key,
    contacts.user_key,
    contacts.platform
from contacts
left join permitted on contacts.user_key = permitted.user_key and contacts.platform = permitted.platform
where permitted.user_key is null

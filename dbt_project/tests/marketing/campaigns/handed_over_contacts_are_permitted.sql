{{ config(meta={'dagster': {'ref': {'name': 'contact'}}}) }}

with

-- Permission is known as of now, so that only what is decided now can be held against it.
contacts as (
    select * from {{ ref('contact') }}
    where
        status = 'handed_over'
        and arm = 'treatment'
        and plan_id in (select plan_id from {{ source('decided', 'decided_plan') }})
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

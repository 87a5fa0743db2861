{{ config(meta={'dagster': {'ref': {'name': 'contact'}}}) }}

with

-- Permission is known as of now, so that only what is decided now can be held against it.
contacts as (
    {{ handed_over_now(arm='treatment') }}
),

waiting as (
    {{ waiting_answers() }}
),

-- Whoever unsubscribes is known before the exposure has arrived.
unsubscribed as (
    select
        user_key,
        platform,
        max(occurred_at) as occurred_at
    from waiting
    where response_type = 'unsubscribe'
    group by user_key, platform
),

permitted as (
    select distinct
        accounts.user_key,
        accounts.platform
    from {{ ref('int_account__contactable') }} as accounts
    left join unsubscribed
        on accounts.user_key = unsubscribed.user_key and accounts.platform = unsubscribed.platform
    where
        accounts.is_contactable
        and (unsubscribed.user_key is null or unsubscribed.occurred_at < accounts.since)
)

select
    contacts.contact_key,
    contacts.user_key,
    contacts.platform
from contacts
left join permitted on contacts.user_key = permitted.user_key and contacts.platform = permitted.platform
where permitted.user_key is null

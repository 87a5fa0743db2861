with

past as (
    select * from {{ source('past', 'past_contact') }}
),

decided as (
    select * from {{ source('decided', 'decided_contact') }}
),

users as (
    select user_key from {{ ref('dim_user') }}
),

-- A plan that is found again has contacts that were handed over already.
present as (
    select decided.*
    from decided
    anti join past on decided.contact_key = past.contact_key
),

contacts as (
    select * from past
    union all by name
    select * from present
)

select
    contacts.contact_key,
    contacts.plan_id,
    contacts.campaign_key,
    users.user_key,
    contacts.item_key,
    contacts.platform,
    contacts.channel,
    contacts.contact_date,
    contacts.not_before,
    contacts.not_after,
    contacts.arm,
    contacts.status,
    contacts.propensity,
    contacts.p_click,
    contacts.p_conversion,
    contacts.uplift,
    contacts.expected_value,
    contacts.cost,
    contacts.currency,
    contacts.is_explored,
    contacts.segment_keys,
    contacts.decided_at,
    contacts.score_share,
    contacts.draw_propensity
from contacts
inner join users on contacts.user_key = users.user_key

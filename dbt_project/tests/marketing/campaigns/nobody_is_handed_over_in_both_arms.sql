{{ config(meta={'dagster': {'ref': {'name': 'contact'}}}) }}

with

-- Accounts that are joined bring two arms together, so that only what is decided now can be held against the plan.
present as (
    {{ handed_over_now() }}
),

before as (
    select
        present.contact_key,
        contacts.arm
    from present
    inner join {{ ref('contact') }} as contacts
        on
            present.campaign_key = contacts.campaign_key
            and present.user_key = contacts.user_key
            and present.plan_id != contacts.plan_id
    where
        contacts.status = 'handed_over'
        and contacts.decided_at <= present.decided_at
    union all
    select
        present.contact_key,
        exposures.arm
    from present
    inner join {{ ref('fct_exposure') }} as exposures
        on
            present.campaign_key = exposures.campaign_key
            and present.user_key = exposures.user_key
    where exposures.shown_at <= present.decided_at
),

settled as (
    select
        contact_key,
        list(distinct arm) as arms
    from before
    group by contact_key
),

mixed as (
    select
        campaign_key,
        user_key
    from present
    group by campaign_key, user_key
    having count(distinct arm) > 1
)

select
    present.campaign_key,
    present.user_key,
    present.arm
from present
left join settled on present.contact_key = settled.contact_key
left join mixed on present.campaign_key = mixed.campaign_key and present.user_key = mixed.user_key
where
    mixed.user_key is not null
    or not list_contains(settled.arms, present.arm)

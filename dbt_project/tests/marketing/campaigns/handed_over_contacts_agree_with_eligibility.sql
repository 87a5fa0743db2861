{{ config(meta={'dagster': {'ref': {'name': 'contact'}}}) }}

with

contacts as (
    {{ handed_over_now() }}
),

pairs as (
    select * from {{ ref('eligibility') }}
)

select
    contacts.contact_key,
    contacts.arm,
    pairs.code
from contacts
left join pairs on contacts.campaign_key = pairs.campaign_key and contacts.user_key = pairs.user_key
where
    pairs.code is null
    or (contacts.arm = 'treatment' and pairs.code != 'eligible')
    or (contacts.arm = 'control' and pairs.code not in ('global_holdout', 'campaign_holdout'))

{{ config(meta={'dagster': {'ref': {'name': 'contact'}}}) }}

with

-- Answers that came after a plan may be of before it, so that only what is decided now can be held against it.
present as (
    {{ handed_over_now(arm='treatment') }}
),

waiting as (
    {{ waiting_answers() }}
),

answers as (
    select
        campaign_key,
        user_key,
        response_type,
        occurred_at
    from {{ ref('fct_response') }}
    union all
    select
        campaign_key,
        user_key,
        response_type,
        occurred_at
    from waiting
)

select
    present.contact_key,
    answers.response_type,
    answers.occurred_at
from present
inner join answers on present.campaign_key = answers.campaign_key and present.user_key = answers.user_key
where
    answers.response_type in ('dismiss', 'conversion')
    and answers.occurred_at <= present.decided_at

with

users as (
    select
        account_key,
        signup_at as seen_at
    from {{ ref('stg_knowledge__users') }}
    union all
    select
        account_key,
        signup_at as seen_at
    from {{ ref('stg_film__users') }}
),

events as (
    select
        account_key,
        occurred_at as seen_at
    from {{ ref('int_event__unioned') }}
),

links as (
    select
        knowledge_account_key as account_key,
        linked_at as seen_at
    from {{ ref('stg_identity__account_links') }}
    union all
    select
        film_account_key as account_key,
        linked_at as seen_at
    from {{ ref('stg_identity__account_links') }}
),

follows as (
    select
        account_key,
        followed_at as seen_at
    from {{ ref('stg_social__follows') }}
    union all
    select
        followed_account_key as account_key,
        followed_at as seen_at
    from {{ ref('stg_social__follows') }}
),

exposures as (
    select
        account_key,
        shown_at as seen_at
    from {{ ref('stg_marketing__exposures') }}
),

privacy_choices as (
    select
        account_key,
        changed_at as seen_at
    from {{ ref('stg_privacy__consents') }}
    union all
    select
        account_key,
        requested_at as seen_at
    from {{ ref('stg_privacy__erasure_requests') }}
),

sightings as (
    select * from users
    union all
    select * from events
    union all
    select * from links
    union all
    select * from follows
    union all
    select * from exposures
    union all
    select * from privacy_choices
)

select
    account_key,
    min(seen_at) as first_seen_at,
    max(seen_at) as last_seen_at
from sightings
group by account_key

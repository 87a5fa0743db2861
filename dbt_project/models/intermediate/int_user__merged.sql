{{ config(materialized='table') }}

with

accounts as (
    select * from {{ ref('int_account__profiled') }}
),

runs as (
    select * from {{ source('raw', 'run') }}
),

people as (
    select
        user_key,
        count(*) as account_count,
        bool_or(platform = 'knowledge') as on_knowledge,
        bool_or(platform = 'film') as on_film,
        bool_and(is_inferred) as is_inferred,
        {{ latest_known('birth_year') }} as birth_year,
        {{ latest_known('gender') }} as gender,
        {{ latest_known('country') }} as country,
        {{ latest_known('region') }} as region,
        {{ latest_known('city') }} as city,
        {{ latest_known('language') }} as language,
        {{ latest_known('device') }} as device,
        coalesce(bool_and(marketing_consent), false) as marketing_consent,
        min(signup_at) as signup_at,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at,
        max(changed_at) as changed_at,
        bool_or(is_parted) as is_parted
    from accounts
    group by user_key
)

select
    people.user_key,
    cast(people.account_count as integer) as account_count,
    people.on_knowledge and people.on_film as is_linked,
    people.on_knowledge,
    people.on_film,
    people.is_inferred,
    people.birth_year // 10 * 10 as birth_decade,
    people.gender,
    people.country,
    people.region,
    people.city,
    people.language,
    people.device,
    people.marketing_consent,
    {{ calendar_day('people.signup_at', 'runs.time_zone') }} as signup_date,
    people.first_seen_at,
    people.last_seen_at,
    coalesce(people.changed_at, runs.as_of) as changed_at,
    people.is_parted
from people
cross join runs

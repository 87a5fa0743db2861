with

people as (
    select * from {{ ref('int_user__merged') }}
),

current_versions as (
    select * from {{ ref('dim_user_history') }}
    where is_current
),

unprofiled as (
    select * from {{ ref('int_user__unprofiled') }}
)

select
    people.user_key,
    people.is_linked,
    people.on_knowledge,
    people.on_film,
    people.is_inferred,
    people.account_count,
    people.birth_decade,
    people.gender,
    people.country,
    people.region,
    people.city,
    people.language,
    people.device,
    people.marketing_consent,
    unprofiled.user_key is null as may_be_personalised,
    people.signup_date,
    people.first_seen_at,
    people.last_seen_at,
    current_versions.valid_from
from people
inner join current_versions on people.user_key = current_versions.user_key
left join unprofiled on people.user_key = unprofiled.user_key

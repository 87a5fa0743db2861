{#-
    Accounts of one platform as that platform describes them: the two platforms deliver the same columns.
    E-mail and phone stop here; whoever must deliver finds the account in the restricted file.
-#}
{% macro staged_users(platform) -%}
with

users as (
    select * from {{ source(platform, 'users') }}
    where _is_current
),

accounts as (
    select * from {{ source('raw', 'account') }}
    where platform = '{{ platform }}'
),

deliveries as (
    select * from {{ source('raw', 'delivery') }}
),

cleaned as (
    select
        accounts.account_key,
        accounts.platform,
        users.birth_year,
        {{ gender_code('users.gender') }} as gender,
        {{ upper_code('users.country') }} as country,
        {{ clean_text('users.region') }} as region,
        {{ clean_text('users.city') }} as city,
        {{ language_code('users.language') }} as language,
        {{ lower_code('users.device') }} as device,
        users.marketing_consent,
        {{ lower_code('users.email') }} as email,
        {{ clean_text('users.phone') }} as phone,
        users.signup_at,
        coalesce(users.updated_at, deliveries.loaded_at) as changed_at
    from users
    inner join accounts on users.user_id = accounts.user_id
    left join deliveries on users._delivery_id = deliveries.delivery_id
)

select
    account_key,
    platform,
    birth_year,
    gender,
    country,
    region,
    city,
    language,
    device,
    marketing_consent,
    email,
    phone,
    signup_at,
    changed_at
from cleaned
{%- endmacro %}

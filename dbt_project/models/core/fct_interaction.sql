{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook=[
            "{{ take_touched('event_key', ref('int_event__touched')) }}",
            "{{ delete_touched('event_key') }}",
        ],
        post_hook="{{ advance_watermark() }}",
    )
}}

with

runs as (
    select * from {{ source('raw', 'run') }}
),

events as (
    select * from {{ ref('int_event__unioned') }}
    {% if is_incremental() %}
        where event_key in (select event_key from {{ touched_keys() }})
    {% endif %}
),

accounts as (
    select * from {{ ref('int_account__joined') }}
),

users as (
    select user_key from {{ ref('dim_user') }}
),

items as (
    select item_key from {{ ref('dim_item') }}
)

select
    events.event_key,
    users.user_key,
    items.item_key,
    events.campaign_key,
    events.domain,
    events.event_type,
    events.device,
    events.region,
    events.currency,
    events.value,
    events.value_normalised,
    events.amount,
    {{ calendar_day('events.occurred_at', 'runs.time_zone') }} as event_date,
    events.occurred_at
from events
inner join accounts on events.account_key = accounts.account_key
inner join users on accounts.user_key = users.user_key
inner join items on events.item_key = items.item_key
cross join runs

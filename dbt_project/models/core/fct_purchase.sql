{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook=[
            "{{ take_touched(
                'user_key',
                ref('int_user__touched'),
                events=ref('int_event__touched'),
                event_columns=['event_key', 'unnest(refund_event_keys)'],
            ) }}",
            "{{ delete_touched('user_key') }}",
        ],
        post_hook="{{ advance_watermark() }}",
    )
}}

with

runs as (
    select * from {{ source('raw', 'run') }}
),

purchases as (
    select * from {{ ref('int_purchase__netted') }}
    {% if is_incremental() %}
        where user_key in (select user_key from {{ touched_keys() }})
    {% endif %}
),

users as (
    select user_key from {{ ref('dim_user') }}
),

items as (
    select item_key from {{ ref('dim_item') }}
)

select
    purchases.event_key,
    users.user_key,
    items.item_key,
    purchases.campaign_key,
    purchases.domain,
    purchases.currency,
    purchases.is_refunded,
    purchases.refund_event_keys,
    purchases.gross_amount,
    purchases.amount,
    {{ calendar_day('purchases.occurred_at', 'runs.time_zone') }} as event_date,
    purchases.occurred_at,
    purchases.refunded_at
from purchases
inner join users on purchases.user_key = users.user_key
inner join items on purchases.item_key = items.item_key
cross join runs

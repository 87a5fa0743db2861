{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook=[
            "{{ take_touched(
                'user_key', ref('int_user__touched'), events=ref('int_event__touched'), event_columns=['event_key']
            ) }}",
            "{{ delete_touched('user_key') }}",
        ],
        post_hook="{{ advance_watermark() }}",
    )
}}

with

ratings as (
    select * from {{ ref('int_rating__latest') }}
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
    users.user_key,
    items.item_key,
    ratings.event_key,
    ratings.domain,
    ratings.rating,
    ratings.rating_normalised,
    ratings.rated_at
from ratings
inner join users on ratings.user_key = users.user_key
inner join items on ratings.item_key = items.item_key

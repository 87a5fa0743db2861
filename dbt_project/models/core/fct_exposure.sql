{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook=[
            "{{ take_touched('exposure_key', ref('int_exposure__touched')) }}",
            "{{ delete_touched('exposure_key') }}",
        ],
        post_hook="{{ advance_watermark() }}",
    )
}}

with

runs as (
    select * from {{ source('raw', 'run') }}
),

exposures as (
    select * from {{ ref('int_exposure__resolved') }}
    {% if is_incremental() %}
        where exposure_key in (select exposure_key from {{ touched_keys() }})
    {% endif %}
),

accounts as (
    select * from {{ ref('int_account__joined') }}
),

users as (
    select user_key from {{ ref('dim_user') }}
),

campaigns as (
    select campaign_key from {{ ref('dim_campaign') }}
),

-- An exposure need not be about an item.
items as (
    select item_key from {{ ref('dim_item') }}
)

select
    exposures.exposure_key,
    campaigns.campaign_key,
    users.user_key,
    items.item_key,
    exposures.platform,
    exposures.arm,
    exposures.channel,
    exposures.propensity,
    {{ calendar_day('exposures.shown_at', 'runs.time_zone') }} as exposure_date,
    exposures.shown_at
from exposures
inner join accounts on exposures.account_key = accounts.account_key
inner join users on accounts.user_key = users.user_key
inner join campaigns on exposures.campaign_key = campaigns.campaign_key
left join items on exposures.item_key = items.item_key
cross join runs

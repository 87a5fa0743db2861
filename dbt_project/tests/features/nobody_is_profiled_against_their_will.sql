{{ config(meta={'dagster': {'ref': {'name': 'user_item_preference'}}}) }}

{#- Features hold nothing of people who may not be profiled but what they have consumed, without weight. -#}
with unprofiled as (
    select * from {{ ref('int_user__unprofiled') }}
)

select
    preferences.user_key,
    preferences.item_key as profiled_by
from {{ ref('user_item_preference') }} as preferences
inner join unprofiled on preferences.user_key = unprofiled.user_key
where
    preferences.may_be_personalised
    or preferences.weight != 0
    or preferences.strength != 0
    or not preferences.is_consumed
union all
select
    interests.user_key,
    interests.topic_key as profiled_by
from {{ ref('user_interest') }} as interests
inner join unprofiled on interests.user_key = unprofiled.user_key

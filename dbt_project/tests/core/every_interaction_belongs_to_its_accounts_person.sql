{{ config(meta={'dagster': {'ref': {'name': 'fct_interaction'}}}) }}

{#- Facts follow the survivor when accounts are joined or parted: no event stays with a former person. -#}
select
    interactions.event_key,
    interactions.user_key,
    accounts.user_key as expected_user_key
from {{ ref('fct_interaction') }} as interactions
inner join {{ ref('int_event__unioned') }} as events on interactions.event_key = events.event_key
inner join {{ ref('int_account__joined') }} as accounts on events.account_key = accounts.account_key
where interactions.user_key != accounts.user_key

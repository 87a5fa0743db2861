{#- A refund without a purchase at or before it is counted nowhere; here it is seen. -#}
{{ config(severity='warn') }}

select
    event_key,
    user_key,
    item_key,
    occurred_at
from {{ ref('int_refund__matched') }}
where purchase_event_key is null

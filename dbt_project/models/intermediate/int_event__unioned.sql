with

knowledge_events as (
    select * from {{ ref('stg_knowledge__events') }}
),

film_events as (
    select * from {{ ref('stg_film__events') }}
),

events as (
    select * from knowledge_events
    union all
    select * from film_events
)

select
    event_key,
    account_key,
    item_key,
    campaign_key,
    domain,
    item_id,
    event_type,
    device,
    region,
    currency,
    value,
    value_normalised,
    amount,
    occurred_at,
    delivery_id,
    row_number_in_file
from events

{#- Events of one platform: the two platforms deliver the same columns but for the name of the item's. -#}
{% macro staged_events(domain, item_column) -%}
with

events as (
    select * from {{ source(domain, 'events') }}
    where _is_current
),

accounts as (
    select * from {{ source('raw', 'account') }}
    where platform = '{{ domain }}'
),

cleaned as (
    select
        {{ event_key("'" ~ domain ~ "'", 'events.event_id') }} as event_key,
        accounts.account_key,
        {{ item_key("'" ~ domain ~ "'", 'events.' ~ item_column) }} as item_key,
        {{ clean_text('events.campaign_id') }} as campaign_key,
        '{{ domain }}' as domain,
        events.{{ item_column }} as item_id,
        events.event_type,
        {{ lower_code('events.device') }} as device,
        {{ clean_text('events.region') }} as region,
        {{ upper_code('events.currency') }} as currency,
        events.value,
        case
            when events.event_type = 'rating' then (events.value - 1) / 4
            when events.event_type = 'progress' then events.value
        end as value_normalised,
        events.amount,
        events.occurred_at,
        events._delivery_id as delivery_id,
        events._row_number as row_number_in_file
    from events
    inner join accounts on events.user_id = accounts.user_id
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
from cleaned
{%- endmacro %}

with

credits as (
    select * from {{ source('film', 'credits') }}
    where _is_current
),

cleaned as (
    select
        {{ item_key("'film'", 'film_id') }} as item_key,
        'film:' || person_id as person_key,
        film_id as item_id,
        {{ clean_text('person_name') }} as person_name,
        role,
        billing_order,
        _delivery_id as delivery_id
    from credits
)

select
    item_key,
    person_key,
    item_id,
    person_name,
    role,
    billing_order,
    delivery_id
from cleaned

with

items as (
    select * from {{ ref('int_item__unioned') }}
)

select
    item_key,
    domain,
    item_id,
    title,
    kind,
    series,
    language,
    currency,
    is_inferred,
    price,
    published_date
from items

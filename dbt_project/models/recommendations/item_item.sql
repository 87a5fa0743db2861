with

scored as (
    select * from {{ source('recommendations', 'scored_item_item') }}
),

items as (
    select
        item_key,
        item_id,
        title
    from {{ ref('dim_item') }}
)

select
    scored.item_key,
    scored.target_domain,
    scored.rank,
    scored.related_item_key,
    items.item_id as related_item_id,
    items.title as related_title,
    scored.score,
    scored.strategy,
    scored.model_version
from scored
inner join items on scored.related_item_key = items.item_key

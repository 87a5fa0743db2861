with

items as (
    select * from {{ ref('dim_item') }}
    where domain = 'knowledge'
),

contents as (
    select * from {{ ref('stg_knowledge__contents') }}
)

select
    items.item_key,
    items.item_id as content_id,
    items.title,
    items.kind,
    contents.summary,
    coalesce(contents.topics, cast([] as varchar[])) as topics,
    coalesce(contents.authors, cast([] as varchar[])) as authors,
    items.series,
    items.language,
    contents.level,
    items.currency,
    items.is_inferred,
    contents.duration_minutes,
    items.price,
    contents.published_at,
    contents.changed_at as updated_at
from items
left join contents on items.item_key = contents.item_key

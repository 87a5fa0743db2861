with

contents as (
    select * from {{ source('knowledge', 'contents') }}
    where _is_current
),

deliveries as (
    select * from {{ source('raw', 'delivery') }}
),

cleaned as (
    select
        {{ item_key("'knowledge'", 'contents.content_id') }} as item_key,
        contents.content_id as item_id,
        {{ clean_text('contents.title') }} as title,
        contents.kind,
        {{ clean_text('contents.summary') }} as summary,
        {{ clean_tags('contents.topics') }} as topics,
        {{ clean_names('contents.authors') }} as authors, -- noqa: PRS
        {{ clean_text('contents.series') }} as series,
        {{ language_code('contents.language') }} as language,
        {{ lower_code('contents.level') }} as level,
        {{ upper_code('contents.currency') }} as currency,
        contents.duration_minutes,
        contents.price,
        contents.published_at,
        coalesce(contents.updated_at, deliveries.loaded_at) as changed_at
    from contents
    left join deliveries on contents._delivery_id = deliveries.delivery_id
)

select
    item_key,
    item_id,
    title,
    kind,
    summary,
    topics,
    authors,
    series,
    language,
    level,
    currency,
    duration_minutes,
    price,
    published_at,
    changed_at
from cleaned

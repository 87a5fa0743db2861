with

contents as (
    select
        item_key,
        topics
    from {{ ref('stg_knowledge__contents') }}
),

films as (
    select
        item_key,
        genres as topics
    from {{ ref('stg_film__films') }}
),

items as (
    select * from contents
    union all
    select * from films
)

select
    item_key,
    unnest(topics) as topic_key,
    1.0 / len(topics) as weight
from items

with

topics as (
    select * from {{ ref('bridge_item_topic') }}
),

items as (
    select * from {{ ref('dim_item') }}
)

select
    topics.topic_key,
    any_value(topics.topic_key) as topic,
    bool_or(items.domain = 'knowledge') as on_knowledge,
    bool_or(items.domain = 'film') as on_film,
    cast(count(*) as integer) as item_count
from topics
inner join items on topics.item_key = items.item_key
group by topics.topic_key

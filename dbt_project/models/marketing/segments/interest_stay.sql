{{ config(materialized='view') }}

with

runs as (
    select * from {{ source('raw', 'run') }}
),

main_topics as (
    select
        user_key,
        topic_key,
        weight
    from {{ ref('user_interest') }}
    qualify row_number() over (
        partition by user_key
        order by weight desc, topic_key asc
    ) = 1
),

inclined as (
    select * from main_topics
    where weight >= {{ var('interest_min_share') }}
),

common_topics as (
    select topic_key
    from inclined
    group by topic_key
    order by
        count(*) desc,
        topic_key asc
    limit {{ var('interest_topics') }}
)

select
    'interest:joined:' || inclined.topic_key as segment_key,
    inclined.user_key,
    runs.as_of as entered_at,
    cast(null as timestamp) as exited_at
from inclined
inner join common_topics on inclined.topic_key = common_topics.topic_key
cross join runs

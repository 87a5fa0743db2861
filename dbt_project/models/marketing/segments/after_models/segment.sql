with

segments as (
    select * from {{ source('tastes', 'known_segment') }}
),

memberships as (
    select * from {{ ref('segment_membership') }}
),

sizes as (
    select
        segment_key,
        count(*) as people
    from memberships
    where is_current
    group by segment_key
)

select
    segments.segment_key,
    segments.family,
    segments.name,
    segments.platform,
    segments.definition,
    cast(coalesce(sizes.people, 0) as integer) as people
from segments
left join sizes on segments.segment_key = sizes.segment_key

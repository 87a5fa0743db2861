with

known_segments as (
    select * from {{ source('tastes', 'known_segment') }}
),

observed_segments as (
    select * from {{ source('tastes', 'observed_segment') }}
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
),

-- Segments that are gone, in which somebody was up to as_of.
past_segments as (
    select observed_segments.*
    from observed_segments
    semi join memberships on observed_segments.segment_key = memberships.segment_key
    anti join known_segments on observed_segments.segment_key = known_segments.segment_key
),

segments as (
    select
        segment_key,
        family,
        name,
        platform,
        definition
    from known_segments
    union all
    select
        segment_key,
        family,
        name,
        platform,
        definition
    from past_segments
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

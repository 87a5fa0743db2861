{{ config(meta={'dagster': {'ref': {'name': 'segment_membership'}}}) }}

with

runs as (
    select * from {{ source('raw', 'run') }}
),

memberships as (
    select * from {{ ref('segment_membership') }}
    where
        is_current
        and segment_key like 'lifecycle:joined:%'
),

activities as (
    select
        activities.user_key,
        'lifecycle:joined:' || activities.lifecycle as segment_key
    from {{ ref('user_activity') }} as activities
    inner join {{ ref('dim_user') }} as users on activities.user_key = users.user_key
    cross join runs
    -- Whoever is seen for the first time after as_of is nobody's member yet.
    where users.first_seen_at <= runs.as_of
)

select
    coalesce(memberships.user_key, activities.user_key) as user_key,
    memberships.segment_key,
    activities.segment_key as expected_segment_key
from memberships
full outer join activities on memberships.user_key = activities.user_key
where memberships.segment_key is distinct from activities.segment_key

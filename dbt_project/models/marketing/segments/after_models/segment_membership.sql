with

memberships as (
    select * from {{ source('tastes', 'known_membership') }}
)

select
    segment_key,
    user_key,
    is_current,
    entered_at,
    exited_at
from memberships

with

compared as (
    select * from {{ source('decided', 'decided_uplift') }}
)

select
    learner,
    plan_id,
    qini,
    qini_low,
    qini_high,
    ahead_of_response,
    ahead_of_response_low,
    ahead_of_response_high,
    is_best,
    is_used,
    reason
from compared

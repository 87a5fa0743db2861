with

past as (
    select * from {{ source('past', 'past_plan') }}
),

decided as (
    select * from {{ source('decided', 'decided_plan') }}
),

-- A plan that is found again is the one that was handed over.
present as (
    select decided.*
    from decided
    anti join past on decided.plan_id = past.plan_id
),

plans as (
    select * from past
    union all by name
    select * from present
)

select
    plan_id,
    as_of,
    first_date,
    last_date,
    handed_until,
    currency,
    campaigns,
    eligible_people,
    candidates,
    contacts,
    contacts_handed_over,
    expected_value,
    cost,
    upper_bound,
    lp_optimum,
    gap,
    method,
    value_source,
    value_reason,
    click_source,
    qini,
    qini_low,
    qini_high,
    qini_of_response
from plans

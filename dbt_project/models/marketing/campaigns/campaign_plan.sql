with

campaigns as (
    select * from {{ source('decided', 'decided_campaign') }}
)

-- Qualified, because the linter (sqlfluff 4.4) takes `overlaps` for an operator.
select
    campaigns.campaign_key,
    campaigns.plan_id,
    campaigns.state,
    campaigns.problem,
    campaigns.competes_with,
    campaigns.first_date,
    campaigns.last_date,
    campaigns.currency,
    campaigns.budget,
    campaigns.spent,
    campaigns.budget_left,
    campaigns.holdout_share,
    campaigns.people_in_segment,
    campaigns.eligible_people,
    campaigns.held_out_people,
    campaigns.candidates,
    campaigns.planned_contacts,
    campaigns.planned_people,
    campaigns.planned_cost,
    campaigns.expected_conversions,
    campaigns.expected_incremental_conversions,
    campaigns.expected_value,
    campaigns.detectable_difference
from campaigns

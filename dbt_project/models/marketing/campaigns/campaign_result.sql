with

runs as (
    select * from {{ source('raw', 'run') }}
),

measured as (
    select * from {{ source('measured', 'measured_result') }}
)

select
    measured.campaign_key,
    measured.name,
    measured.kind,
    measured.channel,
    measured.currency,
    measured.starts_at,
    measured.ends_at,
    measured.people_treatment,
    measured.people_control,
    measured.people_reached,
    measured.people_in_both_arms,
    measured.held_out_people_exposed,
    measured.exposures,
    measured.clicks,
    measured.dismissals,
    measured.unsubscribes,
    measured.conversions,
    measured.click_rate,
    measured.click_rate_low,
    measured.click_rate_high,
    measured.conversion_rate,
    measured.conversion_rate_low,
    measured.conversion_rate_high,
    measured.satisfaction_answers,
    measured.satisfaction,
    measured.satisfaction_low,
    measured.satisfaction_high,
    measured.cost,
    measured.attributed_conversions_last,
    measured.attributed_conversions_linear,
    measured.attributed_conversions_position,
    measured.attributed_revenue,
    measured.lift_conversion,
    measured.lift_conversion_low,
    measured.lift_conversion_high,
    measured.lift_conversion_p_value,
    measured.lift_conversion_p_adjusted,
    measured.lift_conversion_sequential_low,
    measured.lift_conversion_sequential_high,
    measured.incremental_conversions,
    measured.incremental_conversions_low,
    measured.incremental_conversions_high,
    measured.incremental_revenue,
    measured.incremental_revenue_low,
    measured.incremental_revenue_high,
    measured.return_on_cost,
    measured.sample_ratio_p_value,
    measured.sample_ratio_alarm,
    measured.detectable_difference,
    measured.verdict_basis,
    measured.verdict,
    runs.as_of as measured_at
from measured
cross join runs

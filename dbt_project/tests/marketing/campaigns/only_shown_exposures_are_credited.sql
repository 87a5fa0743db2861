{{ config(meta={'dagster': {'ref': {'name': 'attribution'}}}) }}

select
    attributions.conversion_key,
    attributions.exposure_key,
    exposures.arm
from {{ ref('attribution') }} as attributions
inner join {{ ref('fct_exposure') }} as exposures on attributions.exposure_key = exposures.exposure_key
where
    exposures.arm != 'treatment'
    or exposures.user_key != attributions.user_key
    or exposures.shown_at > attributions.converted_at
    or exposures.shown_at < attributions.converted_at - interval 30 day

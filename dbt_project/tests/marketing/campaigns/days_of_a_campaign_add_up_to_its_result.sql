{{ config(meta={'dagster': {'ref': {'name': 'campaign_result'}}}) }}

with

days as (
    select
        campaign_key,
        sum(exposures) as exposures,
        sum(clicks) as clicks,
        sum(cost) as cost
    from {{ ref('campaign_day') }}
    group by campaign_key
)

select
    results.campaign_key,
    results.exposures,
    results.clicks,
    results.cost
from {{ ref('campaign_result') }} as results
left join days on results.campaign_key = days.campaign_key
where
    results.exposures != coalesce(days.exposures, 0)
    or results.clicks != coalesce(days.clicks, 0)
    or abs(results.cost - coalesce(days.cost, 0)) > 1e-6

{{ config(meta={'dagster': {'ref': {'name': 'response_rate'}}}) }}

with

segments as (
    select * from {{ ref('segment') }}
),

campaigns as (
    select * from {{ ref('campaign_result') }}
),

rated as (
    select distinct rates.segment_key as name
    from {{ ref('response_rate') }} as rates
    left join segments on rates.segment_key = segments.segment_key
    where
        rates.segment_key != 'all'
        and segments.segment_key is null
),

compared as (
    select distinct lifts.scope_value as name
    from {{ ref('lift') }} as lifts
    left join campaigns on lifts.scope_value = campaigns.campaign_key
    where
        lifts.scope = 'campaign'
        and campaigns.campaign_key is null
)

select name from rated
union all
select name from compared

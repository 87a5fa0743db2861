{{ config(meta={'dagster': {'ref': {'name': 'response_rate'}}}) }}

with

rated as (
    select distinct segment_key as name from {{ ref('response_rate') }}
    where
        segment_key != 'all'
        and segment_key not in (select segment_key from {{ ref('segment') }})
),

compared as (
    select distinct scope_value as name from {{ ref('lift') }}
    where
        scope = 'campaign'
        and scope_value not in (select campaign_key from {{ ref('campaign_result') }})
)

select name from rated
union all
select name from compared

{{ config(meta={'dagster': {'ref': {'name': 'stg_film__events'}}}) }}

{#- Staging finds the account of every row: none is lost on the way from raw. -#}
with counted as (
    select
        'knowledge events' as subject,
        (select count(*) filter (where _is_current) from {{ source('knowledge', 'events') }}) as raw_count,
        (select count(*) from {{ ref('stg_knowledge__events') }}) as staged_count
    union all
    select
        'film events' as subject,
        (select count(*) filter (where _is_current) from {{ source('film', 'events') }}) as raw_count,
        (select count(*) from {{ ref('stg_film__events') }}) as staged_count
    union all
    select
        'account links' as subject,
        (select count(*) filter (where _is_current) from {{ source('identity', 'account_links') }}) as raw_count,
        (select count(*) from {{ ref('stg_identity__account_links') }}) as staged_count
    union all
    select
        'exposures' as subject,
        (select count(*) filter (where _is_current) from {{ source('marketing', 'exposures') }}) as raw_count,
        (select count(*) from {{ ref('stg_marketing__exposures') }}) as staged_count
)

select * from counted
where raw_count != staged_count

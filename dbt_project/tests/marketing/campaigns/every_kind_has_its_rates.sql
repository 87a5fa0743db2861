{{ config(meta={'dagster': {'ref': {'name': 'response_rate'}}}) }}

with

counted as (
    select
        count(distinct kind) as kinds,
        count(*) as row_count
    from {{ ref('response_rate') }}
    where segment_key = 'all'
)

select * from counted
where
    kinds != 4
    or row_count != 16

{{ config(meta={'dagster': {'ref': {'name': 'fct_interaction'}}}) }}

{#- A point-in-time join finds exactly one version of the person for every event. -#}
with matched as (
    select
        interactions.event_key,
        count(versions.user_version_key) as version_count
    from {{ ref('fct_interaction') }} as interactions
    left join {{ ref('dim_user_history') }} as versions
        on
            interactions.user_key = versions.user_key
            and {{ valid_at('versions', 'interactions.occurred_at') }}
    group by interactions.event_key
)

select * from matched
where version_count != 1

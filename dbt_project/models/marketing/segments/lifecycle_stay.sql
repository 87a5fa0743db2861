{{ config(materialized='view') }}

{%- set new = "interval '" ~ var('lifecycle_new_days') ~ " days'" -%}
{%- set active = "interval '" ~ var('lifecycle_active_days') ~ " days'" -%}
{%- set at_risk = "interval '" ~ var('lifecycle_at_risk_days') ~ " days'" %}

with

runs as (
    select * from {{ source('raw', 'run') }}
),

users as (
    select * from {{ ref('dim_user') }}
),

interactions as (
    select * from {{ ref('fct_interaction') }}
    -- To be shown something is not to do something.
    where event_type != 'impression'
),

-- Whole seconds, as in features.user_activity.
actions as (
    select
        interactions.user_key,
        interactions.domain,
        date_trunc('second', interactions.occurred_at) as acted_at
    from interactions
    cross join runs
    where interactions.occurred_at <= runs.as_of
),

sided as (
    select
        domain as platform,
        user_key,
        acted_at
    from actions
    union all
    select
        'joined' as platform,
        user_key,
        acted_at
    from actions
),

-- Since when a person is known: on a platform since the first action there, on both together since the first sighting.
beginnings as (
    select
        sided.platform,
        sided.user_key,
        min(sided.acted_at) as known_at,
        min(sided.acted_at) as first_at
    from sided
    where sided.platform != 'joined'
    group by
        sided.platform,
        sided.user_key
    union all
    select
        'joined' as platform,
        users.user_key,
        date_trunc('second', users.first_seen_at) as known_at,
        min(actions.acted_at) as first_at
    from users
    cross join runs
    left join actions on users.user_key = actions.user_key
    where users.first_seen_at <= runs.as_of
    group by
        users.user_key,
        users.first_seen_at
),

followed as (
    select
        platform,
        user_key,
        acted_at,
        lead(acted_at) over (partition by platform, user_key order by acted_at) as next_at
    from sided
),

-- The last action before each silence that is longer than the active days.
silences as (
    select
        platform,
        user_key,
        acted_at as last_at,
        next_at,
        lag(next_at) over (partition by platform, user_key order by acted_at) as begun_at
    from followed
    where
        next_at is null
        or next_at > acted_at + {{ active }}
),

pieces as (
    select
        platform,
        user_key,
        'new' as state,
        known_at as entered_at,
        known_at + {{ new }} as exited_at
    from beginnings
    union all
    select
        platform,
        user_key,
        'dormant' as state,
        known_at as entered_at,
        first_at as exited_at
    from beginnings
    union all
    select
        silences.platform,
        silences.user_key,
        'active' as state,
        coalesce(silences.begun_at, beginnings.first_at) as entered_at,
        silences.last_at + {{ active }} as exited_at
    from silences
    inner join beginnings
        on
            silences.platform = beginnings.platform
            and silences.user_key = beginnings.user_key
    union all
    select
        platform,
        user_key,
        'at_risk' as state,
        last_at + {{ active }} as entered_at,
        least(last_at + {{ at_risk }}, next_at) as exited_at
    from silences
    union all
    select
        platform,
        user_key,
        'dormant' as state,
        last_at + {{ at_risk }} as entered_at,
        next_at as exited_at
    from silences
),

-- New goes before every other state.
clipped as (
    select
        pieces.platform,
        pieces.user_key,
        pieces.state,
        case
            when pieces.state = 'new' then pieces.entered_at
            else greatest(pieces.entered_at, beginnings.known_at + {{ new }})
        end as entered_at,
        pieces.exited_at
    from pieces
    inner join beginnings
        on
            pieces.platform = beginnings.platform
            and pieces.user_key = beginnings.user_key
)

select
    'lifecycle:' || clipped.platform || ':' || clipped.state as segment_key,
    clipped.user_key,
    clipped.entered_at,
    case when clipped.exited_at <= runs.as_of then clipped.exited_at end as exited_at
from clipped
cross join runs
where
    clipped.entered_at <= runs.as_of
    and (clipped.exited_at is null or clipped.entered_at < clipped.exited_at)

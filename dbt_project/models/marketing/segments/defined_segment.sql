{%- set new = var('lifecycle_new_days') -%}
{%- set active = var('lifecycle_active_days') -%}
{%- set at_risk = var('lifecycle_at_risk_days') -%}
{%- set high = '%g' | format(100 * var('potential_high_share')) -%}
{%- set medium = '%g' | format(100 * var('potential_medium_share')) %}

with

interests as (
    select * from {{ ref('interest_stay') }}
),

classes as (
    select * from {{ ref('value_classes') }}
),

platforms as (
    select
        platforms.platform,
        platforms.place,
        platforms.beginning,
        platforms.action,
        platforms.never
    from (
        values
        ('film', 'on film', 'the first action on film', 'action on film', ''),
        ('knowledge', 'on knowledge', 'the first action on knowledge', 'action on knowledge', ''),
        (
            'joined',
            'over both platforms',
            'the first sighting on either platform',
            'action on either platform',
            ' or there is none'
        )
    ) as platforms (platform, place, beginning, action, never)
),

states as (
    select
        states.state,
        states.name,
        states.definition
    from (
        values
        ('new', 'New', 'Within {{ new }} days of {beginning}.'),
        (
            'active',
            'Active',
            'No longer new, and the last {action} is less than {{ active }} days ago.'
        ),
        (
            'at_risk',
            'At risk',
            'No longer new, and the last {action} is at least {{ active }} and less than {{ at_risk }} days ago.'
        ),
        (
            'dormant',
            'Dormant',
            'No longer new, and the last {action} is at least {{ at_risk }} days ago{never}.'
        )
    ) as states (state, name, definition)
),

lifecycles as (
    select
        'lifecycle:' || platforms.platform || ':' || states.state as segment_key,
        'lifecycle' as family,
        states.name || ' ' || platforms.place as name,
        platforms.platform,
        replace(
            replace(replace(states.definition, '{beginning}', platforms.beginning), '{action}', platforms.action),
            '{never}',
            platforms.never
        ) as definition
    from platforms
    cross join states
),

worths as (
    select
        'value:joined:' || value_class as segment_key,
        'value' as family,
        name,
        'joined' as platform,
        'By the first of the month, has bought and kept something'
        || case when max_recency_days is not null then ' at most ' || max_recency_days || ' days before' else '' end
        || case
            when min_purchases > 0
                then
                    ', with at least '
                    || min_purchases
                    || ' purchase'
                    || case when min_purchases > 1 then 's' else '' end
                    || ' in the {{ var("value_window_days") }} days before'
            else ''
        end
        || case
            when spends_more_than > 0
                then
                    ', and has spent more in them than at least ' || format('{:g}', 100 * spends_more_than)
                    || ' % of the other buyers in the same currency'
            else ''
        end
        || case when priority > 1 then '; is in none of the classes of value before it.' else '.' end as definition
    from classes
),

topics as (
    select distinct
        segment_key,
        substr(segment_key, length('interest:joined:') + 1) as topic
    from interests
),

inclinations as (
    select
        segment_key,
        'interest' as family,
        'Interested in ' || topic as name,
        'joined' as platform,
        'No topic has a larger share in what the person likes than ' || topic || ', which has at least '
        || '{{ "%g" | format(100 * var("interest_min_share")) }} % of it (the {{ var("interest_topics") }} topics '
        || 'of which that is true for most people are segments).' as definition
    from topics
),

chances as (
    select
        'potential:' || sides.platform || ':' || levels.level as segment_key,
        'potential' as family,
        levels.name || ' potential for ' || sides.platform as name,
        sides.platform,
        replace(replace(levels.definition, '{other}', sides.platform), '{own}', sides.own_platform) as definition
    from (
        values
        ('film', 'knowledge'),
        ('knowledge', 'film')
    ) as sides (platform, own_platform)
    cross join (
        values
        (
            'high',
            'High',
            'Likes items of {own} and none of {other}, and has one of the highest scores of all those people '
            || '(at most {{ high }} % of them): how much of each topic they like on {own}, times the share of linked '
            || 'people of that taste who like more of {other} than half of all linked people do, added up.'
        ),
        (
            'medium',
            'Medium',
            'Likes items of {own} and none of {other}, and has one of the next highest scores of potential for '
            || '{other} (at most the next {{ medium }} % of those people).'
        ),
        (
            'low',
            'Low',
            'Likes items of {own} and none of {other}, and has a lower score of potential for {other} than those '
            || 'of high and medium potential.'
        )
    ) as levels (level, name, definition)
),

segments as (
    select * from lifecycles
    union all
    select * from worths
    union all
    select * from inclinations
    union all
    select * from chances
)

select
    segment_key,
    family,
    name,
    platform,
    definition
from segments

{{ config(meta={'dagster': {'ref': {'name': 'segment_membership'}}}) }}

with

stays as (
    select
        memberships.user_key,
        memberships.segment_key,
        memberships.entered_at,
        memberships.exited_at,
        lead(memberships.entered_at) over (
            partition by memberships.user_key, segments.family, segments.platform
            order by memberships.entered_at
        ) as next_entered_at
    from {{ ref('segment_membership') }} as memberships
    inner join {{ ref('segment') }} as segments on memberships.segment_key = segments.segment_key
)

select * from stays
where
    entered_at >= exited_at
    or (next_entered_at is not null and exited_at is null)
    or next_entered_at < exited_at

{{ config(meta={'dagster': {'ref': {'name': 'segment_membership'}}}) }}

{#- Who may not be profiled is in no segment that is made of what people like. -#}
select
    memberships.user_key,
    memberships.segment_key
from {{ ref('segment_membership') }} as memberships
inner join {{ ref('segment') }} as segments on memberships.segment_key = segments.segment_key
inner join {{ ref('int_user__unprofiled') }} as unprofiled on memberships.user_key = unprofiled.user_key
where segments.family in ('interest', 'potential', 'taste')

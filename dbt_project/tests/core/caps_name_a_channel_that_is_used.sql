{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'dim_campaign'}}}) }}

with

caps as (
    select
        limit_id,
        {{ lower_code('channel') }} as channel
    from {{ ref('campaign_limits') }}
    where
        limit_kind = 'contact_cap'
        and is_active
),

used as (
    select channel from {{ ref('dim_campaign') }}
    union
    select channel from {{ ref('fct_exposure') }}
)

select
    caps.limit_id,
    caps.channel
from caps
left join used on caps.channel = used.channel
where
    caps.channel is not null
    and used.channel is null

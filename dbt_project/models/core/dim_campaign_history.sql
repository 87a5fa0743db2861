with

versions as (
    select * from {{ versions_of(ref('snapshot_campaigns'), 'campaign_key') }}
),

dated as (
    select
        versions.* replace (
            case when versions.version_number = 1 then {{ earliest_time() }} else versions.valid_from end as valid_from
        )
    from versions
    inner join {{ ref('stg_marketing__campaigns') }} as campaigns on versions.campaign_key = campaigns.campaign_key
)

select
    md5(campaign_key || '@' || cast(valid_from as varchar)) as campaign_version_key,
    campaign_key,
    cast(version_number as integer) as version_number,
    name,
    kind,
    status,
    segment,
    currency,
    valid_to is null as is_current,
    budget,
    starts_at,
    ends_at,
    valid_from,
    valid_to
from dated

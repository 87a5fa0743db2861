with

delivered as (
    select
        md5(exposure_id) as exposure_key,
        _batch as batch
    from {{ source('marketing', 'exposures') }}
),

removed as (
    select
        md5(row_key) as exposure_key,
        _batch as batch
    from {{ source('raw', 'removed_row') }}
    where table_name = 'exposures'
),

changed_hands as (
    select
        exposures.exposure_key,
        accounts.changed_batch as batch
    from {{ ref('int_exposure__resolved') }} as exposures
    inner join {{ ref('int_account__joined') }} as accounts on exposures.account_key = accounts.account_key
),

campaign_changes as (
    select
        {{ clean_text('campaign_id') }} as campaign_key,
        _batch as batch
    from {{ source('marketing', 'campaigns') }}
    union all
    select
        {{ clean_text('row_key') }} as campaign_key,
        _batch as batch
    from {{ source('raw', 'removed_row') }}
    where table_name = 'campaigns'
),

changed_campaigns as (
    select
        exposures.exposure_key,
        campaign_changes.batch
    from {{ ref('int_exposure__resolved') }} as exposures
    inner join campaign_changes on exposures.campaign_key = campaign_changes.campaign_key
)

select
    exposure_key,
    batch
from delivered
union all
select
    exposure_key,
    batch
from removed
union all
select
    exposure_key,
    batch
from changed_hands
union all
select
    exposure_key,
    batch
from changed_campaigns

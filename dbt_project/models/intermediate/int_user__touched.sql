with

accounts as (
    select * from {{ source('raw', 'account') }}
),

joined as (
    select * from {{ ref('int_account__joined') }}
),

mentions as (
    select
        'knowledge' as platform,
        user_id,
        _batch as batch
    from {{ source('knowledge', 'events') }}
    union all
    select
        'film' as platform,
        user_id,
        _batch as batch
    from {{ source('film', 'events') }}
    union all
    select
        source as platform,
        user_id,
        _batch as batch
    from {{ source('raw', 'removed_row') }}
    where table_name = 'events'
),

owners as (
    select
        joined.user_key,
        mentions.batch
    from mentions
    inner join accounts
        on
            mentions.platform = accounts.platform
            and mentions.user_id = accounts.user_id
    inner join joined on accounts.account_key = joined.account_key
),

regrouped as (
    select
        user_key,
        changed_batch as batch
    from joined
)

select
    user_key,
    batch
from owners
union all
select
    user_key,
    batch
from regrouped

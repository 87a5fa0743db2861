with

delivered as (
    select
        {{ event_key("'knowledge'", 'event_id') }} as event_key,
        _batch as batch
    from {{ source('knowledge', 'events') }}
    union all
    select
        {{ event_key("'film'", 'event_id') }} as event_key,
        _batch as batch
    from {{ source('film', 'events') }}
),

removed as (
    select
        {{ event_key('source', 'row_key') }} as event_key,
        _batch as batch
    from {{ source('raw', 'removed_row') }}
    where table_name = 'events'
),

changed_hands as (
    select
        events.event_key,
        accounts.changed_batch as batch
    from {{ ref('int_event__unioned') }} as events
    inner join {{ ref('int_account__joined') }} as accounts on events.account_key = accounts.account_key
)

select
    event_key,
    batch
from delivered
union all
select
    event_key,
    batch
from removed
union all
select
    event_key,
    batch
from changed_hands

with

accounts as (
    select * from {{ ref('int_account__joined') }}
),

events as (
    select
        accounts.user_key,
        events.*
    from {{ ref('int_event__unioned') }} as events
    inner join accounts on events.account_key = accounts.account_key
    where events.event_type in ('purchase', 'refund')
),

purchases as (
    select
        user_key,
        item_key,
        occurred_at,
        max(event_key) as event_key
    from events
    where event_type = 'purchase'
    group by
        user_key,
        item_key,
        occurred_at
),

refunds as (
    select * from events
    where event_type = 'refund'
)

select
    refunds.event_key,
    refunds.user_key,
    refunds.item_key,
    purchases.event_key as purchase_event_key,
    refunds.currency,
    abs(refunds.amount) as amount,
    refunds.occurred_at
from refunds
asof left join purchases
    on
        refunds.user_key = purchases.user_key
        and refunds.item_key = purchases.item_key
        and refunds.occurred_at >= purchases.occurred_at

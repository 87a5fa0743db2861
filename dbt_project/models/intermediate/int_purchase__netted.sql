with

accounts as (
    select * from {{ ref('int_account__joined') }}
),

purchases as (
    select
        accounts.user_key,
        events.*
    from {{ ref('int_event__unioned') }} as events
    inner join accounts on events.account_key = accounts.account_key
    where events.event_type = 'purchase'
),

matched_refunds as (
    select
        refunds.event_key,
        refunds.purchase_event_key,
        purchases.amount as purchase_amount,
        refunds.occurred_at,
        refunds.amount,
        coalesce(refunds.currency != purchases.currency, false) as is_in_other_currency,
        sum(refunds.amount) over (
            partition by refunds.purchase_event_key
            order by
                refunds.occurred_at,
                refunds.event_key
        ) as amount_so_far
    from {{ ref('int_refund__matched') }} as refunds
    inner join purchases on refunds.purchase_event_key = purchases.event_key
),

judged_refunds as (
    select
        *,
        amount is null
        or is_in_other_currency
        or purchase_amount is null
        or amount_so_far >= purchase_amount as is_full
    from matched_refunds
),

refund_totals as (
    select
        purchase_event_key,
        sum(amount) as amount,
        bool_or(is_full) as is_full,
        min(occurred_at) filter (where is_full) as completed_at,
        list(event_key order by occurred_at, event_key) as event_keys
    from judged_refunds
    group by purchase_event_key
)

select
    purchases.event_key,
    purchases.user_key,
    purchases.item_key,
    purchases.campaign_key,
    purchases.domain,
    purchases.currency,
    coalesce(refund_totals.is_full, false) as is_refunded,
    coalesce(refund_totals.event_keys, cast([] as varchar[])) as refund_event_keys,
    purchases.amount as gross_amount,
    cast(
        case
            when refund_totals.is_full then 0
            else purchases.amount - coalesce(refund_totals.amount, 0)
        end as decimal(18, 4)
    ) as amount,
    purchases.occurred_at,
    refund_totals.completed_at as refunded_at
from purchases
left join refund_totals on purchases.event_key = refund_totals.purchase_event_key

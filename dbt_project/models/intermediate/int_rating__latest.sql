with

accounts as (
    select * from {{ ref('int_account__joined') }}
),

ratings as (
    select
        accounts.user_key,
        events.*
    from {{ ref('int_event__unioned') }} as events
    inner join accounts on events.account_key = accounts.account_key
    where events.event_type = 'rating'
),

ranked as (
    select
        *,
        row_number() over (
            partition by
                user_key,
                item_key
            order by
                occurred_at desc,
                delivery_id desc,
                row_number_in_file desc,
                event_key desc
        ) as recency
    from ratings
)

select
    event_key,
    user_key,
    item_key,
    domain,
    value as rating,
    value_normalised as rating_normalised,
    occurred_at as rated_at
from ranked
where recency = 1

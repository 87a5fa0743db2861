{{ config(meta={'dagster': {'ref': {'name': 'user_item'}}}) }}

{#-
    Consumed means rated, completed, or bought and not refunded, up to as_of. Judged from the facts, not from the features.
-#}
with runs as (
    select * from {{ source('raw', 'run') }}
),

purchases as (
    select * from {{ ref('fct_purchase') }}
),

consumed as (
    select distinct
        interactions.user_key,
        interactions.item_key
    from {{ ref('fct_interaction') }} as interactions
    cross join runs
    left join purchases on interactions.event_key = purchases.event_key
    where
        interactions.occurred_at <= runs.as_of
        and (
            interactions.event_type in ('rating', 'complete')
            or (
                interactions.event_type = 'purchase'
                and (purchases.refunded_at is null or purchases.refunded_at > runs.as_of)
            )
        )
)

select
    recommended.user_key,
    recommended.item_key,
    recommended.rank
from {{ ref('user_item') }} as recommended
inner join consumed
    on
        recommended.user_key = consumed.user_key
        and recommended.item_key = consumed.item_key

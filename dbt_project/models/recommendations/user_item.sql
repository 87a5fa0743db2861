with

runs as (
    select * from {{ source('raw', 'run') }}
),

scored as (
    select * from {{ source('recommendations', 'scored_user_item') }}
),

items as (
    select
        item_key,
        item_id,
        title
    from {{ ref('dim_item') }}
),

templates as (
    select * from {{ ref('reason_templates') }}
)

select
    scored.user_key,
    scored.target_domain,
    scored.rank,
    scored.item_key,
    items.item_id,
    items.title,
    scored.score,
    scored.strategy,
    scored.reason_code,
    case
        when reason_items.title is null then templates.reason_without_item
        else replace(templates.reason, '{item}', reason_items.title)
    end as reason,
    scored.reason_item_key,
    scored.model_version,
    runs.as_of as scored_at
from scored
inner join items on scored.item_key = items.item_key
inner join templates on scored.reason_code = templates.reason_code
left join items as reason_items on scored.reason_item_key = reason_items.item_key
cross join runs

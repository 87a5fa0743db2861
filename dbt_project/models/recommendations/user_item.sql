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

users as (
    select
        user_key,
        country
    from {{ ref('dim_user') }}
),

countries as (
    select * from {{ ref('country_names') }}
),

templates as (
    select * from {{ ref('reason_templates') }}
),

named as (
    select
        scored.*,
        items.item_id,
        items.title,
        -- A region may be written like a country: only the person's own country is called by its name.
        coalesce(countries.name, scored.reason_segment) as english_segment,
        coalesce(countries.name_zh, scored.reason_segment) as chinese_segment,
        {{ known_values(['first_items.title', 'second_items.title', 'third_items.title']) }} as reason_titles,
        -- What speaks against an item can make the shares of what speaks for it add up to more than 1.
        greatest(
            coalesce(scored.reason_share, 0) + coalesce(scored.reason_share_2, 0) + coalesce(scored.reason_share_3, 0),
            1
        ) as named_share
    from scored
    inner join items on scored.item_key = items.item_key
    left join items as first_items on scored.reason_item_key = first_items.item_key
    left join items as second_items on scored.reason_item_key_2 = second_items.item_key
    left join items as third_items on scored.reason_item_key_3 = third_items.item_key
    left join users on scored.user_key = users.user_key
    left join countries
        on
            scored.reason_segment = countries.country
            and users.country = countries.country
),

worded as (
    select
        *,
        case len(reason_titles)
            when 0 then null
            when 1 then reason_titles[1]
            else array_to_string(reason_titles[:-2], ', ') || ' and ' || reason_titles[-1]
        end as english_titles,
        case len(reason_titles)
            when 0 then null
            when 1 then '《' || reason_titles[1] || '》'
            else '《' || array_to_string(reason_titles[:-2], '》《') || '》和《' || reason_titles[-1] || '》'
        end as chinese_titles
    from named
)

select
    worded.user_key,
    worded.target_domain,
    worded.rank,
    worded.item_key,
    worded.item_id,
    worded.title,
    worded.score,
    worded.strategy,
    worded.reason_code,
    {{ reason_sentence(
        'templates.reason',
        'templates.reason_without_item',
        {'items': 'worded.english_titles', 'topics': 'worded.reason_topic', 'segment': 'worded.english_segment'}
    ) }} as reason,
    {{ reason_sentence(
        'templates.reason_zh',
        'templates.reason_without_item_zh',
        {'items': 'worded.chinese_titles', 'topics': 'worded.reason_topic', 'segment': 'worded.chinese_segment'}
    ) }} as reason_zh,
    worded.reason_item_key,
    worded.reason_item_key_2,
    worded.reason_item_key_3,
    worded.reason_topic,
    worded.reason_segment,
    worded.rule,
    worded.reason_share / worded.named_share as reason_share,
    worded.reason_share_2 / worded.named_share as reason_share_2,
    worded.reason_share_3 / worded.named_share as reason_share_3,
    worded.propensity,
    worded.model_version,
    runs.as_of as scored_at
from worded
inner join templates on worded.reason_code = templates.reason_code
cross join runs

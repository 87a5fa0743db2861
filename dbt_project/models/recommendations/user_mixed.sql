{%- set length = var('mixed_list_length', 20) -%}
with

recommended as (
    select * from {{ ref('user_item') }}
),

preferences as (
    select * from {{ ref('user_item_preference') }}
    where may_be_personalised
),

rules as (
    select * from {{ ref('recommendation_rules') }}
    where
        action = 'min_share'
        and is_active
),

histories as (
    select
        user_key,
        count(*) filter (where domain = 'film') as film_items,
        count(*) filter (where domain = 'knowledge') as knowledge_items
    from preferences
    group by user_key
),

-- The platform on which a person has had to do with fewer items; film for whom it is the same.
other_sides as (
    select
        lists.user_key,
        case
            when coalesce(histories.knowledge_items, 0) < coalesce(histories.film_items, 0) then 'knowledge'
            else 'film'
        end as domain
    from (select distinct user_key from recommended) as lists
    left join histories on lists.user_key = histories.user_key
),

shares as (
    select
        domains.domain,
        coalesce(max(rules.number), 0.3) as min_share
    from (select unnest(['film', 'knowledge']) as domain) as domains
    left join rules
        on
            rules.target_domain is null
            or domains.domain = rules.target_domain
    group by domains.domain
),

-- Rounded first, so that 0.55 x 20 is 11 and not a little more.
quotas as (
    select
        domain,
        cast(ceil(round(min_share * {{ length }}, 6)) as integer) as other_places
    from shares
),

sided as (
    select
        recommended.user_key,
        recommended.target_domain,
        recommended.item_key,
        recommended.item_id,
        recommended.title,
        recommended.rank as source_rank,
        recommended.strategy,
        recommended.reason,
        recommended.reason_zh,
        recommended.target_domain = other_sides.domain as is_other_side,
        case
            when recommended.target_domain = other_sides.domain then quotas.other_places
            else {{ length }} - quotas.other_places
        end as places
    from recommended
    inner join other_sides on recommended.user_key = other_sides.user_key
    inner join quotas on other_sides.domain = quotas.domain
    where recommended.rank <= {{ length }}
),

-- Each side is spread evenly over the list; what it has beyond its places fills up where the other side runs short.
spread as (
    select
        *,
        case
            when source_rank <= places then source_rank * {{ length }} / places
            else {{ length }} + source_rank
        end as position
    from sided
),

ranked as (
    select
        *,
        row_number() over (
            partition by user_key
            order by position, is_other_side, source_rank
        ) as rank
    from spread
)

select
    user_key,
    cast(rank as integer) as rank,
    target_domain,
    item_key,
    item_id,
    title,
    strategy,
    reason,
    reason_zh,
    is_other_side,
    source_rank
from ranked
where rank <= {{ length }}

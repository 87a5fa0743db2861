-- Table macros of the publication, for people at a SQL prompt. One statement a macro; `n` counts rows per target domain,
-- `domain` is the side that is recommended from ('film' or 'knowledge'), null for both.

create macro recommend(user_key, n := 10, domain := null) as table
    select
        list.target_domain,
        list.rank,
        list.item_key,
        list.item_id,
        list.title,
        list.score,
        list.strategy,
        list.reason,
        list.reason_zh
    from recommendations.user_item as list
    where
        list.user_key = user_key
        and list.rank <= n
        and (domain is null or list.target_domain = domain)
    order by list.target_domain, list.rank;

create macro "similar"(item_id, n := 10, domain := null) as table
    select
        item.title as of_title,
        related.target_domain,
        related.rank,
        related.related_title as title,
        related.score,
        related.strategy,
        related.related_item_key as item_key
    from recommendations.item_item as related
    inner join core.dim_item as item on related.item_key = item.item_key
    where
        (item.item_id = item_id or item.item_key = item_id)
        and related.rank <= n
        and (domain is null or related.target_domain = domain)
    order by item.item_key, related.target_domain, related.rank;

create macro explain(user_key, item_id) as table
    select
        list.target_domain,
        list.rank,
        list.item_key,
        list.title,
        list.score,
        list.strategy,
        list.reason_code,
        list.reason,
        list.reason_zh,
        first_item.title as past_item,
        list.reason_share as past_share,
        second_item.title as past_item_2,
        list.reason_share_2 as past_share_2,
        third_item.title as past_item_3,
        list.reason_share_3 as past_share_3,
        list.reason_topic as shared_topics,
        list.reason_segment as segment,
        list.rule,
        list.propensity,
        list.model_version
    from recommendations.user_item as list
    left join core.dim_item as first_item on list.reason_item_key = first_item.item_key
    left join core.dim_item as second_item on list.reason_item_key_2 = second_item.item_key
    left join core.dim_item as third_item on list.reason_item_key_3 = third_item.item_key
    where list.user_key = user_key and (list.item_id = item_id or list.item_key = item_id)
    order by list.target_domain;

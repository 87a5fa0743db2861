-- Table macros of the publication, for people at a SQL prompt. One statement a macro; `n` counts rows per target domain,
-- `domain` is the side that is recommended from ('film' or 'knowledge'), null for both.

create macro recommend(user_key, n := 10, domain := null) as table
    select
        list.target_domain,
        list.rank,
        list.item_id,
        list.title,
        list.score,
        list.strategy,
        list.reason,
        list.item_key
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
        list.title,
        list.score,
        list.strategy,
        list.reason_code,
        list.reason,
        list.model_version
    from recommendations.user_item as list
    where list.user_key = user_key and (list.item_id = item_id or list.item_key = item_id)
    order by list.target_domain;

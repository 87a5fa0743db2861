{{ config(meta={'dagster': {'ref': {'name': 'user_item'}}}) }}

{#-
    What is recommended to who may not be profiled comes from a popularity, a rule or exploration, with a reason that names nothing.
    Judged from the choices and requests, not from the features; what stands where is not compared.
-#}
select
    recommended.user_key,
    recommended.target_domain,
    recommended.rank,
    recommended.strategy,
    recommended.reason
from {{ ref('user_item') }} as recommended
inner join {{ ref('int_user__unprofiled') }} as unprofiled on recommended.user_key = unprofiled.user_key
where
    recommended.strategy not in (
        'popularity', 'recent_popularity', 'rising', 'segment_popularity', 'rule', 'exploration'
    )
    or recommended.reason_code not in ('popular', 'popular_now', 'rising_now', 'new_here', 'picked_for_you')
    or recommended.reason_item_key is not null
    or recommended.reason_item_key_2 is not null
    or recommended.reason_item_key_3 is not null
    or recommended.reason_topic is not null
    or recommended.reason_segment is not null

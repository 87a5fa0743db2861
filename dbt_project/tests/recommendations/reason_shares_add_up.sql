{#-
    The shares of the items that a reason names lie between 0 and 1, never increase, add up to at most 1, and stand beside
    an item each. The tolerance is that of single precision.
-#}
with shares as (
    select
        user_key,
        target_domain,
        rank,
        reason_item_key,
        reason_item_key_2,
        reason_item_key_3,
        reason_share,
        reason_share_2,
        reason_share_3,
        coalesce(reason_share, 0) as first_share,
        coalesce(reason_share_2, 0) as second_share,
        coalesce(reason_share_3, 0) as third_share
    from {{ ref('user_item') }}
)

select *
from shares
where
    least(first_share, second_share, third_share) < 0
    or first_share + second_share + third_share > 1.0001
    or first_share < second_share
    or second_share < third_share
    or (reason_item_key is null and first_share > 0)
    or (reason_item_key_2 is null and second_share > 0)
    or (reason_item_key_3 is null and third_share > 0)

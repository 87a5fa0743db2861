{#- What is shown could be shown: its propensity is more than 0 and at most 1. -#}
select
    user_key,
    target_domain,
    rank,
    propensity
from {{ ref('user_item') }}
where
    propensity is null
    or not (propensity > 0 and propensity <= 1)

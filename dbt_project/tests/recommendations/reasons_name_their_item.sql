{#- A sentence never shows an unfilled place, in either language. -#}
select distinct
    reason_code,
    reason,
    reason_zh
from {{ ref('user_item') }}
where regexp_matches(reason || reason_zh, '\{(item|items|topics|segment)\}')

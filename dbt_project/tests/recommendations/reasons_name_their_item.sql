{#- A sentence never shows an unfilled place. -#}
select distinct
    reason_code,
    reason
from {{ ref('user_item') }}
where contains(reason, '{item}')

{#- Nothing is lost: every row that was read was loaded, quarantined or a duplicate. -#}
select
    file,
    rows_read,
    rows_loaded,
    rows_quarantined,
    rows_duplicate
from {{ ref('load_audit') }}
where rows_read != rows_loaded + rows_quarantined + rows_duplicate

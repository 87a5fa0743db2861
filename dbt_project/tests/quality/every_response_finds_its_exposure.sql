{#- A response whose exposure has not arrived is left out of fct_response; here it is seen. -#}
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'waiting_response'}}}) }}

select
    response_key,
    file,
    row_number
from {{ ref('waiting_response') }}

{#- A response whose exposure has not arrived is left out of fct_response; here it is seen. -#}
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'waiting_response'}}}) }}

select * from {{ ref('waiting_response') }}

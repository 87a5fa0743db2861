{#- No key is NULL and at most one state of each key in a snapshot is open. Returns the keys at fault. -#}
{% test one_open_state(model, key) %}

select
    {{ key }},
    count(*) filter (where dbt_valid_to is null) as open_count
from {{ model }}
group by {{ key }}
having
    count(*) filter (where dbt_valid_to is null) > 1
    or {{ key }} is null

{% endtest %}

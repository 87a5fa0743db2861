{#- Every value that is not NULL lies between the bounds, which are allowed. -#}
{% test accepted_range(model, column, at_least=none, at_most=none) %}

select {{ column }}
from {{ model }}
where
    false
    {%- if at_least is not none %}
    or {{ column }} < {{ at_least }}
    {%- endif %}
    {%- if at_most is not none %}
    or {{ column }} > {{ at_most }}
    {%- endif %}

{% endtest %}

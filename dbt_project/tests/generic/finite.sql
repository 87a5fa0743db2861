{#- Every value is a number: neither NULL nor NaN nor infinite. -#}
{% test finite(model, column) %}

select {{ column }}
from {{ model }}
where {{ column }} is null or not isfinite({{ column }})

{% endtest %}

{#- A list of the values that are not NULL, in their order. -#}
{% macro known_values(expressions) -%}
    list_filter([{{ expressions | join(', ') }}], lambda known_value: known_value is not null)
{%- endmacro %}

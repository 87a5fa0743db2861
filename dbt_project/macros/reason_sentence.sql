{#-
    The sentence of a template with its places filled, or the one that asks for nothing where a value that the template asks
    for is NULL.
-#}
{% macro reason_sentence(template, without, places) -%}
    case
        {%- for place, value in places.items() %}
        when contains({{ template }}, '{{ '{' ~ place ~ '}' }}') and {{ value }} is null then {{ without }}
        {%- endfor %}
        else
            {% for _ in places %}replace({% endfor %}{{ template }}
            {%- for place, value in places.items() %}, '{{ '{' ~ place ~ '}' }}', coalesce({{ value }}, '')){% endfor %}
    end
{%- endmacro %}

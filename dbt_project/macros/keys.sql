{#- How durable keys and calendar days are made. -#}

{#- Key of an item: its domain and the platform's id, readable on purpose. -#}
{% macro item_key(domain, item_id) -%}
    {{ domain }} || ':' || {{ item_id }}
{%- endmacro %}

{#- Key of an event: event ids are unique on one platform only. -#}
{% macro event_key(domain, event_id) -%}
    md5({{ domain }} || ':' || {{ event_id }})
{%- endmacro %}

{#- Key of an author: authors have a name and no id. -#}
{% macro author_key(name) -%}
    'knowledge:' || {{ comparable_name(name) }}
{%- endmacro %}

{#- Calendar day of a UTC time in the given time zone. -#}
{% macro calendar_day(moment, time_zone) -%}
    cast(timezone({{ time_zone }}, timezone('UTC', {{ moment }})) as date)
{%- endmacro %}

{#- First moment (naive UTC) of a calendar day in a time zone. -#}
{% macro start_of_day(day, time_zone) -%}
    timezone('UTC', timezone({{ time_zone }}, cast({{ day }} as timestamp)))
{%- endmacro %}

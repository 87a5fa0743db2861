{#- None of the columns holds a NULL. One scan for all of them; returns the columns at fault. -#}
{% test no_nulls(model, columns) %}

with counted as (
    select
        {%- for column in columns %}
        count(*) filter (where {{ column }} is null) as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ model }}
),

listed as (
    {%- for column in columns %}
    select
        '{{ column }}' as column_name,
        {{ column }} as null_count
    from counted
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select * from listed
where null_count > 0

{% endtest %}

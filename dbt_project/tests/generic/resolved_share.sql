{#-
    At least `min_share` of all rows have a key that is found in the other relation. A relationship test passes on a column
    that is all NULL; this one does not.
-#}
{% test resolved_share(model, column, to, field, min_share=1.0) %}

-- With a condition the model is a subquery that has an alias.
with child as (
    select {{ column }} from {{ model }}
),

resolved as (
    select
        count(*) as row_count,
        count(parent.found_key) as resolved_count
    from child
    left join (
        select distinct {{ field }} as found_key
        from {{ to }}
    ) as parent on child.{{ column }} = parent.found_key
)

select * from resolved
where resolved_count < row_count * {{ min_share }}

{% endtest %}

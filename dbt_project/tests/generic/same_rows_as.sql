{#-
    In the given columns the model and the other relation hold the same rows, whatever their order. Rows are compared by
    their number and the sum of their hashes: a table built step by step against the same thing computed at once.
-#}
{% test same_rows_as(model, columns, other) %}

with sides as (
    select
        'model' as side,
        count(*) as row_count,
        sum(cast(hash({{ columns | join(', ') }}) as hugeint)) as content
    from {{ model }}
    union all
    select
        'other' as side,
        count(*) as row_count,
        sum(cast(hash({{ columns | join(', ') }}) as hugeint)) as content
    from {{ other }}
)

select
    max(row_count) filter (where side = 'model') as row_count,
    max(row_count) filter (where side = 'other') as other_row_count
from sides
having
    count(distinct row_count) > 1
    or count(distinct coalesce(content, 0)) > 1

{% endtest %}

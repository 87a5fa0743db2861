{#-
    Within each list the ranks are 1, 2, 3 and so on, each once, and no member is there twice. Returns the lists at fault.
-#}
{% test dense_ranks(model, partition_by, rank, member) %}

select
    {{ partition_by | join(', ') }},
    count(*) as row_count,
    count(distinct {{ rank }}) as rank_count,
    count(distinct {{ member }}) as member_count,
    min({{ rank }}) as first_rank,
    max({{ rank }}) as last_rank
from {{ model }}
group by {{ partition_by | join(', ') }}
having
    count(distinct {{ rank }}) != count(*)
    or count(distinct {{ member }}) != count(*)
    or min({{ rank }}) != 1
    or max({{ rank }}) != count(*)
    {%- for column in partition_by %}
    or {{ column }} is null
    {%- endfor %}

{% endtest %}

with

{% for family in ['lifecycle', 'value', 'interest', 'potential'] -%}
    {{ family }}_stays as (
        select * from {{ ref(family ~ '_stay') }}
    ),

{% endfor -%}

stays as (
    select * from lifecycle_stays
    union all
    select * from value_stays
    union all
    select * from interest_stays
    union all
    select * from potential_stays
)

select
    segment_key,
    user_key,
    entered_at,
    exited_at
from stays

{#-
    Contacts that the present plan hands over, of one arm or of both. What was known and allowed when earlier plans were made may have
    been otherwise, so that only what is decided now can be held against it.
-#}
{% macro handed_over_now(arm=none) -%}
    select *
    from {{ ref('contact') }}
    where
        status = 'handed_over'
        and plan_id in (select decided.plan_id from {{ source('decided', 'decided_plan') }} as decided)
        {%- if arm %}
        and arm = '{{ arm }}'
        {%- endif %}
{%- endmacro %}

{#-
    The versions of each key are half-open intervals that follow one another: none is empty or inverted, each ends where
    the next begins, and exactly one, the last, is open. Returns the versions at fault.
-#}
{% test one_history(model, key, valid_from, valid_to) %}

with followed as (
    select
        {{ key }},
        {{ valid_from }} as starts_at,
        {{ valid_to }} as ends_at,
        lead({{ valid_from }}) over (partition by {{ key }} order by {{ valid_from }}) as next_starts_at
    from {{ model }}
)

select * from followed
where
    starts_at is null
    or ends_at <= starts_at
    or ends_at is distinct from next_starts_at

{% endtest %}

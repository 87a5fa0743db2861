{#- Aggregate: the value that the most recently described account states; accounts that say nothing are passed over. -#}
{% macro latest_known(column) -%}
    arg_max({{ column }}, row(described_at, account_key))
{%- endmacro %}

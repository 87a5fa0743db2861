{#-
    Incremental by delivery: what a run recomputes is decided by which raw rows came, went or changed hands since the table
    was last built, never by the date of an event.

    `meta.watermark` holds, per table, the last load batch that the table has taken in. A model of this kind has

        pre_hook   take_touched(...)       the keys touched since the watermark, into a temporary table
                   delete_touched(key)     and their rows out of the target
        select     ... where key in (select key from touched_keys())      recomputes them from current rows
        post_hook  advance_watermark()

    and `incremental_strategy: append`. dbt runs these hooks and the insert in one transaction, so a run that dies leaves
    both the table and its watermark as they were. The watermark is read from `meta.watermark` and never from the target,
    which the hook has changed by then.

    The watermark belongs to a definition of the table (its SQL and the time zone of its days). When the definition
    changes, the watermark does not count and the next run recomputes every row.
-#}

{% macro create_watermark_table() -%}
    create schema if not exists meta;
    create table if not exists meta.watermark (model varchar, batch bigint, definition varchar);
{%- endmacro %}

{#- Identity of what a table holds, as a SQL expression. -#}
{% macro table_definition() -%}
    (select '{{ local_md5(model.raw_code) }} ' || max(time_zone) from {{ source('raw', 'run') }})
{%- endmacro %}

{#- The last batch taken in, as a number; -1 when nothing counts. A literal, so that it reaches the scans. -#}
{% macro watermark() -%}
    {%- if execute -%}
        {%- set taken -%}
            select coalesce(max(batch), -1) from meta.watermark
            where model = '{{ this.schema }}.{{ this.identifier }}' and definition = {{ table_definition() }}
        {%- endset -%}
        {{- return(run_query(taken).rows[0][0]) -}}
    {%- else -%}
        {{- return(-1) -}}
    {%- endif -%}
{%- endmacro %}

{#- Name of the temporary table of touched keys. -#}
{% macro touched_keys() -%}
    {{ this.identifier }}__touched
{%- endmacro %}

{#-
    Collects the keys touched since the watermark.

    `touched`: relation with the key and `batch`. For a table that is recomputed per person, `events` names the relation of
    touched events: the people who own a row of theirs in the target are touched too, since a corrected event may have left
    them. `event_columns` are the columns of the target that hold event keys (a list-typed column is opened).
-#}
{% macro take_touched(key, touched, events=none, event_columns=[]) -%}
    {%- if is_incremental() -%}
        {%- set since = watermark() -%}
        create or replace temp table {{ touched_keys() }} as
        select {{ key }} from {{ touched }} where batch > {{ since }}
        {%- for column in event_columns %}
        union
        select held.{{ key }}
        from (select {{ key }}, {{ column }} as event_key from {{ this }}) as held
        where held.event_key in (select event_key from {{ events }} where batch > {{ since }})
        {%- endfor %}
        {%- if not event_columns %}
        group by {{ key }}
        {%- endif %}
    {%- endif -%}
{%- endmacro %}

{#- Takes the rows of the touched keys out of the target; all of them when the definition changed. -#}
{% macro delete_touched(key) -%}
    {%- if is_incremental() -%}
        delete from {{ this }}
        {%- if watermark() >= 0 %}
        where {{ key }} in (select {{ key }} from {{ touched_keys() }})
        {%- endif %}
    {%- endif -%}
{%- endmacro %}

{#- Says that the table has taken in every batch up to this run's. -#}
{% macro advance_watermark() -%}
    delete from meta.watermark where model = '{{ this.schema }}.{{ this.identifier }}';
    insert into meta.watermark
    select '{{ this.schema }}.{{ this.identifier }}', batch, {{ table_definition() }} from {{ source('raw', 'run') }}
    {%- if is_incremental() %};
    drop table if exists {{ touched_keys() }}
    {%- endif %}
{%- endmacro %}

{#-
    The batch after the last one that any table has taken in. Who belongs to whom may change without a delivery, when a run looks
    back or no longer does; what is of that batch is seen as touched until a delivery has that number.
-#}
{% macro next_batch() -%}
    (select coalesce(max(batch), -1) + 1 from meta.watermark)
{%- endmacro %}

{#- Accounts that the ledger no longer holds leave `int_account__joined`; the select only sees those it holds. -#}
{% macro forget_missing_accounts() -%}
    {%- if is_incremental() -%}
        delete from {{ this }} where account_key not in (select account_key from {{ source('raw', 'account') }})
    {%- endif -%}
{%- endmacro %}

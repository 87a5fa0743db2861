{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='account_key',
        on_schema_change='append_new_columns',
        pre_hook="{{ forget_missing_accounts() }}",
    )
}}

with

accounts as (
    select
        *,
        row_number() over (order by platform, user_id) as account_number
    from {{ source('raw', 'account') }}
),

runs as (
    select * from {{ source('raw', 'run') }}
),

events as (
    select occurred_at
    from {{ source('knowledge', 'events') }}
    where _is_current
    union all
    select occurred_at
    from {{ source('film', 'events') }}
    where _is_current
),

newest_events as (
    select max(occurred_at) as occurred_at
    from events
),

-- A run that looks back knows no link that was made after it; any other knows all that were delivered.
links as (
    select links.*
    from {{ ref('stg_identity__account_links') }} as links
    cross join runs
    cross join newest_events
    where
        links.linked_at <= runs.as_of
        or coalesce(newest_events.occurred_at <= runs.as_of, true)
),

numbered_links as (
    select
        knowledge_accounts.account_number as knowledge_number,
        film_accounts.account_number as film_number
    from links
    inner join accounts as knowledge_accounts on links.knowledge_account_key = knowledge_accounts.account_key
    inner join accounts as film_accounts on links.film_account_key = film_accounts.account_key
),

-- The linter (sqlfluff 4.4) cannot read `using key`, where the edges are used.
edges as ( -- noqa: ST03
    select
        knowledge_number as node,
        film_number as neighbour
    from numbered_links
    union all
    select
        film_number as node,
        knowledge_number as neighbour
    from numbered_links
),

components as (
    select * from {{ connected_components('edges') }} -- noqa: PRS
),

keyed as (
    select
        accounts.account_key,
        accounts.platform,
        coalesce(smallest.account_key, accounts.account_key) as user_key
    from accounts
    left join components on accounts.account_number = components.node
    left join accounts as smallest on components.label = smallest.account_number
),

{% if is_incremental() %}
    known as (
        select * from {{ this }}
    ),

    changed as (
        select
            keyed.account_key,
            keyed.platform,
            keyed.user_key,
            known.user_key as previous_user_key
        from keyed
        left join known on keyed.account_key = known.account_key
        where known.account_key is null or known.user_key != keyed.user_key
    )
{% else %}
    changed as (
        select
            account_key,
            platform,
            user_key,
            cast(null as varchar) as previous_user_key
        from keyed
    )
{% endif %}

select
    changed.account_key,
    changed.platform,
    changed.user_key,
    changed.previous_user_key,
    {% if is_incremental() -%}
        greatest(runs.batch, {{ next_batch() }}) as changed_batch
    {%- else -%}
        runs.batch as changed_batch
    {%- endif %}
from changed
cross join runs

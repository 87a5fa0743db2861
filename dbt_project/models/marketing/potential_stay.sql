{{ config(materialized='view') }}

with

runs as (
    select * from {{ source('raw', 'run') }}
),

preferences as (
    select * from {{ ref('user_item_preference') }}
    where weight > 0
),

recommended as (
    select * from {{ ref('user_item') }}
    -- What a rule or chance has put there says nothing of the person.
    where rule is null
),

one_sided as (
    select
        user_key,
        case when any_value(domain) = 'film' then 'knowledge' else 'film' end as target_domain
    from preferences
    group by user_key
    having count(distinct domain) = 1
),

best_reasons as (
    select
        user_key,
        target_domain,
        arg_min(reason_code, rank) as reason_code
    from recommended
    group by
        user_key,
        target_domain
)

select
    'potential:' || one_sided.target_domain || ':'
    || case
        when best_reasons.reason_code in (
            {%- for reason in var('personal_reasons') %}
                '{{ reason }}'{{ ',' if not loop.last }}
            {%- endfor %}
        ) then 'personal'
        else 'general'
    end as segment_key,
    one_sided.user_key,
    runs.as_of as entered_at,
    cast(null as timestamp) as exited_at
from one_sided
inner join best_reasons
    on
        one_sided.user_key = best_reasons.user_key
        and one_sided.target_domain = best_reasons.target_domain
cross join runs

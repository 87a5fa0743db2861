with

contents as (
    select * from {{ ref('stg_knowledge__contents') }}
),

films as (
    select * from {{ ref('stg_film__films') }}
),

catalogue as (
    select
        item_key,
        'knowledge' as domain,
        item_id,
        title,
        kind,
        language,
        currency,
        price,
        cast(published_at as date) as published_date
    from contents
    union all
    select
        item_key,
        'film' as domain,
        item_id,
        title,
        kind,
        language,
        currency,
        price,
        make_date(release_year, 1, 1) as published_date
    from films
),

mentions as (
    select
        item_key,
        domain,
        item_id
    from {{ ref('int_event__unioned') }}
    union all
    select
        item_key,
        'film' as domain,
        item_id
    from {{ ref('stg_film__credits') }}
    union all
    select
        item_key,
        domain,
        item_id
    from {{ ref('int_exposure__resolved') }}
    where item_id is not null
),

inferred as (
    select
        mentions.item_key,
        any_value(mentions.domain) as domain,
        any_value(mentions.item_id) as item_id
    from mentions
    left join catalogue on mentions.item_key = catalogue.item_key
    where catalogue.item_key is null
    group by mentions.item_key
),

items as (
    select
        *,
        false as is_inferred
    from catalogue
    union all by name
    select
        *,
        item_id as title,
        true as is_inferred
    from inferred
)

select
    item_key,
    domain,
    item_id,
    title,
    kind,
    language,
    currency,
    is_inferred,
    price,
    published_date
from items

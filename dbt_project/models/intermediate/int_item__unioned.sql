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
        series,
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
        series,
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
)

-- The two sides share no key, so the full join is their union; unlike a union by name it leaves columns traceable.
select
    coalesce(catalogue.item_key, inferred.item_key) as item_key,
    coalesce(catalogue.domain, inferred.domain) as domain,
    coalesce(catalogue.item_id, inferred.item_id) as item_id,
    coalesce(catalogue.title, inferred.item_id) as title,
    catalogue.kind,
    catalogue.series,
    catalogue.language,
    catalogue.currency,
    catalogue.item_key is null as is_inferred,
    catalogue.price,
    catalogue.published_date
from catalogue
full join inferred on catalogue.item_key = inferred.item_key

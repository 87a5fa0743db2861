with

films as (
    select * from {{ source('film', 'films') }}
    where _is_current
),

deliveries as (
    select * from {{ source('raw', 'delivery') }}
),

cleaned as (
    select
        {{ item_key("'film'", 'films.film_id') }} as item_key,
        films.film_id as item_id,
        {{ clean_text('films.title') }} as title,
        films.kind,
        {{ clean_text('films.original_title') }} as original_title,
        {{ clean_text('films.synopsis') }} as synopsis,
        {{ clean_tags('films.genres') }} as genres,
        {{ clean_tags('films.countries') }} as countries,
        {{ clean_text('films.series') }} as series,
        {{ language_code('films.language') }} as language,
        {{ upper_code('films.currency') }} as currency,
        {{ lower_code('films.imdb_id') }} as imdb_id,
        films.release_year,
        films.runtime_minutes,
        films.price,
        coalesce(films.updated_at, deliveries.loaded_at) as changed_at
    from films
    left join deliveries on films._delivery_id = deliveries.delivery_id
)

select
    item_key,
    item_id,
    title,
    kind,
    original_title,
    synopsis,
    genres,
    countries,
    series,
    language,
    currency,
    imdb_id,
    release_year,
    runtime_minutes,
    price,
    changed_at
from cleaned

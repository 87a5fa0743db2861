with

items as (
    select * from {{ ref('dim_item') }}
    where domain = 'film'
),

films as (
    select * from {{ ref('stg_film__films') }}
)

select
    items.item_key,
    items.item_id as film_id,
    items.title,
    items.kind,
    films.original_title,
    films.synopsis,
    coalesce(films.genres, cast([] as varchar[])) as genres,
    coalesce(films.countries, cast([] as varchar[])) as countries,
    items.series,
    items.language,
    films.release_year,
    items.currency,
    films.imdb_id,
    items.is_inferred,
    films.runtime_minutes,
    items.price,
    films.changed_at as updated_at
from items
left join films on items.item_key = films.item_key

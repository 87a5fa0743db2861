{% snapshot snapshot_films %}

    {{
        config(
            unique_key='item_key',
            strategy='check',
            updated_at='changed_at',
            check_cols=[
                'title', 'kind', 'original_title', 'synopsis', 'genres', 'countries', 'series', 'language', 'currency', 'imdb_id',
                'release_year', 'runtime_minutes', 'price',
            ],
            hard_deletes='invalidate',
        )
    }}

    select
        films.item_key,
        films.title,
        films.kind,
        films.original_title,
        films.synopsis,
        films.genres,
        films.countries,
        films.series,
        films.language,
        films.currency,
        films.imdb_id,
        films.release_year,
        films.runtime_minutes,
        films.price,
        films.changed_at,
        runs.batch as recorded_batch
    from {{ ref('stg_film__films') }} as films
    cross join {{ source('raw', 'run') }} as runs

{% endsnapshot %}

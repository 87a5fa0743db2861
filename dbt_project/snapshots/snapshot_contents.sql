{% snapshot snapshot_contents %}

    {{
        config(
            unique_key='item_key',
            strategy='check',
            updated_at='changed_at',
            check_cols=[
                'title', 'kind', 'summary', 'topics', 'authors', 'series', 'language', 'level', 'currency', 'duration_minutes', 'price',
                'published_at',
            ],
            hard_deletes='invalidate',
        )
    }}

    select
        contents.item_key,
        contents.title,
        contents.kind,
        contents.summary,
        contents.topics,
        contents.authors,
        contents.series,
        contents.language,
        contents.level,
        contents.currency,
        contents.duration_minutes,
        contents.price,
        contents.published_at,
        contents.changed_at,
        runs.batch as recorded_batch
    from {{ ref('stg_knowledge__contents') }} as contents
    cross join {{ source('raw', 'run') }} as runs

{% endsnapshot %}

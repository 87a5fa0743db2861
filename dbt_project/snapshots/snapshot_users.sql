{% snapshot snapshot_users %}

    {{
        config(
            unique_key='user_key',
            strategy='check',
            updated_at='changed_at',
            check_cols=[
                'is_linked', 'on_knowledge', 'on_film', 'is_inferred', 'birth_decade', 'gender', 'country', 'region', 'city',
                'language', 'device', 'marketing_consent',
            ],
            hard_deletes='invalidate',
        )
    }}

    select
        people.user_key,
        people.is_linked,
        people.on_knowledge,
        people.on_film,
        people.is_inferred,
        people.birth_decade,
        people.gender,
        people.country,
        people.region,
        people.city,
        people.language,
        people.device,
        people.marketing_consent,
        people.changed_at,
        runs.batch as recorded_batch
    from {{ ref('int_user__merged') }} as people
    cross join {{ source('raw', 'run') }} as runs

{% endsnapshot %}

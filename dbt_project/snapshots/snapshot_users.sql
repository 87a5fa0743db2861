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

    {%- set columns -%}
        user_key, is_linked, on_knowledge, on_film, is_inferred, birth_decade, gender, country, region, city,
        language, device, marketing_consent, changed_at
    {%- endset %}

    with people as (
        select * from {{ ref('int_user__merged') }}
    )

    select
        {{ columns }},
        runs.batch as recorded_batch
    from people
    cross join {{ source('raw', 'run') }} as runs
    where not people.is_parted
    {%- if execute and load_relation(this) %}
        -- Who is taken apart in looking back stays recorded as before.
        union all
        select
            {{ columns }},
            recorded_batch
        from {{ this }}
        where
            dbt_valid_to is null
            and user_key in (select people.user_key from people where people.is_parted)
    {%- endif %}

{% endsnapshot %}

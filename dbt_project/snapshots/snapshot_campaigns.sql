{% snapshot snapshot_campaigns %}

    {{
        config(
            unique_key='campaign_key',
            strategy='check',
            updated_at='changed_at',
            check_cols=[
                'name', 'kind', 'objective', 'source_platform', 'target_platform', 'channel', 'item_ids', 'segment', 'status',
                'currency', 'budget', 'cost_per_exposure', 'value_per_conversion', 'frequency_cap', 'frequency_window_days',
                'holdout_share', 'starts_at', 'ends_at',
            ],
            hard_deletes='invalidate',
        )
    }}

    with campaigns as (
        select
            * replace (
                -- As they are delivered: no state is new because a column is.
                list_transform(source_item_ids, lambda item_id: source_platform || ':' || item_id)
                || item_ids as item_ids
            )
        from {{ ref('stg_marketing__campaigns') }}
    )

    select
        campaigns.campaign_key,
        campaigns.name,
        campaigns.kind,
        campaigns.objective,
        campaigns.source_platform,
        campaigns.target_platform,
        campaigns.channel,
        campaigns.item_ids,
        campaigns.segment,
        campaigns.status,
        campaigns.currency,
        campaigns.budget,
        campaigns.cost_per_exposure,
        campaigns.value_per_conversion,
        campaigns.frequency_cap,
        campaigns.frequency_window_days,
        campaigns.holdout_share,
        campaigns.starts_at,
        campaigns.ends_at,
        campaigns.changed_at,
        runs.batch as recorded_batch
    from campaigns
    cross join {{ source('raw', 'run') }} as runs

{% endsnapshot %}

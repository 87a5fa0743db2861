with

deliveries as (
    select * from {{ source('raw', 'delivery') }}
    where is_current
),

ranked as (
    select
        *,
        row_number() over (
            partition by file
            order by
                status = 'loaded' desc,
                delivery_id desc
        ) as precedence,
        max(delivery_id) filter (where status = 'refused') over (partition by file) as refused_delivery_id
    from deliveries
)

select
    delivery_id,
    source,
    table_name,
    {{ masked_path('file') }} as file,
    status,
    status = 'loaded' and refused_delivery_id is not null as is_newer_refused,
    unknown_columns,
    missing_columns,
    rows_read,
    rows_loaded,
    rows_quarantined,
    rows_duplicate,
    loaded_at
from ranked
where precedence = 1

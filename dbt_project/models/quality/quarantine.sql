with

deliveries as (
    select * from {{ source('raw', 'delivery') }}
    where is_current
),

refusals as (
    select * from {{ source('raw', 'quarantine') }}
)

select
    refusals.delivery_id,
    refusals.source,
    refusals.table_name,
    {{ masked_path('refusals.file') }} as file,
    refusals.row_number,
    refusals.column_name,
    refusals.reason,
    refusals.raw,
    deliveries.loaded_at
from refusals
inner join deliveries on refusals.delivery_id = deliveries.delivery_id

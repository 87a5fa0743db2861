select
    item_key,
    sum(weight) as weight
from {{ ref('bridge_item_topic') }}
group by item_key
having abs(sum(weight) - 1) > 1e-6

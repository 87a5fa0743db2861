select
    user_key,
    sum(weight) as weight
from {{ ref('user_interest') }}
group by user_key
having abs(sum(weight) - 1) > 1e-6

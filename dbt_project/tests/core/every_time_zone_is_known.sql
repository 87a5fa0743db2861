{#- The engine refuses a time in a zone that it does not know; better here than in the middle of a plan. -#}
select zones.time_zone
from {{ ref('country_time_zones') }} as zones
left join pg_timezone_names() as known on zones.time_zone = known.name
where known.name is null

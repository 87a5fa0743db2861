with

people as (
    select * from {{ ref('int_user__merged') }}
),

runs as (
    select * from {{ source('raw', 'run') }}
),

parted as (
    select * exclude (account_count, signup_date, first_seen_at, last_seen_at, is_parted)
    from people
    where is_parted
),

-- Who is taken apart in looking back is not recorded; here the present state follows what is.
states as (
    select * from {{ ref('snapshot_users') }}
    union all by name
    select
        parted.*,
        parted.changed_at as dbt_valid_from,
        runs.batch + 1 as recorded_batch
    from parted
    cross join runs
),

versions as (
    select * from {{ versions_of('states', 'user_key') }}
),

dated as (
    select
        versions.*,
        case
            when versions.version_number = 1 then least(versions.valid_from, people.first_seen_at)
            else versions.valid_from
        end as starts_at
    from versions
    inner join people on versions.user_key = people.user_key
)

select
    md5(user_key || '@' || cast(starts_at as varchar)) as user_version_key,
    user_key,
    cast(version_number as integer) as version_number,
    is_linked,
    on_knowledge,
    on_film,
    is_inferred,
    birth_decade,
    gender,
    country,
    region,
    city,
    language,
    device,
    marketing_consent,
    valid_to is null as is_current,
    starts_at as valid_from,
    valid_to
from dated

with

content_versions as (
    select * from {{ versions_of(ref('snapshot_contents'), 'item_key') }}
),

film_versions as (
    select * from {{ versions_of(ref('snapshot_films'), 'item_key') }}
),

versions as (
    select
        item_key,
        version_number,
        title,
        kind,
        topics as tags,
        series,
        language,
        currency,
        price,
        valid_from,
        valid_to
    from content_versions
    union all
    select
        item_key,
        version_number,
        title,
        kind,
        genres as tags,
        series,
        language,
        currency,
        price,
        valid_from,
        valid_to
    from film_versions
),

dated as (
    select
        versions.* replace (
            case when versions.version_number = 1 then {{ earliest_time() }} else versions.valid_from end as valid_from
        ),
        items.domain
    from versions
    inner join {{ ref('dim_item') }} as items
        on
            versions.item_key = items.item_key
            and not items.is_inferred
)

select
    md5(item_key || '@' || cast(valid_from as varchar)) as item_version_key,
    item_key,
    cast(version_number as integer) as version_number,
    domain,
    title,
    kind,
    tags,
    series,
    language,
    currency,
    valid_to is null as is_current,
    price,
    valid_from,
    valid_to
from dated

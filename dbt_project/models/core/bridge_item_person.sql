with

credits as (
    select * from {{ ref('stg_film__credits') }}
),

contents as (
    select * from {{ ref('stg_knowledge__contents') }}
),

author_places as (
    select
        item_key,
        unnest(authors) as author_name,
        generate_subscripts(authors, 1) as billing_order
    from contents
),

authorships as (
    select
        item_key,
        {{ author_key('author_name') }} as person_key,
        'author' as role,
        min(billing_order) as billing_order
    from author_places
    group by
        item_key,
        person_key
),

roles as (
    select
        item_key,
        person_key,
        role,
        billing_order
    from credits
    union all
    select * from authorships
)

select
    item_key,
    person_key,
    role,
    cast(billing_order as integer) as billing_order
from roles

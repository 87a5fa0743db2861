with

credits as (
    select * from {{ ref('stg_film__credits') }}
),

contents as (
    select * from {{ ref('stg_knowledge__contents') }}
),

film_people as (
    select
        person_key,
        arg_max(person_name, row(delivery_id, person_name)) as person_name,
        'film' as domain,
        count(distinct item_key) as item_count
    from credits
    group by person_key
),

author_names as (
    select
        item_key,
        unnest(authors) as author_name
    from contents
),

authors as (
    select
        {{ author_key('author_name') }} as person_key,
        max(author_name) as person_name,
        'knowledge' as domain,
        count(distinct item_key) as item_count
    from author_names
    group by person_key
),

people as (
    select * from film_people
    union all
    select * from authors
)

select
    person_key,
    person_name,
    domain,
    cast(item_count as integer) as item_count
from people

with

accounts as (
    select * from {{ ref('int_account__joined') }}
),

sightings as (
    select * from {{ ref('int_account__seen') }}
),

users as (
    select * from {{ ref('stg_knowledge__users') }}
    union all
    select * from {{ ref('stg_film__users') }}
),

links as (
    select * from {{ ref('stg_identity__account_links') }}
),

consents as (
    select * from {{ ref('int_account__choice') }}
    where purpose = 'marketing'
),

last_links as (
    select
        account_key,
        max(linked_at) as linked_at
    from (
        select
            knowledge_account_key as account_key,
            linked_at
        from links
        union all
        select
            film_account_key as account_key,
            linked_at
        from links
    ) as linked_accounts
    group by account_key
),

parted as (
    select account_key
    from {{ ref('int_account__all_linked') }}
    group by account_key
    having count(*) > 1
),

changes as (
    select
        accounts.account_key,
        greatest(users.changed_at, consents.changed_at, last_links.linked_at, sightings.first_seen_at) as changed_at
    from accounts
    inner join sightings on accounts.account_key = sightings.account_key
    left join users on accounts.account_key = users.account_key
    left join consents on accounts.account_key = consents.account_key
    left join last_links on accounts.account_key = last_links.account_key
)

select
    accounts.account_key,
    accounts.user_key,
    accounts.platform,
    users.account_key is null as is_inferred,
    users.birth_year,
    users.gender,
    users.country,
    users.region,
    users.city,
    users.language,
    users.device,
    coalesce(consents.granted, users.marketing_consent) as marketing_consent,
    users.signup_at,
    sightings.first_seen_at,
    sightings.last_seen_at,
    users.changed_at as described_at,
    changes.changed_at,
    parted.account_key is not null as is_parted
from accounts
inner join sightings on accounts.account_key = sightings.account_key
inner join changes on accounts.account_key = changes.account_key
left join parted on accounts.account_key = parted.account_key
left join users on accounts.account_key = users.account_key
left join consents on accounts.account_key = consents.account_key

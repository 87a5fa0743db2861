with

runs as (
    select * from {{ source('raw', 'run') }}
),

accounts as (
    select * from {{ ref('int_account__joined') }}
),

all_linked as (
    select * from {{ ref('int_account__all_linked') }}
),

people as (
    select * from {{ ref('int_user__merged') }}
),

users as (
    select * from {{ ref('stg_knowledge__users') }}
    union all
    select * from {{ ref('stg_film__users') }}
),

time_zones as (
    select * from {{ ref('country_time_zones') }}
),

consents as (
    select * from {{ ref('int_account__choice') }}
    where purpose = 'marketing'
),

requests as (
    select * from {{ ref('stg_privacy__erasure_requests') }}
),

responses as (
    select * from {{ ref('stg_marketing__responses') }}
    where response_type = 'unsubscribe'
),

exposures as (
    select * from {{ ref('stg_marketing__exposures') }}
),

-- Whoever asks for erasure on one platform is left alone on both.
erasures as (
    select
        all_linked.user_key,
        min(requests.requested_at) as requested_at
    from requests
    inner join all_linked on requests.account_key = all_linked.account_key
    group by all_linked.user_key
),

unsubscriptions as (
    select
        all_linked.user_key,
        all_linked.platform,
        responses.occurred_at
    from responses
    inner join exposures on responses.exposure_key = exposures.exposure_key
    inner join all_linked on exposures.account_key = all_linked.account_key
),

-- Consent that is given again takes back what was unsubscribed from before it.
standing_unsubscriptions as (
    select
        accounts.account_key,
        min(unsubscriptions.occurred_at) as occurred_at
    from unsubscriptions
    inner join accounts
        on
            unsubscriptions.user_key = accounts.user_key
            and unsubscriptions.platform = accounts.platform
    left join consents on accounts.account_key = consents.account_key
    where
        consents.granted_at is null
        or unsubscriptions.occurred_at >= consents.granted_at
    group by accounts.account_key
),

-- Accounts that no current row mentions belong to nobody.
judged as (
    select
        accounts.account_key,
        accounts.user_key,
        accounts.platform,
        coalesce(time_zones.time_zone, runs.time_zone) as time_zone,
        case
            when erasures.user_key is not null then 'erased'
            when not coalesce(consents.granted, users.marketing_consent, false) then 'no_consent'
            when standing_unsubscriptions.account_key is not null then 'unsubscribed'
        end as reason,
        erasures.requested_at as erased_at,
        consents.changed_at as consent_changed_at,
        standing_unsubscriptions.occurred_at as unsubscribed_at
    from accounts
    inner join people on accounts.user_key = people.user_key
    cross join runs
    left join users on accounts.account_key = users.account_key
    left join time_zones on people.country = time_zones.country
    left join erasures on accounts.user_key = erasures.user_key
    left join consents on accounts.account_key = consents.account_key
    left join standing_unsubscriptions on accounts.account_key = standing_unsubscriptions.account_key
)

select
    account_key,
    user_key,
    platform,
    time_zone,
    reason is null as is_contactable,
    reason,
    case
        when reason = 'erased' then erased_at
        when reason = 'unsubscribed' then unsubscribed_at
        else consent_changed_at
    end as since
from judged

with

follows as (
    select * from {{ source('social', 'follows') }}
    where _is_current
),

accounts as (
    select * from {{ source('raw', 'account') }}
),

keyed as (
    select
        followers.account_key,
        followed.account_key as followed_account_key,
        follows.platform,
        follows.since as followed_at
    from follows
    inner join accounts as followers
        on
            follows.platform = followers.platform
            and follows.user_id = followers.user_id
    inner join accounts as followed
        on
            follows.platform = followed.platform
            and follows.follows_user_id = followed.user_id
)

select
    account_key,
    followed_account_key,
    platform,
    followed_at
from keyed

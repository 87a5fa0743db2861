{{ config(meta={'dagster': {'ref': {'name': 'contact'}}}) }}

with

-- A campaign that is planned counts by the channel that it has now, as in the plan: NO_CHANNEL of campaign_briefs.py
-- where it has none. Contacts of both arms count.
contacts as (
    select
        contacts.contact_key,
        contacts.plan_id,
        contacts.campaign_key,
        contacts.user_key,
        contacts.contact_date,
        contacts.decided_at,
        if(plans.state = 'planned', coalesce(campaigns.channel, 'unspecified'), contacts.channel) as channel
    from {{ ref('contact') }} as contacts
    left join {{ ref('campaign_plan') }} as plans on contacts.campaign_key = plans.campaign_key
    left join {{ ref('dim_campaign') }} as campaigns on contacts.campaign_key = campaigns.campaign_key
    where contacts.status = 'handed_over'
),

-- Caps may have been others when earlier plans were made, so that only what is decided now can be held against them.
present as (
    select * from contacts
    where plan_id in (select decided.plan_id from {{ source('decided', 'decided_plan') }} as decided)
),

-- What a brief leaves open is one contact a week, FREQUENCY_CAP and FREQUENCY_WINDOW_DAYS of campaign_briefs.py; a
-- channel reaches a person once a day.
caps as (
    select
        limit_id as cap,
        cast(null as varchar) as campaign_key,
        {{ lower_code('channel') }} as channel,
        floor(amount) as most,
        coalesce(window_days, 1) as window_days
    from {{ ref('campaign_limits') }}
    where
        limit_kind = 'contact_cap'
        and is_active
    union all
    select
        'frequency_cap' as cap,
        campaign_key,
        null as channel,
        coalesce(frequency_cap, 1) as most,
        coalesce(frequency_window_days, 7) as window_days
    from {{ ref('dim_campaign') }}
    union all
    select distinct
        'channel_a_day' as cap,
        null as campaign_key,
        channel,
        1 as most,
        1 as window_days
    from present
),

-- Every window that holds a contact of the plan and ends with a contact.
windows as (
    select distinct
        caps.cap,
        caps.campaign_key,
        caps.channel,
        caps.most,
        present.user_key,
        present.decided_at,
        ends.contact_date - cast(caps.window_days - 1 as integer) as first_date,
        ends.contact_date as last_date
    from present
    inner join caps
        on
            present.campaign_key = coalesce(caps.campaign_key, present.campaign_key)
            and present.channel = coalesce(caps.channel, present.channel)
    inner join contacts as ends
        on
            present.user_key = ends.user_key
            and present.contact_date <= ends.contact_date
            and present.contact_date > ends.contact_date - cast(caps.window_days as integer)
)

select
    windows.cap,
    windows.user_key,
    windows.last_date,
    windows.most,
    count(*) as contacts
from windows
inner join contacts
    on
        windows.user_key = contacts.user_key
        and contacts.contact_date between windows.first_date and windows.last_date
        and windows.decided_at >= contacts.decided_at
where
    contacts.campaign_key = coalesce(windows.campaign_key, contacts.campaign_key)
    and contacts.channel = coalesce(windows.channel, contacts.channel)
group by windows.cap, windows.user_key, windows.last_date, windows.most
having count(*) > windows.most

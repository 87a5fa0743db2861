"""What people have answered to campaigns, and whom that forbids to contact, as soon as the answer is there.

Holds the SQL for both. A channel may deliver answers today and exposures tomorrow, or never: `core.fct_response` and
`intermediate.int_account__contactable` know an answer only once its exposure has arrived. But the exposure_id of a contact that was
handed over is its key, so that the ledger says at once who answers.
"""

# Answers to contacts of the ledger whose exposure has not arrived, and who unsubscribed whatever the run takes for now; the checks
# on what is handed over have the same in dbt (`waiting_answers`), over published contacts.
_WAITING = """
    select
        contacts.campaign_key,
        contacts.user_key,
        contacts.platform,
        responses.response_type,
        responses.occurred_at
    from staging.stg_marketing__responses as responses
    inner join marketing.past_contact as contacts on responses.exposure_key = md5(contacts.contact_key)
    cross join raw.run as runs
    anti join core.fct_response as known on responses.response_key = known.response_key
    where responses.occurred_at <= runs.as_of or responses.response_type = 'unsubscribe'
"""

#: A query for every answer up to as_of: campaign_key, user_key, response_type, occurred_at.
ANSWERS = f"""
    select responses.campaign_key, responses.user_key, responses.response_type, responses.occurred_at
    from core.fct_response as responses
    cross join raw.run as runs
    where responses.occurred_at <= runs.as_of
    union all
    select waiting.campaign_key, waiting.user_key, waiting.response_type, waiting.occurred_at from ({_WAITING}) as waiting
"""

#: A query for accounts with what they permit: account_key, user_key, platform, time_zone, is_contactable, reason. Whoever
#: unsubscribed on a platform is left alone there until consent is given again, as in `int_account__contactable`.
PERMISSION = f"""
    select
        accounts.account_key,
        accounts.user_key,
        accounts.platform,
        accounts.time_zone,
        accounts.is_contactable and unsubscribed.user_key is null as is_contactable,
        if(accounts.is_contactable and unsubscribed.user_key is not null, 'unsubscribed', accounts.reason) as reason
    from intermediate.int_account__contactable as accounts
    left join (
        select waiting.user_key, waiting.platform, max(waiting.occurred_at) as occurred_at
        from ({_WAITING}) as waiting
        where waiting.response_type = 'unsubscribe'
        group by all
    ) as unsubscribed
        on
            accounts.user_key = unsubscribed.user_key
            and accounts.platform = unsubscribed.platform
            -- Of those who may be contacted it is when they last said so.
            and unsubscribed.occurred_at >= coalesce(accounts.since, unsubscribed.occurred_at)
"""

{#-
    Answers to contacts whose exposure has not arrived, up to as_of: campaign_key, user_key, platform, response_type, occurred_at. Who
    unsubscribes means it at once, whatever the run takes for now. The exposure_id of a contact is its key, so that the ledger says at
    once who answers. Once the exposure is there, fct_response says whose the answer is, which after a corrected link is another person.
    As in orchestration/marketing/answers.py.
-#}
{% macro waiting_answers() -%}
    select
        contacts.campaign_key,
        contacts.user_key,
        contacts.platform,
        responses.response_type,
        responses.occurred_at
    from {{ ref('stg_marketing__responses') }} as responses
    inner join {{ ref('contact') }} as contacts on responses.exposure_key = md5(contacts.contact_key)
    cross join {{ source('raw', 'run') }} as runs
    anti join {{ ref('fct_response') }} as known on responses.response_key = known.response_key
    where responses.occurred_at <= runs.as_of or responses.response_type = 'unsubscribe'
{%- endmacro %}

{{ config(materialized='view') }}

{%- set same_act = "interval '1 day'" -%}
{%- set largest_weight = var('propensity_weight_clip') %}

with

runs as (
    select * from {{ source('raw', 'run') }}
),

interactions as (
    select interactions.*
    from {{ ref('fct_interaction') }} as interactions
    cross join runs
    where interactions.occurred_at <= runs.as_of
),

items as (
    select * from {{ ref('dim_item') }}
),

users as (
    select * from {{ ref('dim_user') }}
),

exposures as (
    select exposures.*
    from {{ ref('fct_exposure') }} as exposures
    cross join runs
    where
        exposures.item_key is not null
        and exposures.shown_at <= runs.as_of
),

responses as (
    select responses.*
    from {{ ref('fct_response') }} as responses
    cross join runs
    where
        responses.response_type in ('click', 'conversion')
        and responses.occurred_at <= runs.as_of
),

-- Of a control the propensity is that of not being shown anything.
chances as (
    select
        exposure_key,
        campaign_key,
        user_key,
        item_key,
        case when arm = 'treatment' then propensity end as propensity
    from exposures
),

-- What others' answers count does not hang on who may not be profiled, unless there is nobody else.
usual_chances as (
    select
        chances.campaign_key,
        coalesce(
            median(chances.propensity) filter (where users.may_be_personalised), median(chances.propensity)
        ) as propensity
    from chances
    inner join users on chances.user_key = users.user_key
    group by chances.campaign_key
),

-- The inverse propensity, clipped. Of twelve items each has a propensity of about 1 / 12, and its plain inverse would
-- always be clipped; so it is put against what is usual in the campaign.
answers as (
    select
        responses.response_key,
        chances.user_key,
        chances.item_key,
        items.domain,
        case responses.response_type when 'click' then 'view' else 'purchase' end as event_type,
        chances.propensity,
        case
            when chances.propensity is null or chances.propensity >= usual_chances.propensity then 1.0
            when chances.propensity * {{ largest_weight }} <= usual_chances.propensity then {{ largest_weight }}
            else usual_chances.propensity / chances.propensity
        end as propensity_weight,
        responses.occurred_at
    from responses
    inner join chances on responses.exposure_key = chances.exposure_key
    inner join items on chances.item_key = items.item_key
    inner join usual_chances on chances.campaign_key = usual_chances.campaign_key
),

-- What a platform recorded and what a channel reports of it are one act: the event nearest to the answer.
told as (
    select
        answers.response_key,
        answers.propensity,
        answers.propensity_weight,
        interactions.event_key,
        answers.occurred_at,
        abs(epoch_us(interactions.occurred_at) - epoch_us(answers.occurred_at)) as apart
    from answers
    inner join interactions
        on
            answers.user_key = interactions.user_key
            and answers.item_key = interactions.item_key
            and answers.event_type = interactions.event_type
            and interactions.occurred_at
            between answers.occurred_at - {{ same_act }} and answers.occurred_at + {{ same_act }}
    qualify row_number() over (partition by answers.response_key order by apart, interactions.event_key) = 1
),

answered as (
    select * from told
    qualify row_number() over (partition by event_key order by apart, response_key) = 1
)

select
    interactions.event_key,
    answered.response_key,
    interactions.user_key,
    interactions.item_key,
    interactions.domain,
    interactions.event_type,
    interactions.value_normalised,
    answered.propensity,
    coalesce(answered.propensity_weight, 1.0) as propensity_weight,
    greatest(interactions.occurred_at, answered.occurred_at) as occurred_at
from interactions
left join answered on interactions.event_key = answered.event_key
union all
select
    cast(null as varchar) as event_key,
    answers.response_key,
    answers.user_key,
    answers.item_key,
    answers.domain,
    answers.event_type,
    cast(null as double) as value_normalised,
    answers.propensity,
    answers.propensity_weight,
    answers.occurred_at
from answers
anti join told on answers.response_key = told.response_key

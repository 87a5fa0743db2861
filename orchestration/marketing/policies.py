"""What other rules of contact would have earned on the decisions that were handed over.

A **decision** is the lot that fell on a person when a campaign first chose them: contact them from then on, or leave them alone.
Later contacts by the same campaign follow the same lot, so that they are no decisions of their own; they count in what it cost and
in what it brought. Who is a subject and what they did is read in `outcomes`; how a policy is judged by what another one did is in
`models_ml.campaigns.off_policy`. Here the two meet, and the rules are named.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.campaigns.off_policy import (
    EstimatorName,
    LoggedDecisions,
    evaluate_policy,
    predicted_rewards,
)
from orchestration.marketing.outcomes import FOLLOW_UP_DAYS, Outcomes, flags, numbers, whole_numbers
from orchestration.marketing.unseen_values import unseen_uplift
from orchestration.resources.warehouse import registered
from orchestration.sql import exact_sum

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

ESTIMATORS: tuple[EstimatorName, ...] = ("ips", "snips", "direct_method", "doubly_robust", "switch_doubly_robust")

POLICY_SCHEMA = pa.schema(
    [
        ("policy", pa.string()),
        ("estimator", pa.string()),
        ("currency", pa.string()),
        ("value", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("logged_value", pa.float64()),
        ("difference", pa.float64()),
        ("difference_low", pa.float64()),
        ("difference_high", pa.float64()),
        ("contacted_share", pa.float64()),
        ("effective_sample", pa.float64()),
        ("decisions", pa.int64()),
        ("refused", pa.string()),
    ]
)

# Of the held-out the ledger has no cost: it is what the same plan paid for a contact of the campaign. What a conversion was taken
# to be worth is what the expected value was made with.
_DECISIONS = f"""
with first_contacts as (
    select * from marketing.past_contact
    qualify row_number() over (partition by campaign_key, user_key order by not_before, arm, channel) = 1
),

prices as (
    select plan_id, campaign_key, max(cost) as cost
    from marketing.past_contact
    where arm = 'treatment'
    group by all
),

spent as (
    select subjects.subject, {exact_sum("contacts.cost")} as cost
    from subject as subjects
    inner join marketing.past_contact as contacts
        on subjects.campaign_key = contacts.campaign_key and subjects.user_key = contacts.user_key
    where contacts.not_before < subjects.followed_until
    group by all
)

select
    contacts.contact_key,
    dense_rank() over (order by subjects.user_key) - 1 as person,
    contacts.currency,
    subjects.is_treated,
    contacts.propensity,
    contacts.score_share,
    contacts.p_conversion,
    contacts.uplift,
    contacts.expected_value,
    coalesce(prices.cost, campaigns.cost_per_exposure) as cost,
    coalesce(contacts.expected_value / nullif(contacts.uplift, 0), campaigns.value_per_conversion, 0) as worth,
    outcomes.converted_at is not null as is_converted,
    coalesce(campaigns.value_per_conversion * cast(outcomes.converted_at is not null as double), outcomes.revenue)
    - coalesce(spent.cost, 0) as reward,
    subjects.is_followed_through and outcomes.is_conversion_recorded as is_known
from subject as subjects
inner join first_contacts as contacts
    on subjects.campaign_key = contacts.campaign_key and subjects.user_key = contacts.user_key
inner join campaign as campaigns
    on subjects.campaign_key = campaigns.campaign_key and contacts.currency = campaigns.currency
inner join outcome as outcomes on subjects.subject = outcomes.subject
left join prices on contacts.plan_id = prices.plan_id and contacts.campaign_key = prices.campaign_key
left join spent on subjects.subject = spent.subject
where
    subjects.is_promised
    and contacts.propensity > 0
    and contacts.propensity < 1
    and contacts.p_conversion is not null
    and contacts.uplift is not null
    and contacts.expected_value is not null
order by subjects.subject
"""


@dataclass(frozen=True, eq=False)
class Decisions:
    """Decisions by lot with what was known when they were made and what came of them; all of shape (decisions,).

    Attributes:
        person: Number of the person.
        currency: Of all money of the row.
        treated: Whether the lot said contact.
        propensity: Probability with which it did, in (0, 1).
        score_share: Share of the campaign's scores below that of the item, in [0, 1]; NaN where there were none.
        p_conversion: Predicted probability of a conversion if contacted.
        uplift: What contact was predicted to add to it.
        expected_value: What contact was predicted to bring, before its cost.
        cost: Of one contact, whether it was made or not.
        worth: What a conversion was taken to be worth.
        converted: Whether the person converted within the follow-up.
        reward: Worth of the conversion (the brief's, else what was paid) less what contacts cost within the follow-up.
        uplift_today: What contact adds by the valuation of today, learnt from other people; NaN where that has nothing to go by.
        known: Whether the follow-up is over and conversions of both arms are recorded; only then converted and reward count.
    """

    person: NDArray[np.int64]
    currency: NDArray[np.str_]
    treated: Flags
    propensity: Floats
    score_share: Floats
    p_conversion: Floats
    uplift: Floats
    expected_value: Floats
    cost: Floats
    worth: Floats
    converted: Flags
    reward: Floats
    uplift_today: Floats
    known: Flags


@dataclass(frozen=True, eq=False)
class MeasuredPolicies:
    """Policies and the decisions by which they are judged.

    Attributes:
        table: One row per policy, estimator and currency, in `POLICY_SCHEMA`.
        decisions: Those that were drawn by lot.
    """

    table: pa.Table
    decisions: Decisions


def _higher_half(decisions: Decisions) -> Floats:
    return np.where(np.isnan(decisions.score_share), np.nan, decisions.score_share >= 0.5)


def _present_valuation(decisions: Decisions) -> Floats:
    pays = decisions.uplift_today * decisions.worth > decisions.cost
    return np.where(np.isnan(decisions.uplift_today), np.nan, pays)


# Probability with which each rule contacts, shape (decisions,); NaN where it has nothing to go by.
POLICIES: Mapping[str, Callable[[Decisions], Floats]] = {
    "contact_nobody": lambda decisions: np.zeros(len(decisions.person)),
    "contact_everybody": lambda decisions: np.ones(len(decisions.person)),
    "contact_worth_cost": lambda decisions: (decisions.expected_value > decisions.cost).astype(np.float64),
    "contact_higher_half": _higher_half,
    "present_valuation": _present_valuation,
}


def measure_policies(connection: duckdb.DuckDBPyConnection, known: Outcomes, seed: int = 0) -> MeasuredPolicies:
    """What each policy would have earned, by each estimator and in each currency.

    Only decisions whose follow-up is over are judged: a contact costs at once and brings later, so that fresh ones would speak
    against contact. Predictions are those of the plan, made before anybody answered. The rule that the product follows now is
    learnt from what people did; whom it would contact is said by a valuation that has learnt from other people (`unseen_values`).

    Args:
        connection: To the build file, after the load of the ledger; nothing is written but temporary tables that are dropped.
        known: Subjects and what they did.
        seed: Seed of the valuation of today.
    """
    decisions = _read_decisions(connection, known, seed)
    rows = [
        row
        for currency in np.unique(decisions.currency).tolist()
        for policy in POLICIES
        for row in _judged(policy, decisions, currency)
    ]
    return MeasuredPolicies(pa.Table.from_pylist(rows, POLICY_SCHEMA), decisions)


def _read_decisions(connection: duckdb.DuckDBPyConnection, known: Outcomes, seed: int) -> Decisions:
    with registered(connection, campaign=known.campaigns, subject=known.subjects, outcome=known.outcomes):
        found = connection.execute(_DECISIONS).to_arrow_table()
    is_known = flags(found, "is_known")
    today = np.full(found.num_rows, np.nan)
    today[is_known] = unseen_uplift(connection, found["contact_key"].filter(found["is_known"]).combine_chunks(), seed)
    return Decisions(
        person=whole_numbers(found, "person"),
        currency=np.array(found["currency"].to_pylist(), dtype=np.str_),
        treated=flags(found, "is_treated"),
        propensity=numbers(found, "propensity"),
        score_share=numbers(found, "score_share"),
        p_conversion=numbers(found, "p_conversion"),
        uplift=numbers(found, "uplift"),
        expected_value=numbers(found, "expected_value"),
        cost=numbers(found, "cost"),
        worth=numbers(found, "worth"),
        converted=flags(found, "is_converted"),
        reward=numbers(found, "reward"),
        uplift_today=today,
        known=is_known,
    )


def _judged(policy: str, decisions: Decisions, currency: str) -> list[dict[str, Any]]:
    """The rows of one policy and currency, one an estimator."""
    contacts = POLICIES[policy](decisions)
    mine = decisions.currency == currency
    at = np.flatnonzero(mine & decisions.known & ~np.isnan(contacts))
    about: dict[str, Any] = {"policy": policy, "currency": currency, "decisions": len(at)}
    if not len(at):
        why = (
            f"none of {int(mine.sum())} decisions has been followed for {FOLLOW_UP_DAYS} days, with conversions of both arms "
            "recorded and all known that the policy goes by"
        )
        return [{**about, "estimator": name, "effective_sample": 0.0, "refused": why} for name in ESTIMATORS]
    contact, treated, propensity = contacts[at], decisions.treated[at], decisions.propensity[at]
    log = LoggedDecisions(
        rewards=decisions.reward[at],
        propensities=np.where(treated, propensity, 1 - propensity),
        target=np.where(treated, contact, 1 - contact),
        people=decisions.person[at],
    )
    alone = decisions.worth[at] * (decisions.p_conversion[at] - decisions.uplift[at])
    contacted = alone + decisions.expected_value[at] - decisions.cost[at]
    predicted = predicted_rewards(
        np.column_stack([alone, contacted]), np.column_stack([1 - contact, contact]), treated.astype(np.int64)
    )
    found = evaluate_policy(log, predicted)
    about |= {
        "logged_value": float(log.rewards.mean()),
        "contacted_share": float(contact.mean()),
        "effective_sample": found.overlap.effective_sample,
    }
    rows = []
    for name in ESTIMATORS:
        value, ahead = found.estimates[name], found.ahead[name]
        rows.append(
            {
                **about,
                "estimator": name,
                "value": value.value,
                "ci_low": value.low,
                "ci_high": value.high,
                "difference": ahead.value,
                "difference_low": ahead.low,
                "difference_high": ahead.high,
                "refused": value.reason,
            }
        )
    return rows

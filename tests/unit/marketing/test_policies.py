"""Other rules of contact are judged by what people answered to the lots that were drawn."""

from dataclasses import fields
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from orchestration.marketing.outcomes import read_outcomes
from orchestration.marketing.policies import (
    ESTIMATORS,
    POLICIES,
    POLICY_SCHEMA,
    MeasuredPolicies,
    measure_policies,
)
from orchestration.marketing.unseen_values import unseen_uplift
from orchestration.resources.warehouse import registered, replace_table
from tests.unit.marketing.measured_world import START, World

# Of a contact: what was known when it was decided.
KNOWN = {
    "plan_id": "plan-1",
    "currency": "USD",
    "propensity": 0.6,
    "p_conversion": 0.3,
    "uplift": 0.1,
    "expected_value": 1.0,
    "score_share": 0.7,
}


@pytest.fixture
def world() -> World:
    return World()


def measured(world: World) -> MeasuredPolicies:
    return measure_policies(world.connection, read_outcomes(world.connection))


def judged(world: World) -> dict[tuple[str, str, str], dict[str, Any]]:
    rows = measured(world).table.to_pylist()
    return {(row["policy"], row["estimator"], row["currency"]): row for row in rows}


def lots(
    world: World, campaign_key: str, people: int, *, seed: int = 0, currency: str = "USD", wrong: float = 0.0
) -> dict[str, float]:
    """Lots of 3 in 5 for people who convert with 0.1 + 0.2 u if contacted, u the share of scores below, else with 0.1.

    A conversion is worth 10, a contact costs 0.5; the plan knew the rates, but for `wrong` that it added to both. Returns what a
    decision of each policy brings in truth.
    """
    world.campaign(campaign_key, value_per_conversion=10, currency=currency)
    random = np.random.default_rng(seed)
    users = [f"{campaign_key}-{place:05d}" for place in range(people)]
    score, treated = random.random(people), random.random(people) < 0.6
    converts = random.random(people) < 0.1 + np.where(treated, 0.2 * score, 0)
    contacts = pa.table(
        {
            "contact_key": users,
            "plan_id": ["plan-1"] * people,
            "campaign_key": [campaign_key] * people,
            "user_key": users,
            "channel": ["email"] * people,
            "contact_date": [START.date()] * people,
            "not_before": [START] * people,
            "decided_at": [START - timedelta(hours=1)] * people,
            "arm": np.where(treated, "treatment", "control").tolist(),
            "propensity": np.full(people, 0.6),
            "p_conversion": 0.1 + 0.2 * score + wrong,
            "uplift": 0.2 * score,
            "expected_value": 2 * score,
            "cost": np.where(treated, 0.5, 0.0),
            "currency": [currency] * people,
            "segment_keys": [[]] * people,
            "score_share": score,
        }
    )
    bought = [user for user, does in zip(users, converts, strict=True) if does]
    with registered(world.connection, lot=contacts, buyer=pa.table({"user_key": pa.array(bought, pa.string())})):
        world.connection.execute("insert into marketing.past_contact by name from lot")
        world.connection.execute("insert into core.dim_user (user_key) select user_key from lot")
        world.connection.execute(
            "insert into core.fct_purchase by name select user_key as event_key, user_key, 'knowledge:any' as item_key, "
            "'knowledge' as domain, ? as currency, false as is_refunded, 10 as gross_amount, 10 as amount, "
            "?::timestamp as occurred_at from buyer",
            [currency, START + timedelta(days=2)],
        )
    return {
        "contact_nobody": 1.0,
        "contact_everybody": 1.0 + 1.0 - 0.5,
        # Worth its cost above u = 1/4, where u is 5/8 on average.
        "contact_worth_cost": 1.0 + 0.75 * (2 * 0.625 - 0.5),
        "contact_higher_half": 1.0 + 0.5 * (2 * 0.75 - 0.5),
    }


@pytest.mark.parametrize("estimator", ["ips", "snips", "doubly_robust", "switch_doubly_robust"])
def test_the_interval_holds_what_the_policy_would_have_earned(world: World, estimator: str) -> None:
    truth = lots(world, "spring", 3000)
    done = 0.6 * truth["contact_everybody"] + 0.4 * truth["contact_nobody"]
    found = judged(world)
    for policy, value in truth.items():
        row = found[policy, estimator, "USD"]
        assert row["refused"] is None
        assert row["ci_low"] < value < row["ci_high"], policy
        assert row["difference_low"] < value - done < row["difference_high"], policy
        assert row["ci_high"] - row["ci_low"] < 0.5, policy
        assert row["difference"] == pytest.approx(row["value"] - row["logged_value"])
        assert row["decisions"] == 3000
    assert found["contact_everybody", estimator, "USD"]["difference_low"] > 0
    assert found["contact_nobody", estimator, "USD"]["difference_high"] < 0


def test_the_direct_method_believes_the_plan_and_the_doubly_robust_one_does_not(world: World) -> None:
    truth = lots(world, "spring", 3000, wrong=0.2)
    found = judged(world)
    believed = found["contact_nobody", "direct_method", "USD"]
    assert believed["value"] == pytest.approx(10 * (0.1 + 0.2))
    corrected = found["contact_nobody", "doubly_robust", "USD"]
    assert corrected["ci_low"] < truth["contact_nobody"] < corrected["ci_high"]
    everybody = found["contact_everybody", "direct_method", "USD"]["value"]
    score = measured(world).decisions.score_share
    assert everybody == pytest.approx(10 * (0.1 + 0.2 * score.mean() + 0.2) - 0.5)


def test_the_share_that_a_policy_contacts_is_told(world: World) -> None:
    lots(world, "spring", 400)
    known = measured(world).decisions
    score = known.score_share
    share = {policy: row["contacted_share"] for (policy, name, _), row in judged(world).items() if name == "ips"}
    assert share == {
        "contact_nobody": 0,
        "contact_everybody": 1,
        "contact_worth_cost": pytest.approx((2 * score > 0.5).mean()),
        "contact_higher_half": pytest.approx((score >= 0.5).mean()),
        "present_valuation": pytest.approx((10 * known.uplift_today > 0.5).mean()),
    }


def test_the_rule_that_is_followed_now_is_judged_by_what_it_would_have_earned(world: World) -> None:
    # A ranking by who converts is as good here, so that chance says whether the model is believed; with this seed, in both halves.
    truth = lots(world, "spring", 4000, seed=2)
    known = measured(world).decisions
    contacts = 10 * known.uplift_today > 0.5
    # It has learnt who is worth a contact: more than three in four of those whom it chooses are.
    assert 0 < contacts.mean() < 1
    assert (2 * known.score_share > 0.5)[contacts].mean() > 0.75
    value = truth["contact_nobody"] + (contacts * (2 * known.score_share - 0.5)).mean()
    for estimator in ("ips", "snips", "doubly_robust", "switch_doubly_robust"):
        row = judged(world)["present_valuation", estimator, "USD"]
        assert row["refused"] is None
        assert row["ci_low"] < value < row["ci_high"]
    assert judged(world)["present_valuation", "doubly_robust", "USD"]["difference_low"] > 0


def test_nobody_is_valued_by_what_they_did_themselves(world: World) -> None:
    lots(world, "spring", 400)
    before = measured(world).decisions
    buyer = int(np.flatnonzero(before.converted & before.treated)[0])
    world.connection.execute("delete from core.fct_purchase where user_key = ?", [f"spring-{buyer:05d}"])
    after = measured(world).decisions
    assert (before.converted[buyer], after.converted[buyer]) == (True, False)
    same = before.uplift_today == after.uplift_today
    assert same[buyer]
    # Of the others, half are valued by what the person did.
    assert 0.4 < same.mean() < 0.6


def test_one_more_person_moves_nobody_to_the_other_half(world: World) -> None:
    lots(world, "spring", 400)
    keys = pa.array([f"spring-{place:05d}" for place in range(400)])
    before = unseen_uplift(world.connection, keys, seed=0)
    world.connection.execute(
        "insert into marketing.past_contact by name "
        "select * replace ('aaa' as contact_key, 'aaa' as user_key) from marketing.past_contact limit 1"
    )
    world.people("aaa")
    same = before == unseen_uplift(world.connection, keys, seed=0)
    # The person is in one half, so that the contacts of that half are valued as before.
    assert 0.4 < same.mean() < 0.6


def test_a_log_of_few_rows_is_refused_with_no_figure(world: World) -> None:
    lots(world, "spring", 150)
    found = judged(world)
    assert {key[:2] for key in found} == {(policy, name) for policy in POLICIES for name in ESTIMATORS}
    held_out = int((~measured(world).decisions.treated).sum())
    for estimator in ESTIMATORS:
        row = found["contact_nobody", estimator, "USD"]
        assert row["effective_sample"] == pytest.approx(held_out)
        assert "below the floor of 100" in row["refused"]
        figures = ("value", "ci_low", "ci_high", "difference", "difference_low", "difference_high")
        assert [row[name] for name in figures] == [None] * 6


def test_money_of_two_currencies_is_never_added(world: World) -> None:
    lots(world, "spring", 300)
    lots(world, "fruehling", 500, currency="EUR", seed=1)
    found = judged(world)
    assert found["contact_everybody", "ips", "USD"]["decisions"] == 300
    assert found["contact_everybody", "ips", "EUR"]["decisions"] == 500
    assert len(found) == 2 * len(POLICIES) * len(ESTIMATORS)


def test_an_empty_ledger_gives_an_empty_table_with_its_columns(world: World) -> None:
    world.campaign("spring")
    table = measured(world).table
    assert (table.num_rows, table.schema) == (0, POLICY_SCHEMA)
    replace_table(world.connection, "marketing.measured_policy", table)
    described = world.connection.execute("describe marketing.measured_policy").fetchall()
    assert [column for column, *_ in described] == POLICY_SCHEMA.names


def test_decisions_that_are_too_fresh_are_not_judged_and_it_is_said(world: World) -> None:
    lots(world, "spring", 400)
    world.looked_at(29.9)
    found = judged(world)["contact_everybody", "doubly_robust", "USD"]
    assert (found["decisions"], found["value"], found["logged_value"]) == (0, None, None)
    assert found["refused"].startswith("none of 400 decisions has been followed for 30 days")
    world.looked_at(30)
    assert judged(world)["contact_everybody", "doubly_robust", "USD"]["refused"] is None


@pytest.mark.parametrize(
    ("brief", "purchase", "reward"),
    [
        ({"value_per_conversion": 20}, {"day": 1}, 20 - 0.25),
        ({"value_per_conversion": 20}, {"day": 30}, 20 - 0.25),
        ({"value_per_conversion": 20}, {"day": 30.01}, -0.25),
        ({"value_per_conversion": 20}, {"day": 1, "is_refunded": True, "refunded_at": START}, -0.25),
        ({"value_per_conversion": 20, "item_ids": ["wanted"]}, {"item_id": "other"}, -0.25),
        ({}, {"day": 1}, 10 - 0.25),
    ],
)
def test_a_reward_is_the_worth_of_the_conversion_less_the_cost(
    world: World, brief: dict[str, Any], purchase: dict[str, Any], reward: float
) -> None:
    world.campaign("spring", **brief)
    world.people("ann")
    world.contact("spring", "ann", arm="treatment", **KNOWN)
    world.bought("ann", **purchase)
    assert measured(world).decisions.reward.tolist() == [pytest.approx(reward)]


def test_whoever_is_left_alone_costs_nothing_and_converts_alike(world: World) -> None:
    world.campaign("spring", value_per_conversion=20)
    world.people("ann", "ben")
    world.contact("spring", "ann", arm="control", **KNOWN)
    world.contact("spring", "ben", arm="treatment", **KNOWN)
    world.bought("ann")
    decisions = measured(world).decisions
    assert decisions.reward.tolist() == [20, -0.25]
    assert decisions.treated.tolist() == [False, True]
    assert decisions.cost.tolist() == [0.25, 0.25], "what the plan paid for the same contact"


def test_later_contacts_of_the_same_campaign_are_no_decisions_but_cost(world: World) -> None:
    world.campaign("spring", value_per_conversion=20)
    world.people("ann")
    for day in (0, 5, 29, 31):
        world.contact("spring", "ann", arm="treatment", day=day, **KNOWN | {"score_share": 0.01 * day})
    world.bought("ann")
    decisions = measured(world).decisions
    assert decisions.reward.tolist() == [20 - 3 * 0.25]
    assert decisions.score_share.tolist() == [0]


@pytest.mark.parametrize(
    "contact",
    [
        {"propensity": 1.0},
        {"propensity": None},
        {"currency": "EUR"},
        {"expected_value": None},
        {"day": 61},
    ],
)
def test_only_what_was_drawn_by_lot_and_valued_by_now_is_a_decision(world: World, contact: dict[str, Any]) -> None:
    world.campaign("spring")
    world.people("ann", "ben")
    world.contact("spring", "ann", arm="treatment", **KNOWN | contact)
    world.contact("spring", "ben", arm="treatment", **KNOWN)
    assert len(measured(world).decisions.person) == 1


def test_whoever_is_gone_and_whoever_was_only_exposed_made_no_decision(world: World) -> None:
    world.campaign("spring")
    world.people("ben", "cleo")
    world.exposed("spring", ["ben"])
    world.contact("spring", "ben", arm="treatment", day=61, **KNOWN)
    world.contact("spring", "gone", arm="treatment", **KNOWN)
    world.contact("spring", "cleo", arm="treatment", **KNOWN)
    assert len(measured(world).decisions.person) == 1


def test_without_purchases_of_the_target_platform_nothing_is_known(world: World) -> None:
    world.campaign("spring")
    world.people("ann")
    world.contact("spring", "ann", arm="control", **KNOWN)
    assert measured(world).decisions.known.tolist() == [False]
    world.bought("somebody else")
    assert measured(world).decisions.known.tolist() == [True]


def test_a_policy_is_not_judged_by_decisions_of_which_it_has_nothing_to_say(world: World) -> None:
    lots(world, "spring", 400)
    world.connection.execute("update marketing.past_contact set score_share = null where user_key < 'spring-00100'")
    found = judged(world)
    assert found["contact_higher_half", "ips", "USD"]["decisions"] == 300
    assert found["contact_everybody", "ips", "USD"]["decisions"] == 400


def test_lots_of_one_person_in_several_campaigns_are_not_taken_for_independent(world: World) -> None:
    lots(world, "spring", 400)
    once = judged(world)["contact_nobody", "ips", "USD"]
    world.campaign("again", value_per_conversion=10)
    world.connection.execute(
        "insert into marketing.past_contact by name select * replace ('again' as campaign_key) from marketing.past_contact"
    )
    twice = judged(world)["contact_nobody", "ips", "USD"]
    assert twice["decisions"] == 800
    for name in ("value", "ci_low", "ci_high", "difference_low", "difference_high"):
        assert twice[name] == pytest.approx(once[name]), name


def test_the_same_ledger_gives_the_same_figures_in_any_order_of_its_rows(world: World) -> None:
    lots(world, "spring", 300)
    before = measured(world)
    world.connection.execute(
        "create or replace table marketing.past_contact as from marketing.past_contact order by user_key desc"
    )
    after = measured(world)
    assert before.table.equals(after.table)
    for field in fields(before.decisions):
        np.testing.assert_array_equal(getattr(before.decisions, field.name), getattr(after.decisions, field.name))

"""Campaigns that cause nothing, from the ledger through the product's own measurement: few are claimed, as few as promised.

The lots are those that the plan draws (the hash of `holdout`, with a global holdout beside each campaign's own), people are in many
campaigns and differ in how often they buy, the treated are contacted twice; subjects, conversions, lifts and verdicts are read and
made by the same SQL and code as in a run.
"""

from datetime import timedelta
from functools import cache

import numpy as np
import pyarrow as pa
from scipy import stats

from models_ml.campaigns.holdout import held_out, offer_probability
from orchestration.resources.warehouse import registered
from tests.unit.marketing.measured_world import START, World

CAMPAIGNS, PEOPLE, OF_EACH = 200, 3000, 400
GLOBAL, OWN, RUNS_DAYS = 0.05, 0.2, 28
CLAIMS = ("Causes", "Costs")


@cache
def measured(days_apart: int) -> list[dict[str, object]]:
    """Results of the campaigns, one begun so many days after the other, and all over."""
    world, generator = World(), np.random.default_rng(7)
    users = np.array([f"u{place:04d}" for place in range(PEOPLE)])
    out_of_all = held_out(users.tolist(), "global", GLOBAL)
    # Of 100 people 20 buy within a month, on average; some hardly ever, some every other month.
    often = np.minimum(0.2 * generator.lognormal(-0.3, 0.8, PEOPLE), 0.9)
    rows, bought = [], []
    for number in range(CAMPAIGNS):
        key, start = f"aa-{number:03d}", START + timedelta(days=days_apart * number)
        world.campaign(
            key, item_ids=[key], holdout_share=OWN, starts_at=start, ends_at=start + timedelta(days=RUNS_DAYS)
        )
        chosen = generator.choice(PEOPLE, OF_EACH, replace=False)
        is_out = out_of_all[chosen] | held_out(users[chosen].tolist(), f"campaign/{key}", OWN)
        came = generator.integers(0, RUNS_DAYS, OF_EACH)
        propensity = float(offer_probability(GLOBAL, np.array([OWN]))[0])
        for user, out, day in zip(users[chosen].tolist(), is_out.tolist(), came.tolist(), strict=True):
            for later in (0,) if out else (0, 5):
                at = start + timedelta(days=day + later)
                arm = "control" if out else "treatment"
                rows.append((f"{key}-{user}-{later}", key, user, at, arm, propensity, 0.0 if out else 0.1))
        buys = generator.random(OF_EACH) < often[chosen]
        for user, day in zip(users[chosen[buys]].tolist(), came[buys].tolist(), strict=True):
            at = start + timedelta(days=day + float(generator.uniform(0, 30)))
            bought.append((f"{key}-{user}", user, f"knowledge:{key}", at))
    names = ("contact_key", "campaign_key", "user_key", "not_before", "arm", "propensity", "cost")
    contacts = pa.table(dict(zip(names, zip(*rows, strict=True), strict=True)))
    buyers = pa.table(
        dict(zip(("event_key", "user_key", "item_key", "bought_at"), zip(*bought, strict=True), strict=True))
    )
    with registered(world.connection, lot=contacts, buyer=buyers, person=pa.table({"user_key": users})):
        world.connection.execute("insert into core.dim_user (user_key) select user_key from person")
        world.connection.execute(
            "insert into marketing.past_contact by name select *, not_before - interval 1 hour as decided_at, "
            "cast(not_before as date) as contact_date, 'email' as channel, cast([] as varchar[]) as segment_keys from lot"
        )
        world.connection.execute(
            "insert into core.fct_purchase by name select event_key, user_key, item_key, 'knowledge' as domain, 'USD' as currency, "
            "false as is_refunded, 10 as gross_amount, 10 as amount, bought_at as occurred_at from buyer"
        )
    world.looked_at(days_apart * CAMPAIGNS + 100)
    return world.measure().result.to_pylist()


def most(share: float) -> float:
    """More than so many of the campaigns would be seen in 1 of 1,000 such tests if it was just the share."""
    return float(stats.binom.ppf(0.999, CAMPAIGNS, share))


def test_of_campaigns_that_cause_nothing_as_many_are_claimed_at_the_end_as_the_level_says() -> None:
    found = measured(60)
    assert len(found) == CAMPAIGNS
    assert {row["verdict_basis"] for row in found} == {"fixed_horizon"}
    assert {row["people_treatment"] + row["people_control"] for row in found} == {OF_EACH}
    claimed = [row for row in found if str(row["verdict"]).startswith(CLAIMS)]
    # One after the other, each is a family of its own; a test that never claims anything would pass the first of these alone.
    assert 1 <= len(claimed) <= most(0.05)
    p_values = np.array([row["lift_conversion_p_value"] for row in found])
    assert stats.binom.ppf(0.001, CAMPAIGNS, 0.5) <= (p_values < 0.5).sum() <= most(0.5)


def test_the_intervals_of_campaigns_that_cause_nothing_hold_nothing() -> None:
    found = measured(60)
    for kind in ("lift_conversion", "incremental_revenue"):
        missed = sum(not row[f"{kind}_low"] <= 0 <= row[f"{kind}_high"] for row in found)
        assert missed <= most(0.05), kind


def test_arms_that_were_drawn_as_planned_hardly_ever_raise_the_alarm() -> None:
    found = measured(60)
    assert sum(row["sample_ratio_alarm"] for row in found) <= most(0.001)
    p_values = np.array([row["sample_ratio_p_value"] for row in found])
    assert stats.binom.ppf(0.001, CAMPAIGNS, 0.1) <= (p_values < 0.1).sum() <= most(0.1)


def test_of_campaigns_at_the_same_time_hardly_one_is_claimed() -> None:
    """All are one family then: by Holm any claim at all has a chance of one in twenty."""
    found = measured(0)
    assert sum(str(row["verdict"]).startswith(CLAIMS) for row in found) <= 1
    # Each by itself would still be claimed as often as the level says.
    alone = sum(row["lift_conversion_p_value"] < 0.05 for row in found)
    assert 1 <= alone <= most(0.05)

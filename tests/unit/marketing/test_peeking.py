"""A verdict that is read every day is no oftener wrong than one that is read once."""

import numpy as np
import pyarrow as pa
from scipy import stats

from orchestration.marketing.measuring import measure
from orchestration.marketing.outcomes import Outcomes, read_outcomes
from tests.unit.marketing.measured_world import START, World

CAMPAIGNS, PEOPLE, DAYS = 100, 200, 28
CAMPAIGN_KEYS = np.array([f"aa-{place:03d}" for place in range(CAMPAIGNS)])
# One after the other, so that each is a family of its own.
STARTS = np.datetime64(START, "us") + np.timedelta64(100, "D") * np.arange(CAMPAIGNS)


def known_campaigns() -> pa.Table:
    return pa.table(
        {
            "campaign_key": CAMPAIGN_KEYS,
            **dict.fromkeys(("name", "kind", "channel", "target_platform"), CAMPAIGN_KEYS),
            **{name: pa.nulls(CAMPAIGNS, pa.float64()) for name in ("budget", "value_per_conversion")},
            "currency": pa.nulls(CAMPAIGNS, pa.string()),
            "item_keys": pa.nulls(CAMPAIGNS, pa.list_(pa.string())),
            "cost_per_exposure": np.zeros(CAMPAIGNS),
            "holdout_share": np.full(CAMPAIGNS, 0.5),
            "starts_at": STARTS,
            "ends_at": STARTS + np.timedelta64(DAYS, "D"),
        }
    )


def known_outcomes(
    campaign: np.ndarray, treated: np.ndarray, started_at: np.ndarray, has_bought: np.ndarray
) -> tuple[pa.Table, pa.Table]:
    """Subjects and what they did, of whom nothing is known but whether they bought."""
    number = len(campaign)
    no, unknown, nothing = np.zeros(number, bool), pa.nulls(number, pa.float64()), np.zeros(number)
    subjects = pa.table(
        {
            "subject": np.arange(number),
            "campaign_key": CAMPAIGN_KEYS[campaign],
            "user_key": np.arange(number).astype(str),
            "is_treated": treated,
            "channel": np.full(number, "email"),
            "started_at": started_at,
            "started_on": pa.array(started_at).cast(pa.date32()),
            "is_followed_through": no,
            "segment_keys": pa.array([[]] * number, pa.list_(pa.string())),
            "is_in_both_arms": no,
            "is_compared": ~no,
            "propensity": np.full(number, 0.5),
        }
    )
    bought_at = pa.array(np.where(has_bought, 0.0, np.nan), from_pandas=True)
    outcomes = pa.table(
        {
            "subject": np.arange(number),
            "converted_at": bought_at.cast(pa.int64()).cast(pa.timestamp("us")),
            "converted_on": pa.nulls(number, pa.date32()),
            **{f"{name}_after": unknown for name in ("returned", "completed", "challenge", "refunded", "unsubscribed")},
            "rating": unknown,
            **dict.fromkeys(("revenue", "revenue_before", "followed_days"), nothing),
            **{f"is_{name}_recorded": no for name in ("completion", "challenge", "answer", "purchase")},
            "is_conversion_recorded": ~no,
            "is_reached": no,
        }
    )
    return subjects, outcomes


def test_of_campaigns_that_cause_nothing_few_are_ever_claimed_by_looking_every_day() -> None:
    world = World()
    world.looked_at(0)
    campaigns, none = known_campaigns(), read_outcomes(world.connection).conversions
    generator = np.random.default_rng(1)
    campaign = np.repeat(np.arange(CAMPAIGNS), PEOPLE)
    came, treated = generator.integers(0, DAYS, len(campaign)), generator.random(len(campaign)) < 0.5
    bought = np.where(generator.random(len(campaign)) < 0.2, came + generator.exponential(6, len(campaign)), np.inf)
    claimed: set[str] = set()
    # Each campaign is looked at on the evening of its own day.
    for day in range(DAYS):
        who = came <= day
        started_at = STARTS[campaign[who]] + came[who].astype("timedelta64[D]")
        subjects, outcomes = known_outcomes(campaign[who], treated[who], started_at, bought[who] <= day + 1)
        found = measure(world.connection, Outcomes(campaigns, subjects, none, outcomes)).result.to_pylist()
        assert {row["verdict_basis"] for row in found} == {"sequential"}
        claimed |= {row["campaign_key"] for row in found if row["verdict"].startswith(("Causes", "Costs"))}
    # More would be seen in 1 of 1,000 such tests if just 5 % were claimed.
    assert len(claimed) <= stats.binom.ppf(0.999, CAMPAIGNS, 0.05)

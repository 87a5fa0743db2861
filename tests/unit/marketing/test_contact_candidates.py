"""What a plan learns from: earlier contacts as they were when they were decided, and what became of them."""

import hashlib
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from models_ml.campaigns.valuation import KINDS
from orchestration.marketing.campaign_briefs import read_briefs
from orchestration.marketing.contact_candidates import CandidateReader, further_columns
from orchestration.marketing.planning import contact_key
from tests.unit.marketing.small_world import AS_OF, FIRST, SmallWorld


@pytest.fixture
def world() -> SmallWorld:
    world = SmallWorld()
    for user in ("ann", "bob"):
        world.person(user)
    world.person("cat", segments=["lifecycle:joined:dormant"])
    world.item("knowledge:c1")
    world.campaign("spring", item_ids=["c1"], value_per_conversion=25)
    return world


def reader(world: SmallWorld) -> CandidateReader:
    return CandidateReader(
        world.connection, "plan-now", read_briefs(world.connection, FIRST, 7).planned, ["knowledge:c1"]
    )


def contacted(world: SmallWorld, user: str, day: date, **more: Any) -> str:
    """A contact by the ledger, decided at noon of the day before; returns the key that its delivery would have."""
    start = datetime.combine(day, datetime.min.time())
    row = {
        "contact_key": contact_key("spring", user, day, "email"),
        "plan_id": "plan-before",
        "campaign_key": "spring",
        "user_key": user,
        "contact_date": day,
        "channel": "email",
        "not_before": start,
        "not_after": start + timedelta(days=1),
        "arm": "treatment",
        "propensity": 0.8,
        "cost": 0.01,
        "segment_keys": ["interest:film:drama", "lifecycle:joined:active"],
        "decided_at": start - timedelta(hours=12),
        "score_share": 0.75,
    }
    world.insert_contacts([row | more])
    return hashlib.md5(row["contact_key"].encode()).hexdigest()


def test_a_contact_is_seen_as_it_was_decided_with_what_became_of_it(world: SmallWorld) -> None:
    earlier = contacted(world, "ann", date(2026, 2, 10))
    contacted(world, "ann", date(2026, 2, 20))
    contacted(world, "bob", date(2026, 2, 20), arm="control", segment_keys=["lifecycle:joined:dormant"])
    world.response("spring", "ann", "click", exposure_key=earlier)
    # Ann acts three times in the 90 days before the second decision, once of these before the first; bob buys later.
    world.event("ann", "film:f1", "view", at=datetime(2025, 10, 1))
    world.event("ann", "film:f1", "view", at=datetime(2026, 2, 1))
    world.event("ann", "film:f1", "view", at=datetime(2026, 2, 15))
    world.event("ann", "film:f1", "view", at=datetime(2026, 2, 15))
    world.event("ann", "film:f1", "view", at=datetime(2026, 2, 25))
    world.event("bob", "knowledge:c1", at=datetime(2026, 2, 22))
    with reader(world) as facts:
        history = facts.history()
        people = facts.people()["user_key"].to_pylist()
        segments = facts.segments
    assert history is not None
    features = history.features
    assert sorted(people[one] for one in features.person) == ["ann", "ann", "bob"]
    ann = np.flatnonzero(features.person == people.index("ann"))
    bob = int(np.flatnonzero(features.person == people.index("bob"))[0])
    assert features.activity[ann].tolist() == [1, 3]
    assert features.recent_contacts[ann].tolist() == [0, 1]
    assert history.clicked[ann].tolist() == [True, False]
    assert not history.converted[ann].any()
    assert history.converted[bob]
    assert not history.treated[bob]
    assert features.recent_contacts[bob] == 0
    assert [segments[one] for one in features.segment[ann]] == ["lifecycle:joined:active"] * 2
    assert segments[int(features.segment[bob])] == "lifecycle:joined:dormant"
    assert set(features.kind.tolist()) == {KINDS.index("cross_ad")}
    assert set(features.value_per_conversion.tolist()) == {25}
    np.testing.assert_allclose(features.score_share, 0.75)
    np.testing.assert_allclose(history.propensity, 0.8)
    # From midnight on 10 February to noon on 1 March.
    assert history.observed_days[int(ann[0])] == 19.5


def test_nothing_is_learnt_from_contacts_of_who_may_not_be_profiled(world: SmallWorld) -> None:
    world.person("dan", may_be_personalised=False)
    for user in ("ann", "dan"):
        contacted(world, user, date(2026, 2, 25))
    with reader(world) as facts:
        history = facts.history()
        people = facts.people()["user_key"].to_pylist()
        known = facts.known()
    assert history is not None
    assert [people[one] for one in history.features.person] == ["ann"]
    assert known.recent_contacts[people.index("dan")] == 1, "they tire as anybody"
    assert known.may_be_personalised.tolist() == [user != "dan" for user in people]


def test_a_held_out_persons_contact_tires_as_a_delivered_one_does(world: SmallWorld) -> None:
    contacted(world, "ann", date(2026, 2, 25), arm="control")
    contacted(world, "ann", date(2026, 2, 26), arm="control")
    contacted(world, "bob", date(2026, 2, 26))
    contacted(world, "bob", date(2026, 2, 10))
    with reader(world) as facts:
        assert facts.known().recent_contacts.tolist() == [2, 1, 0]
        history = facts.history()
    assert history is not None
    # In the order of decision: bob on the 10th, ann on the 25th, then both on the 26th, which is 16 days after the 10th.
    of_ann = history.features.person == 0
    assert history.features.recent_contacts[of_ann].tolist() == [0, 1]
    assert history.features.recent_contacts[~of_ann].tolist() == [0, 0]


def test_purchases_before_the_contact_and_of_other_things_are_no_answer(world: SmallWorld) -> None:
    contacted(world, "ann", date(2026, 1, 20))
    contacted(world, "bob", date(2026, 1, 20))
    contacted(world, "cat", date(2026, 1, 20))
    world.event("ann", "knowledge:c1", at=datetime(2026, 1, 19, 12))
    world.event("bob", "knowledge:c9", at=datetime(2026, 1, 21))
    world.event("cat", "knowledge:c1", at=datetime(2026, 2, 19, 1))
    with reader(world) as facts:
        history = facts.history()
    assert history is not None
    assert not history.converted.any()


def test_contacts_of_the_plan_itself_and_of_the_future_are_not_learnt_from(world: SmallWorld) -> None:
    contacted(world, "ann", date(2026, 2, 20), plan_id="plan-now")
    contacted(world, "bob", FIRST)
    with reader(world) as facts:
        assert facts.history() is None


def test_rates_are_measured_ones_where_there_are_any(world: SmallWorld) -> None:
    with reader(world) as facts:
        assert np.isnan(facts.rates().click).all()
    world.connection.execute(
        "create table marketing.measured_rate "
        "(kind varchar, segment_key varchar, answer varchar, exposures bigint, rate double, prior_strength double)"
    )
    for segment, answer, rate in (
        ("all", "click", 0.04), ("lifecycle:joined:dormant", "conversion", 0.002), ("value:film:high", "click", 0.5)
    ):  # fmt: skip
        world.insert(
            "marketing.measured_rate",
            kind="cross_ad", segment_key=segment, answer=answer, exposures=100, rate=rate, prior_strength=50,
        )  # fmt: skip
    with reader(world) as facts:
        rates, segments = facts.rates(), facts.segments
    kind = KINDS.index("cross_ad")
    assert rates.click[kind, -1] == 0.04
    assert rates.conversion[kind, segments.index("lifecycle:joined:dormant")] == 0.002
    assert rates.strength[kind, -1] == 150
    assert np.isfinite(rates.click).sum() == 1


def test_nothing_after_as_of_counts_as_activity(world: SmallWorld) -> None:
    world.event("ann", "film:f1", "view", at=AS_OF - timedelta(days=89))
    world.event("ann", "film:f1", "view", at=AS_OF - timedelta(days=91))
    world.event("ann", "film:f1", "view", at=AS_OF + timedelta(hours=1))
    with reader(world) as facts:
        assert facts.known().activity.tolist() == [1, 0, 0]


def test_events_on_each_platform_and_dismissals_of_any_campaign_are_known(world: SmallWorld) -> None:
    world.event("ann", "film:f1", "view", at=AS_OF - timedelta(days=3))
    world.event("ann", "knowledge:c1", "view", at=AS_OF - timedelta(days=2))
    world.event("ann", "knowledge:c1", "view", at=AS_OF - timedelta(days=91))
    world.response("autumn", "bob", "dismiss", at=AS_OF - timedelta(days=364))
    world.response("spring", "bob", "dismiss", at=AS_OF - timedelta(days=1))
    world.response("spring", "bob", "click", at=AS_OF - timedelta(days=1))
    world.response("spring", "cat", "dismiss", at=AS_OF - timedelta(days=366))
    world.response("spring", "ann", "dismiss", at=AS_OF + timedelta(hours=1))
    with reader(world) as facts:
        known = facts.known()
    assert known.activity.tolist() == [2, 0, 0]
    assert {name: events.tolist() for name, events in known.activity_on.items()} == {
        "film": [1, 0, 0],
        "knowledge": [1, 0, 0],
    }
    assert known.dismissals.tolist() == [0, 2, 0]


def test_visits_and_dismissals_of_a_contact_are_those_before_it_was_decided(world: SmallWorld) -> None:
    # Decided at noon of 9 and 19 February.
    contacted(world, "ann", date(2026, 2, 10))
    contacted(world, "ann", date(2026, 2, 20))
    # Of an exposure that has not arrived, as a plan of then knew it.
    world.waiting_response(
        contact_key("spring", "ann", date(2026, 2, 10), "email"), "dismiss", at=datetime(2026, 2, 11)
    )
    for day in (date(2026, 2, 1), date(2026, 2, 12), date(2026, 2, 22), date(2025, 11, 1)):
        world.event("ann", "knowledge:c1", "view", at=datetime.combine(day, datetime.min.time()))
        world.event("ann", "film:f1", "view", at=datetime.combine(day, datetime.min.time()))
        world.response("spring", "ann", "dismiss", at=datetime.combine(day, datetime.min.time()))
    with reader(world) as facts:
        history = facts.history()
    assert history is not None
    assert history.features.activity.tolist() == [2, 4]
    # The visit of November was within 90 days of neither; its dismissal within a year of both.
    np.testing.assert_allclose(history.features.further, further_columns(np.array([1.0, 2.0]), np.array([2, 4])))


def test_of_who_may_not_be_profiled_only_what_their_segment_does_is_known(world: SmallWorld) -> None:
    """Dan is as ann and bob are on average, eve as cat, and fay, whose segment nobody else is in, as the three of them."""
    for user, segment in (("dan", "active"), ("eve", "dormant"), ("fay", "new")):
        world.person(user, may_be_personalised=False, segments=[f"lifecycle:joined:{segment}"])
    for user, events in (("ann", 4), ("bob", 2), ("cat", 3), ("dan", 9)):
        for _ in range(events):
            world.event(user, "film:f1", "view")
    for user in ("ann", "dan"):
        world.response("spring", user, "dismiss")
    with reader(world) as facts:
        people = facts.people()["user_key"].to_pylist()
        known = facts.known()
    assert people == ["ann", "bob", "cat", "dan", "eve", "fay"]
    assert known.activity.tolist() == known.activity_on["film"].tolist() == [4, 2, 3, 3, 3, 3]
    assert known.dismissals.tolist() == [1, 0, 0, 1 / 2, 0, 1 / 3]

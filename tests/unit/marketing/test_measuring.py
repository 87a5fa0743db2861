"""What a campaign caused is told from what would have happened without it."""

from datetime import timedelta

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from models_ml.campaigns.means import pair_moments
from models_ml.campaigns.proportions import share_of_rows
from models_ml.campaigns.valuation import KINDS
from orchestration.marketing.measuring import write_measurement
from tests.unit.marketing.measured_world import AS_OF, START, World, names


@pytest.fixture
def world() -> World:
    return World()


def two_arms(
    world: World, campaign_key: str, treated: int, held_out: int, *, day: float = 0, called: str | None = None
) -> tuple[list[str], list[str]]:
    """People of both arms, known and recorded by the channel."""
    called = called or campaign_key
    arms = names(f"{called}-t", treated), names(f"{called}-c", held_out)
    for users, arm in zip(arms, ("treatment", "control"), strict=True):
        world.people(*users)
        world.exposed(campaign_key, users, arm=arm, day=day)
    return arms


def test_the_lift_is_the_difference_of_the_shares_that_bought(world: World) -> None:
    world.campaign("spring", value_per_conversion=20)
    treated, held_out = two_arms(world, "spring", 40, 40)
    for user in (*treated[:16], *held_out[:4]):
        world.bought(user)
    found = world.result("spring")
    low, high = confint_proportions_2indep(16, 40, 4, 40, method="newcomb")
    assert found["lift_conversion"] == pytest.approx(0.3)
    assert (found["lift_conversion_low"], found["lift_conversion_high"]) == pytest.approx((low, high))
    assert found["incremental_conversions"] == pytest.approx(12)
    assert (found["incremental_conversions_low"], found["incremental_conversions_high"]) == pytest.approx(
        (40 * low, 40 * high)
    )
    # 12 more conversions at 20 each, for 40 exposures at 0.50.
    assert found["return_on_cost"] == pytest.approx(12)
    assert found["verdict"].startswith("Causes about 12 (")
    assert found["verdict"].endswith("more conversions than without; worth 12.0 times its cost.")


@pytest.mark.parametrize(
    ("purchase", "counts"),
    [
        ({"item_id": "wanted", "day": 1}, True),
        ({"item_id": "other", "day": 1}, False),
        ({"item_id": "wanted", "day": 30}, True),
        ({"item_id": "wanted", "day": 30.01}, False),
        ({"item_id": "wanted", "day": 0}, False),
        ({"item_id": "wanted", "day": 61}, False),
        ({"item_id": "wanted", "domain": "film"}, False),
        ({"item_id": "wanted", "is_refunded": True, "amount": 0, "refunded_at": START + timedelta(days=9)}, False),
        ({"item_id": "wanted", "is_refunded": True, "amount": 0, "refunded_at": AS_OF + timedelta(days=1)}, True),
    ],
)
def test_only_what_the_campaign_is_about_bought_within_30_days_and_kept_is_a_conversion(
    world: World, purchase: dict[str, object], counts: bool
) -> None:
    world.campaign("spring", item_ids=["wanted"])
    (treated, *_), _ = two_arms(world, "spring", 2, 2)
    world.bought("somebody else")
    world.bought(treated, **purchase)  # type: ignore[arg-type]
    (found,) = world.lift("campaign", "spring", "conversion", "newcombe")
    assert found["treatment"] == (0.5 if counts else 0)
    (money,) = world.lift("campaign", "spring", "revenue", "welch")
    assert money["treatment"] == (5 if counts else 0)


def test_a_response_that_tells_of_a_purchase_is_not_a_second_conversion(world: World) -> None:
    world.campaign("spring")
    world.people("ann", "ben")
    (shown,) = world.exposed("spring", ["ann"])
    world.exposed("spring", ["ben"], arm="control")
    world.bought("ann", day=1)
    world.answer(shown, "conversion", day=1.5, amount=10)
    measured = world.measure()
    assert measured.attribution.num_rows == 1
    assert measured.result["attributed_revenue"].to_pylist() == [10]


def test_responses_count_only_where_the_channel_records_the_held_out_as_well(world: World) -> None:
    world.campaign("followed")
    world.campaign("promised")
    world.people("ann", "ben")
    (shown,) = world.exposed("followed", ["ann"])
    (record,) = world.exposed("followed", ["ben"], arm="control")
    world.answer(record, "conversion", amount=4)
    assert world.contact("promised", "ben", arm="control")
    answering = world.contact("promised", "ann", arm="treatment")
    world.delivered(answering, "promised", "ann")
    world.answer(shown, "conversion", amount=6)
    world.answer(answering, "conversion", amount=6)
    (found,) = world.lift("campaign", "followed", "conversion", "newcombe")
    assert (found["control"], found["treatment"]) == (1, 1)
    assert world.lift("campaign", "promised", "conversion", "newcombe") == []
    assert world.result("promised")["verdict"] == (
        "Cannot be measured: conversions of the held-out are recorded neither by the channel nor as purchases."
    )
    # Credit needs no held-out people.
    assert world.result("promised")["attributed_conversions_last"] == 1


def test_a_person_in_both_arms_stays_in_the_first(world: World) -> None:
    world.campaign("spring")
    world.people("ann")
    world.exposed("spring", ["ann"], arm="control", day=1)
    world.exposed("spring", ["ann"], arm="treatment", day=2)
    found = world.result("spring")
    assert (found["people_control"], found["people_treatment"], found["people_in_both_arms"]) == (1, 0, 1)
    assert found["held_out_people_exposed"] == 1


def test_the_first_contact_decides_the_arm_whoever_made_it(world: World) -> None:
    world.campaign("spring")
    world.people("ann", "ben", "cat")
    world.contact("spring", "ann", arm="control", day=3)
    world.contact("spring", "ben", arm="control", day=3)
    world.contact("spring", "cat", arm="treatment", day=3)
    world.exposed("spring", ["ann"], day=1)
    world.exposed("spring", ["ben"], day=5)
    found = world.result("spring")
    assert (found["people_control"], found["people_treatment"], found["people_in_both_arms"]) == (1, 2, 2)
    assert (found["people_reached"], found["held_out_people_exposed"]) == (2, 1)
    assert "Note: 1 person of the 1 held out was exposed all the same." in found["verdict"]


def test_a_contact_that_was_never_delivered_counts_as_treated(world: World) -> None:
    world.campaign("spring")
    world.people("ann", "ben")
    world.contact("spring", "ann", arm="treatment")
    world.contact("spring", "ben", arm="control")
    world.bought("ben")
    found = world.result("spring")
    assert (found["people_treatment"], found["people_reached"], found["lift_conversion"]) == (1, 0, -1)


def test_contacts_cost_what_the_ledger_says_and_other_exposures_what_the_brief_says(world: World) -> None:
    world.campaign("spring")
    world.people("ann", "ben")
    answering = world.contact("spring", "ann", arm="treatment")
    world.contact("spring", "ben", arm="control")
    world.delivered(answering, "spring", "ann")
    world.exposed("spring", ["ann"], day=1)
    world.exposed("spring", ["ann"], day=99)
    world.contact("spring", "ann", arm="treatment", day=99)
    measured = world.measure()
    # 0.25 for the contact and its exposure together, 0.50 for the one that no plan knows; what is to come costs nothing yet.
    assert measured.result["cost"].to_pylist() == [0.75]
    days = [
        (row["contacts_promised"], row["exposures"], row["cost"], row["cost_to_date"], row["budget_share_to_date"])
        for row in measured.day.to_pylist()
    ]
    assert days == [(1, 1, 0.25, 0.25, 0.0025), (0, 1, 0.5, 0.75, 0.0075)]


def test_an_erased_person_is_no_subject(world: World) -> None:
    world.campaign("spring")
    world.people("ann", "ben")
    for user, arm in (("ann", "treatment"), ("ben", "control"), ("erased", "treatment")):
        world.contact("spring", user, arm=arm)
    assert world.result("spring")["people_treatment"] == 1


def test_holdouts_of_different_sizes_do_not_pass_for_an_effect(world: World) -> None:
    # Nothing is caused: in each campaign both arms buy alike. Thrown together, 30 of 60 against 18 of 60 would have bought.
    world.campaign("loved", kind="interactive")
    world.campaign("ignored", kind="interactive", channel="push")
    for campaign_key, treated, held_out, rate in (("loved", 50, 10, 0.6), ("ignored", 10, 50, 0.2)):
        arms = two_arms(world, campaign_key, treated, held_out)
        for users in arms:
            for user in users[: round(rate * len(users))]:
                world.bought(user)
    for scope, value in (("all", "all"), ("kind", "interactive")):
        (found,) = world.lift(scope, value, "conversion", "newcombe")
        assert found["difference"] == pytest.approx(0)
        assert found["control"] == found["treatment"] == pytest.approx(0.4)
        assert found["p_value"] == pytest.approx(1)
        assert (found["people_control"], found["people_treatment"]) == (60, 60)
        (money,) = world.lift(scope, value, "revenue", "welch")
        assert money["difference"] == pytest.approx(0)


def test_money_is_never_added_over_currencies(world: World) -> None:
    world.campaign("dollars", currency="USD")
    world.campaign("euros", currency="EUR")
    for campaign_key in ("dollars", "euros"):
        (first, *_), _ = two_arms(world, campaign_key, 2, 2)
        world.bought(first, currency="USD", gross_amount=8, amount=8)
    rows = world.lift("all", "all", "revenue", "welch")
    assert [(row["currency"], row["treatment"], row["people_treatment"]) for row in rows] == [
        ("EUR", 0, 2),
        ("USD", 4, 2),
    ]
    # It is a conversion all the same, in whatever money.
    assert world.result("euros")["lift_conversion"] == 0.5
    assert world.result("euros")["incremental_revenue"] == 0


def test_overlapping_campaigns_share_the_credit_of_one_purchase(world: World) -> None:
    world.campaign("first")
    world.campaign("second")
    world.people("ann")
    world.exposed("first", ["ann"], day=1)
    world.exposed("first", ["ann"], day=2)
    world.exposed("second", ["ann"], day=3)
    world.exposed("second", ["ann"], arm="control", day=3.5)
    world.exposed("second", ["ann"], day=5)
    world.bought("ann", day=4)
    world.bought("ann", day=50)
    measured = world.measure()
    assert [
        (row["campaign_key"], row["last"], row["linear"], row["position"]) for row in measured.attribution.to_pylist()
    ] == [
        ("first", 0, pytest.approx(1 / 3), 0.4),
        ("first", 0, pytest.approx(1 / 3), pytest.approx(0.2)),
        ("second", 1, pytest.approx(1 / 3), 0.4),
    ]
    assert measured.result["attributed_conversions_position"].to_pylist() == pytest.approx([0.6, 0.4])
    assert measured.result["attributed_revenue"].to_pylist() == pytest.approx([20 / 3, 10 / 3])


def test_shares_within_days_are_of_those_followed_for_so_long(world: World) -> None:
    world.campaign("spring")
    (early, *_), _ = two_arms(world, "spring", 2, 2)
    late, _ = two_arms(world, "spring", 3, 3, day=55, called="late")
    world.did(early, "view", day=0.5)
    world.did(late[2], "view", day=58)
    assert [row["people_treatment"] for row in world.lift("campaign", "spring", "return_7d", "newcombe")] == [2]
    assert world.lift("campaign", "spring", "return_1d", "newcombe")[0]["treatment"] == pytest.approx(0.2)


def test_what_is_not_recorded_has_no_row(world: World) -> None:
    world.campaign("spring")
    two_arms(world, "spring", 2, 2)
    measures = {row["measure"] for row in world.measure().lift.to_pylist()}
    assert measures == {"conversion", "revenue", "return_1d", "return_7d", "return_30d"}


def test_an_impression_is_no_return(world: World) -> None:
    world.campaign("spring")
    (first, *_), _ = two_arms(world, "spring", 1, 1)
    world.did(first, "impression", day=0.5)
    assert world.lift("campaign", "spring", "return_1d", "newcombe")[0]["treatment"] == 0


def test_lifts_of_segments_are_of_those_who_were_in_them_at_the_start(world: World) -> None:
    world.campaign("spring")
    (ann, ben), (cal, dan) = two_arms(world, "spring", 2, 2)
    for user in (ann, cal):
        world.belongs(user, "lifecycle:film:new", since=-5, until=10)
    for user in (ben, dan):
        world.belongs(user, "lifecycle:film:new", since=5)
    world.bought(ann)
    (found,) = world.lift("segment", "lifecycle:film:new", "conversion", "newcombe")
    assert (found["treatment"], found["people_treatment"], found["people_control"]) == (1, 1, 1)


def test_who_leaves_a_segment_by_buying_counts_in_it_where_the_contact_remembers_it(world: World) -> None:
    potential = "potential:film:knowledge"
    world.campaign("spring")
    people = ("buys", "does not", "held out")
    world.people(*people)
    for user, arm in zip(people, ("treatment", "treatment", "control"), strict=True):
        contact = world.contact("spring", user, arm=arm, segment_keys=[potential, "lifecycle:joined:active"])
        if arm == "treatment":
            world.delivered(contact, "spring", user)
    world.bought("buys")
    world.belongs("does not", potential, since=0)
    world.belongs("does not", "lifecycle:joined:dormant", since=-9)
    world.belongs("buys", "lifecycle:joined:active", since=-9)
    (found,) = world.lift("segment", potential, "conversion", "newcombe")
    assert (found["treatment"], found["people_treatment"], found["people_control"]) == (0.5, 2, 1)
    rates = {
        row["segment_key"]: row
        for row in world.measure().rate.to_pylist()
        if row["answer"] == "conversion" and row["kind"] == "cross_ad"
    }
    assert {key: (row["exposures"], row["answers"]) for key, row in rates.items()} == {
        "all": (2, 1),
        potential: (2, 1),
        "lifecycle:joined:active": (2, 1),
        "lifecycle:joined:dormant": (0, 0),
    }


def test_of_exposures_that_no_contact_tells_the_segments_count_that_were_known_when_they_were_shown(
    world: World,
) -> None:
    world.campaign("spring")
    (ann,), _ = two_arms(world, "spring", 1, 1)
    world.belongs(ann, "potential:film:high", since=-9, until=5)
    world.belongs(ann, "value:joined:loyal", since=-9)
    world.belongs(ann, "interest:joined:war", since=-9, until=-1)
    world.belongs(ann, "interest:joined:drama", since=5)
    measured = world.measure()
    known = {"potential:film:high", "value:joined:loyal"}
    assert {row["scope_value"] for row in measured.lift.to_pylist() if row["scope"] == "segment"} == known
    counted = {row["segment_key"] for row in measured.rate.to_pylist() if row["exposures"]}
    assert counted == {"all", *known}


def test_p_values_are_adjusted_over_campaigns_only(world: World) -> None:
    for campaign_key, bought in (("clear", 14), ("weak", 6)):
        world.campaign(campaign_key)
        treated, held_out = two_arms(world, campaign_key, 20, 20)
        for user in (*treated[:bought], *held_out[:2]):
            world.bought(user)
    clear, weak = (world.lift("campaign", key, "conversion", "newcombe")[0] for key in ("clear", "weak"))
    assert clear["p_adjusted"] == pytest.approx(2 * clear["p_value"])
    assert weak["p_adjusted"] == pytest.approx(weak["p_value"])
    assert world.lift("all", "all", "conversion", "newcombe")[0]["p_adjusted"] is None


def test_campaigns_that_come_later_take_no_proof_away(world: World) -> None:
    world.campaign("first")
    treated, held_out = two_arms(world, "first", 40, 40)
    for user in (*treated[:13], *held_out[:4]):
        world.bought(user)
    alone = world.result("first")
    assert alone["verdict"].startswith("Causes")
    assert alone["lift_conversion_p_adjusted"] == alone["lift_conversion_p_value"]
    # The follow-up of the first is over on day 58.
    for number in range(5):
        world.campaign(f"later-{number}", ends_at=START + timedelta(days=90))
        two_arms(world, f"later-{number}", 20, 20, day=58)
    assert world.result("first") == alone


def test_a_campaign_whose_measurement_is_complete_keeps_its_p_value_whatever_others_of_its_time_turn_out_to_be(
    world: World,
) -> None:
    world.campaign("first")
    treated, held_out = two_arms(world, "first", 40, 40)
    for user in (*treated[:14], *held_out[:4]):
        world.bought(user)
    world.campaign("second", ends_at=START + timedelta(days=70))
    late, _ = two_arms(world, "second", 40, 40, day=50)
    found = world.lift("campaign", "first", "conversion", "newcombe")[0]
    assert found["p_adjusted"] == pytest.approx(2 * found["p_value"])
    for user in late:
        world.bought(user, day=61)
    world.looked_at(70)
    assert world.lift("campaign", "second", "conversion", "newcombe")[0]["p_value"] < found["p_value"]
    assert world.lift("campaign", "first", "conversion", "newcombe")[0]["p_adjusted"] == found["p_adjusted"]


def test_before_the_end_the_verdict_rests_on_the_interval_that_may_be_looked_at_every_day(world: World) -> None:
    world.campaign("spring")
    treated, held_out = two_arms(world, "spring", 40, 40)
    for user in (*treated[:14], *held_out[:4]):
        world.bought(user)
    world.looked_at(57)
    early = world.result("spring")
    (sequence,) = world.lift("campaign", "spring", "conversion", "sequential")
    assert early["verdict_basis"] == "sequential"
    ends = (early["lift_conversion_sequential_low"], early["lift_conversion_sequential_high"])
    assert ends == (sequence["ci_low"], sequence["ci_high"])
    assert early["lift_conversion_low"] > 0 > ends[0]
    assert early["verdict"].startswith(
        f"No proof yet: a difference of +10 conversions ({40 * ends[0]:+.0f} to {40 * ends[1]:+.0f})"
    )
    world.looked_at(58)
    final = world.result("spring")
    assert (final["verdict_basis"], final["lift_conversion_low"]) == ("fixed_horizon", early["lift_conversion_low"])
    assert final["verdict"].startswith("Causes about 10 (")
    # Whoever is contacted after the end is waited for, and without an end there is none.
    world.people("late")
    world.exposed("spring", ["late"], day=57.5)
    assert world.result("spring")["verdict_basis"] == "sequential"
    world.campaign("endless", ends_at=None)
    two_arms(world, "endless", 2, 2)
    assert world.result("endless")["verdict_basis"] == "sequential"


def test_arms_of_the_wrong_sizes_are_not_to_be_trusted(world: World) -> None:
    world.campaign("spring")
    two_arms(world, "spring", 80, 30)
    found = world.result("spring")
    assert found["sample_ratio_alarm"]
    assert found["verdict"].startswith("Do not trust: 30 of 110 people are held out where about 55 were to be")


def test_arms_are_held_against_the_lot_that_fell_then_and_not_against_the_holdout_of_today(world: World) -> None:
    # Half were held out of 200, then the brief says 10 %. That of today would have 100 of 200 for a loss of people.
    world.campaign("spring", holdout_share=0.1)
    arms = names("t", 100), names("c", 100)
    for users, arm in zip(arms, ("treatment", "control"), strict=True):
        world.people(*users)
        for user in users:
            world.contact("spring", user, arm=arm, propensity=0.5)
    found = world.result("spring")
    assert (found["sample_ratio_p_value"], found["sample_ratio_alarm"]) == (pytest.approx(1), False)
    # 90 of 100 who came since are contacted, as they should be: 110 of 300 held out in all.
    later = names("u", 90), names("d", 10)
    for users, arm in zip(later, ("treatment", "control"), strict=True):
        world.people(*users)
        for user in users:
            world.contact("spring", user, arm=arm, day=9, propensity=0.9)
    assert world.result("spring")["sample_ratio_p_value"] == pytest.approx(1)


def test_of_exposures_without_a_contact_the_brief_says_how_many_are_held_out(world: World) -> None:
    world.campaign("spring", holdout_share=0.25)
    two_arms(world, "spring", 75, 25)
    assert world.result("spring")["sample_ratio_p_value"] == pytest.approx(1)


def test_a_lot_that_another_system_delivers_counts_and_not_the_holdout_of_the_brief(world: World) -> None:
    world.campaign("spring", holdout_share=0.1)
    held_out, contacted = names("c", 100), names("t", 400)
    world.people(*held_out, *contacted)
    # Of an exposure the item's propensity is in it, so that only controls tell of the lot.
    world.exposed("spring", contacted, propensity=0.27)
    world.exposed("spring", held_out, arm="control", propensity=0.2)
    found = world.result("spring")
    assert (found["sample_ratio_p_value"], found["sample_ratio_alarm"]) == (pytest.approx(1), False)
    # Where controls tell of several lots, none is known, and that of the brief is none of them.
    world.people("late")
    world.exposed("spring", ["late"], arm="control", propensity=0.3)
    found = world.result("spring")
    assert (found["sample_ratio_p_value"], found["sample_ratio_alarm"]) == (None, False)
    assert found["lift_conversion"] is not None


def test_people_whose_arm_nobody_drew_are_in_no_experiment(world: World) -> None:
    world.campaign("spring", holdout_share=0.5)
    everyone = names("before", 300)
    world.people(*everyone)
    world.exposed("spring", everyone)
    for user in everyone:
        world.bought(user)
    assert world.result("spring")["verdict"].startswith("Cannot be measured: no held-out people are known")
    (alone,) = world.lift("campaign", "spring", "conversion", "newcombe")
    assert alone["reason"] is not None
    # A plan then draws of a hundred others, of whom one in ten of both arms buys anyway.
    arms = names("t", 50), names("c", 50)
    for users, arm in zip(arms, ("treatment", "control"), strict=True):
        world.people(*users)
        for user in users:
            world.contact("spring", user, arm=arm, day=5)
        for user in users[:5]:
            world.bought(user, day=6)
    found = world.result("spring")
    assert (found["sample_ratio_p_value"], found["sample_ratio_alarm"]) == (pytest.approx(1), False)
    assert (found["people_treatment"], found["people_control"]) == (350, 50)
    assert (found["lift_conversion"], found["incremental_conversions"]) == (0, 0)
    for scope, value in (("campaign", "spring"), ("all", "all")):
        (lift,) = world.lift(scope, value, "conversion", "newcombe")
        assert (lift["people_treatment"], lift["people_control"], lift["difference"]) == (50, 50, 0)
    last = world.measure().day.to_pylist()[-1]
    assert last["lift_to_date"] == 0


def test_who_was_shown_a_contact_that_is_anothers_since_accounts_were_parted_is_of_its_lot(world: World) -> None:
    world.campaign("spring", holdout_share=0.1)
    firsts, seconds, held_out = names("first", 30), names("second", 30), names("c", 60)
    world.people(*firsts, *seconds, *held_out)
    for first, second in zip(firsts, seconds, strict=True):
        key = world.contact("spring", first, arm="treatment")
        world.delivered(key, "spring", second)
    for user in held_out:
        world.contact("spring", user, arm="control")
    found = world.result("spring")
    assert (found["people_treatment"], found["sample_ratio_p_value"]) == (60, pytest.approx(1))


def test_the_lift_to_date_is_what_could_be_seen_that_evening(world: World) -> None:
    world.campaign("spring")
    two_arms(world, "spring", 4, 4)
    world.exposed("spring", ["spring-t-000"], day=2)
    world.bought("spring-t-001", day=1)
    world.bought("spring-c-001", day=2.1)
    world.bought("spring-t-002", day=9)
    days = world.measure().day.to_pylist()
    assert [row["lift_to_date"] for row in days] == [0, 0]
    world.bought("spring-t-003", day=2)
    days = world.measure().day.to_pylist()
    assert [row["lift_to_date"] for row in days] == [0, 0.25]
    assert all(-1 <= row["lift_to_date_low"] <= row["lift_to_date"] <= row["lift_to_date_high"] <= 1 for row in days)


def test_nothing_that_happened_after_as_of_is_measured(world: World) -> None:
    world.campaign("spring")
    world.people("ann", "ben", "cal")
    (shown,) = world.exposed("spring", ["ann"])
    world.exposed("spring", ["ben"], arm="control")
    world.answer(shown, "click", day=1)
    world.bought("ann", day=2)
    world.looked_at(3)
    seen = world.measure()
    world.exposed("spring", ["cal"], day=4)
    world.answer(shown, "dismiss", day=4)
    world.contact("spring", "cal", arm="treatment", day=4)
    world.bought("ann", day=4)
    assert world.measure() == seen


def test_what_the_run_itself_hands_over_is_not_measured_when_it_is_made_again(world: World) -> None:
    world.campaign("spring")
    world.people("ann", "ben", "cal")
    world.contact("spring", "ann", arm="treatment")
    world.contact("spring", "ben", arm="control")
    world.looked_at(3)
    before = world.measure()
    # East of here the next day has begun, so that its contact may be made at once.
    world.contact("spring", "cal", arm="treatment", day=3, decided_at=START + timedelta(days=3))
    assert world.measure() == before
    world.looked_at(3.01)
    assert world.result("spring")["people_treatment"] == 2


def test_without_exposures_rates_are_what_is_assumed_for_every_kind(world: World) -> None:
    world.belongs("ann", "lifecycle:joined:active", since=0)
    rates = world.measure().rate.to_pylist()
    everyone = {(row["kind"], row["answer"]): row["rate"] for row in rates if row["segment_key"] == "all"}
    assumed = {"click": 0.03, "conversion": 0.005, "dismiss": 0.03, "unsubscribe": 0.003}
    assert everyone == {(kind, answer): pytest.approx(rate) for kind in KINDS for answer, rate in assumed.items()}
    assert all(row["is_prior_only"] and row["prior_strength"] == 50 for row in rates)
    assert {row["segment_key"] for row in rates} == {"all", "lifecycle:joined:active"}


def test_rates_are_drawn_towards_what_is_known_by_50_exposures(world: World) -> None:
    world.campaign("spring")
    world.people(*names("t", 50))
    for shown in world.exposed("spring", names("t", 50))[:10]:
        world.answer(shown, "click")
        world.answer(shown, "click", day=2)
    rates = {
        (row["kind"], row["answer"]): row for row in world.measure().rate.to_pylist() if row["segment_key"] == "all"
    }
    found = rates["cross_ad", "click"]
    assert (found["exposures"], found["answers"], found["is_prior_only"]) == (50, 10, False)
    # 10 and 1.5 of 50 and 50; the other kinds have nothing of their own.
    assert found["rate"] == pytest.approx(0.115)
    assert rates["interactive", "click"]["rate"] == pytest.approx(0.03)


def test_exposures_that_answers_may_still_come_to_do_not_lower_rates(world: World) -> None:
    world.campaign("spring")
    people = names("t", 50)
    world.people(*people, *names("u", 50))
    for shown in world.exposed("spring", people)[:10]:
        world.answer(shown, "click")
    world.looked_at(20)
    before = world.measure().rate
    world.exposed("spring", names("u", 50), day=15)
    assert world.measure().rate == before
    world.looked_at(23)
    after = {
        row["answer"]: row
        for row in world.measure().rate.to_pylist()
        if row["segment_key"] == "all" and row["kind"] == "cross_ad"
    }
    assert (after["click"]["exposures"], after["click"]["answers"]) == (100, 10)


def test_no_prior_is_surer_than_the_exposures_that_made_it(world: World) -> None:
    world.campaign("spring")
    people = names("t", 300)
    world.people(*people)
    for place, user in enumerate(people):
        world.belongs(user, f"value:joined:{('champions', 'loyal', 'lapsed')[place % 3]}", since=-9)
    for shown in world.exposed("spring", people)[:30]:
        world.answer(shown, "click")
    rates = [
        row
        for row in world.measure().rate.to_pylist()
        if row["answer"] == "click" and row["segment_key"] == "value:joined:loyal"
    ]
    (found,) = [row for row in rates if row["kind"] == "cross_ad"]
    assert found["prior_strength"] == pytest.approx(300)
    assert found["prior_mean"] == pytest.approx(0.1, rel=1e-3)
    assert found["ci_high"] - found["ci_low"] > 0.04


def test_one_person_who_clicks_on_everything_does_not_make_a_click_rate_sure(world: World) -> None:
    world.campaign("many")
    world.campaign("one")
    people = names("t", 20)
    world.people(*people)
    for day in range(5):
        for place, shown in enumerate(world.exposed("many", people, day=day)):
            if place < 4:
                world.answer(shown, "click", day=day + 0.5)
    for shown in world.exposed("one", people)[:4]:
        world.answer(shown, "click")
    many, one = world.result("many"), world.result("one")
    assert many["click_rate"] == one["click_rate"] == 0.2
    # 20 of 100 exposures are 4 of 20 people; Wilson's interval of 4 of 20 is 8 to 42 %, of 20 of 100 it would be 13 to 29 %.
    assert (one["click_rate_low"], one["click_rate_high"]) == pytest.approx((0.0807, 0.4160), abs=1e-4)
    assert many["click_rate_low"] < 0.0807
    assert many["click_rate_high"] > 0.4160
    assert many["click_rate_low"] >= 0
    assert many["click_rate_high"] <= 1


def test_stars_are_told_as_a_mean_with_its_interval_by_people(world: World) -> None:
    world.campaign("spring")
    world.campaign("quiet")
    people = ("ann", "ben", "cal", "held")
    world.people(*people)
    shown = dict(zip(people, world.exposed("spring", people[:3]), strict=False))
    (again,) = world.exposed("spring", ["ann"], day=2)
    (record,) = world.exposed("spring", ["held"], arm="control")
    world.exposed("quiet", ["ann"])
    for exposure, stars, day in (
        (shown["ann"], 5, 1),
        (again, 3, 3),
        (shown["ben"], 2, 3),
        (record, 1, 1),
        (shown["cal"], 1, 99),
    ):
        world.answer(exposure, "satisfaction", value=stars, day=day)
    world.answer(shown["cal"], "satisfaction")
    found = world.result("spring")
    assert (found["satisfaction_answers"], found["satisfaction"]) == (3, pytest.approx(10 / 3))
    # Of two people with 8 stars in 2 answers and 2 in 1: both are 4 / 3 off, over 1.5 answers each; sqrt(32 / 9 / 2 / 2.25).
    half = stats.t.ppf(0.975, 1) * (32 / 9 / 2 / 2.25) ** 0.5
    assert (found["satisfaction_low"], found["satisfaction_high"]) == pytest.approx((10 / 3 - half, 10 / 3 + half))
    quiet = world.result("quiet")
    assert (quiet["satisfaction_answers"], quiet["satisfaction"], quiet["satisfaction_low"]) == (0, None, None)


def test_what_was_shown_answered_and_spent_is_told_by_kind_channel_and_segment(world: World) -> None:
    world.campaign("spring", kind="interactive", channel="push")
    world.campaign("autumn")
    world.campaign("euros", currency="EUR")
    world.people("ann", "ben", "cal")
    segment = "potential:film:knowledge"
    contact = world.contact("spring", "ann", arm="treatment", channel="push", segment_keys=[segment])
    world.contact("spring", "ben", arm="treatment", channel="push", segment_keys=[segment])
    world.contact("spring", "cal", arm="control", channel="push", segment_keys=[segment])
    world.delivered(contact, "spring", "ann")
    world.connection.execute("update core.fct_exposure set channel = 'push'")
    world.answer(contact, "click")
    world.bought("ann", day=2)
    for campaign_key in ("autumn", "autumn", "euros"):
        world.exposed(campaign_key, ["ben"], day=5)
    rows = world.measure().reach.to_pylist()
    columns = ("currency", "exposures", "people", "clicks", "revenue", "cost")
    found = {
        (row["scope"], row["scope_value"], row["currency"]): tuple(row[name] for name in columns[1:]) for row in rows
    }
    # Of the two contacts one was not shown; both cost 0.25.
    for scope, value in (("campaign", "spring"), ("kind", "interactive"), ("channel", "push"), ("segment", segment)):
        assert found[scope, value, "USD"] == (1, 1, 1, 10, 0.5)
    assert found["kind", "cross_ad", "USD"] == found["channel", "email", "USD"] == (2, 1, 0, 0, 1)
    assert found["all", "all", "USD"] == (3, 2, 1, 10, 1.5)
    assert found["all", "all", "EUR"] == (1, 1, 0, 0, 0.5)
    results = world.measure().result.to_pylist()
    assert sum(row["cost"] for row in results) == sum(row["cost"] for row in rows if row["scope"] == "campaign")


def test_how_many_click_is_told_by_people_of_each_scope(world: World) -> None:
    random = np.random.default_rng(3)
    # Clicks and exposures of each person.
    shown: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
    world.people(*names("p", 12))
    for place, campaign_key in enumerate(("spring", "autumn")):
        world.campaign(campaign_key, kind=("cross_ad", "interactive")[place])
        for user in names("p", 12)[place:]:
            exposures = world.exposed(campaign_key, [user] * int(random.integers(0, 4)), day=5)
            clicked = [key for key in exposures if random.random() < 0.5]
            for key in clicked:
                world.answer(key, "click", day=6)
            # Of those to whom nothing was shown there is a contact.
            world.contact(campaign_key, user, arm="treatment", segment_keys=["all of them"])
            for scope in (("all", "all"), ("campaign", campaign_key), ("channel", "email")):
                before = shown.setdefault(scope, {}).get(user, (0, 0))
                shown[scope][user] = (before[0] + len(clicked), before[1] + len(exposures))
    found = {(row["scope"], row["scope_value"]): row for row in world.measure().reach.to_pylist()}
    for scope, people in shown.items():
        clicks, exposures = np.array([one for one in people.values() if one[1]], float).T
        expected = share_of_rows(pair_moments(clicks, exposures, np.zeros(len(clicks), int), 1))
        row = found[scope]
        assert (row["people"], row["exposures"], row["clicks"]) == (len(clicks), exposures.sum(), clicks.sum())
        assert (row["click_rate"], row["click_rate_low"], row["click_rate_high"]) == pytest.approx(
            (expected.value[0], expected.low[0], expected.high[0]), rel=1e-12
        )
        assert exposures.max() > 1
    unseen = found["segment", "all of them"]
    assert (unseen["people"], unseen["exposures"], unseen["click_rate"], unseen["cost"]) == (0, 0, None, 23 * 0.25)


def test_a_campaign_that_is_only_mentioned_has_a_result_without_money(world: World) -> None:
    world.campaign(
        "heard-of", kind=None, currency=None, channel=None, target_platform=None, item_ids=None, holdout_share=None
    )
    world.people("ann")
    world.exposed("heard-of", ["ann"])
    found = world.result("heard-of")
    assert (found["attributed_revenue"], found["incremental_revenue"], found["currency"]) == (None, None, None)
    assert found["verdict"].startswith("Cannot be measured: no held-out people are known")


def test_an_empty_warehouse_has_nothing_but_what_is_assumed(world: World) -> None:
    measured = world.measure()
    assert [table.num_rows for table in (measured.result, measured.day, measured.lift, measured.attribution)] == [
        0,
        0,
        0,
        0,
    ]
    assert measured.rate.num_rows == 16
    write_measurement(world.connection, measured)
    write_measurement(world.connection, measured)
    assert world.connection.execute("select count(*) from marketing.measured_rate").fetchone() == (16,)


def test_measuring_writes_nothing_and_gives_the_same_twice(world: World) -> None:
    world.campaign("spring")
    two_arms(world, "spring", 3, 3)
    before = world.connection.execute("select table_name from duckdb_tables() order by all").fetchall()
    assert world.measure() == world.measure()
    assert world.connection.execute("select table_name from duckdb_tables() order by all").fetchall() == before


def quiz(world: World, *, recorded: dict[str, str] | None = None, **brief: object) -> None:
    """A challenge from m1 to c1, and somebody outside of it by whom each platform delivers events of a kind."""
    world.catalogue("film:m1", "knowledge:c1")
    world.catalogue("film:mentioned", is_inferred=True)
    world.campaign("quiz", **({"kind": "interactive", "item_ids": ["c1"], "source_item_ids": ["m1"]} | brief))
    for domain, event_type in (recorded or {"film": "rating", "knowledge": "complete"}).items():
        world.did("bystander", event_type, day=1, domain=domain)


@pytest.mark.parametrize(
    ("done", "counts"),
    [
        ([("film:m1", "complete", 1), ("knowledge:c2", "rating", 14)], True),
        # In the other order, one step alone, or begun before contact.
        ([("knowledge:c1", "complete", 1), ("film:m1", "complete", 2)], False),
        ([("film:m1", "complete", 1)], False),
        ([("knowledge:c1", "complete", 1)], False),
        ([("film:m1", "complete", -1), ("knowledge:c1", "complete", 2)], False),
        # Too late, looked at only, an item that is not of it, and its id on the other platform.
        ([("film:m1", "complete", 1), ("knowledge:c1", "complete", 14.01)], False),
        ([("film:m1", "view", 1), ("knowledge:c1", "complete", 2)], False),
        ([("film:m9", "complete", 1), ("knowledge:c1", "complete", 2)], False),
        ([("knowledge:m1", "complete", 1), ("film:c1", "complete", 2)], False),
        # Begun, ended, and begun again.
        ([("film:m1", "complete", 3), ("knowledge:c1", "complete", 2), ("knowledge:c1", "complete", 4)], True),
    ],
)
def test_a_challenge_is_completed_by_an_item_of_the_source_and_then_one_of_the_target_in_time(
    world: World, done: list[tuple[str, str, float]], counts: bool
) -> None:
    quiz(world, item_ids=["c1", "c2"], source_item_ids=["m1"])
    (treated, *_), _ = two_arms(world, "quiz", 2, 2)
    for item_key, event_type, day in done:
        domain, item_id = item_key.split(":")
        world.did(treated, event_type, item_id, day=day, domain=domain)
    (found,) = world.lift("campaign", "quiz", "challenge_14d", "newcombe")
    assert (found["control"], found["treatment"]) == (0, 0.5 if counts else 0)


def test_the_challenge_is_compared_between_the_arms(world: World) -> None:
    quiz(world)
    treated, held_out = two_arms(world, "quiz", 40, 40)
    for user in (*treated[:20], *held_out[:4]):
        world.did(user, "complete", "m1", day=2, domain="film")
        world.did(user, "complete", "c1", day=3)
    (found,) = world.lift("campaign", "quiz", "challenge_14d", "newcombe")
    low, high = confint_proportions_2indep(20, 40, 4, 40, method="newcomb")
    assert found["difference"] == pytest.approx(0.4)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((low, high))


@pytest.mark.parametrize(
    "brief",
    [
        {"source_item_ids": []},
        {"item_ids": []},
        {"source_item_ids": ["nope", "c1"]},
        {"source_item_ids": ["mentioned"]},
        {"item_ids": ["nope", "m1"]},
        {"kind": "special_programme"},
    ],
)
def test_a_campaign_without_two_steps_is_no_challenge(world: World, brief: dict[str, object]) -> None:
    quiz(world, **brief)
    two_arms(world, "quiz", 2, 2)
    assert world.lift("campaign", "quiz", "challenge_14d", "newcombe") == []


@pytest.mark.parametrize(
    ("film", "knowledge", "is_told"),
    [
        ("complete", "rating", True),
        ("rating", "rating", True),
        ("view", "complete", False),
        ("complete", "view", False),
    ],
)
def test_a_challenge_with_a_step_that_its_platform_never_delivers_is_not_measured(
    world: World, film: str, knowledge: str, is_told: bool
) -> None:
    quiz(world, recorded={"film": film, "knowledge": knowledge})
    two_arms(world, "quiz", 2, 2)
    assert bool(world.lift("campaign", "quiz", "challenge_14d", "newcombe")) == is_told


def test_what_was_done_with_an_item_before_it_left_the_catalogue_counts(world: World) -> None:
    quiz(world, source_item_ids=["m1", "gone"])
    (treated, *_), _ = two_arms(world, "quiz", 2, 2)
    world.did(treated, "complete", "gone", day=1, domain="film")
    world.did(treated, "complete", "c1", day=2)
    (found,) = world.lift("campaign", "quiz", "challenge_14d", "newcombe")
    assert found["treatment"] == 0.5


def test_items_of_the_source_platform_are_no_conversions(world: World) -> None:
    world.campaign("shelf", kind="special_programme", item_ids=["c1"], source_item_ids=["m1"])
    (buyer, other), _ = two_arms(world, "shelf", 2, 2)
    world.bought(other, "c1")
    world.bought(buyer, "m1")
    world.bought(buyer, "m1", domain="film", item_key="film:m1")
    (found,) = world.lift("campaign", "shelf", "conversion", "newcombe")
    assert found["treatment"] == 0.5

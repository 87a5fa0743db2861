"""What may be said of a campaign is never more than its figures bear."""

from dataclasses import replace

import pytest

from orchestration.marketing.verdict import Evidence, verdict

# A campaign with a clear effect: 12 more conversions, 4 to 20.
PROVEN = Evidence(
    is_complete=True,
    people_treatment=1_000,
    people_control=1_000,
    lots_treatment=1_000,
    lots_control=1_000,
    planned_control_share=0.5,
    sample_ratio_p_value=0.8,
    sample_ratio_alarm=False,
    is_measured=True,
    difference=0.012,
    incremental=12.0,
    low=4.0,
    high=20.0,
    p_value=0.003,
    p_adjusted=0.006,
    return_on_cost=2.04,
    detectable_difference=0.0123,
    held_out_people_exposed=0,
)


def test_an_effect_is_told_with_its_interval_and_what_it_is_worth() -> None:
    assert verdict(PROVEN) == "Causes about 12 (4 to 20) more conversions than without; worth 2.0 times its cost."


def test_a_worth_that_is_not_known_is_not_told() -> None:
    assert verdict(replace(PROVEN, return_on_cost=None)) == "Causes about 12 (4 to 20) more conversions than without."


def test_thousands_have_a_comma() -> None:
    found = replace(PROVEN, incremental=12_345.6, low=4_000, high=20_000)
    assert verdict(found).startswith("Causes about 12,346 (4,000 to 20,000) more")


def test_a_harm_is_told_the_right_way_round() -> None:
    found = replace(PROVEN, difference=-0.012, incremental=-12.0, low=-20.0, high=-4.0)
    assert verdict(found) == (
        "Costs conversions: about 12 (4 to 20) fewer than without; stop it or change whom it reaches."
    )


@pytest.mark.parametrize(
    ("low", "p_adjusted", "is_claimed"), [(0.1, 0.0499, True), (0.1, 0.05, False), (0.0, 0.0499, False)]
)
def test_an_effect_is_claimed_only_below_the_level_and_above_zero(
    low: float, p_adjusted: float, is_claimed: bool
) -> None:
    said = verdict(replace(PROVEN, low=low, p_adjusted=p_adjusted))
    assert said.startswith("Causes") == is_claimed
    assert said.startswith("No proof yet") != is_claimed


@pytest.mark.parametrize(
    ("high", "p_adjusted", "is_claimed"), [(-0.1, 0.0499, True), (-0.1, 0.05, False), (0.0, 0.0499, False)]
)
def test_a_harm_is_claimed_only_below_the_level_and_below_zero(
    high: float, p_adjusted: float, is_claimed: bool
) -> None:
    said = verdict(replace(PROVEN, incremental=-12.0, low=-20.0, high=high, p_adjusted=p_adjusted))
    assert said.startswith("Costs conversions") == is_claimed
    assert said.startswith("No proof yet") != is_claimed


def test_one_of_many_campaigns_that_looks_good_is_no_proof() -> None:
    assert verdict(replace(PROVEN, p_value=0.0499, p_adjusted=0.2)) == (
        "No proof yet: a difference of +12 conversions (+4 to +20); among as many campaigns as these, one such by chance is no "
        "surprise."
    )


def test_what_may_be_chance_says_how_small_an_effect_could_have_been_found() -> None:
    found = replace(PROVEN, incremental=-1.4, low=-9.0, high=6.0, p_value=0.05, p_adjusted=0.05)
    assert verdict(found) == (
        "No proof yet: a difference of -1 conversions (-9 to +6) may be chance; with these arms only a rise of 1.2 percentage "
        "points or more would mostly be found."
    )
    assert verdict(replace(found, detectable_difference=None)) == (
        "No proof yet: a difference of -1 conversions (-9 to +6) may be chance."
    )


def test_while_a_campaign_is_measured_it_is_told_so_far() -> None:
    now = replace(PROVEN, is_complete=False)
    assert verdict(now) == ("Causes about 12 (4 to 20) more conversions so far than without; worth 2.0 times its cost.")
    assert "about 12 (4 to 20) fewer so far than without" in verdict(
        replace(now, incremental=-12.0, low=-20.0, high=-4.0)
    )
    assert verdict(replace(now, low=-9.0, high=33.0, p_value=0.3, p_adjusted=0.6)) == (
        "No proof yet: a difference of +12 conversions (-9 to +33) so far may be chance; this range holds on any day it "
        "is looked at, at the end a narrower one does."
    )


def test_without_either_arm_it_cannot_be_measured() -> None:
    assert verdict(replace(PROVEN, people_control=0)) == (
        "Cannot be measured: no held-out people are known, so nobody knows what would have happened without it."
    )
    assert verdict(replace(PROVEN, people_treatment=0)) == (
        "Cannot be measured: only held-out people are known, nobody was drawn to be contacted."
    )


def test_arms_of_the_wrong_size_come_before_any_effect() -> None:
    found = replace(
        PROVEN, lots_control=600, lots_treatment=1_400, sample_ratio_p_value=3.2e-9, sample_ratio_alarm=True
    )
    assert verdict(found) == (
        "Do not trust: 600 of 2,000 people are held out where about 1,000 were to be (p = 3e-09); find out who went missing "
        "before reading the lift."
    )
    assert verdict(replace(found, people_control=0)).startswith("Cannot be measured: no held-out")


@pytest.mark.parametrize(
    "missing", [{"is_measured": False}, {"difference": None}, {"low": None}, {"high": None}], ids=str
)
def test_conversions_that_are_not_recorded_for_both_arms_cannot_be_measured(missing: dict[str, bool | None]) -> None:
    assert verdict(replace(PROVEN, **missing)) == (  # type: ignore[arg-type]
        "Cannot be measured: conversions of the held-out are recorded neither by the channel nor as purchases."
    )


@pytest.mark.parametrize("missing", ["p_value", "p_adjusted", "incremental"])
def test_without_a_test_there_are_too_few_people(missing: str) -> None:
    assert verdict(replace(PROVEN, **{missing: None})) == "No proof yet: too few people to tell."


def test_held_out_people_who_were_exposed_are_noted_after_any_sentence() -> None:
    one = verdict(replace(PROVEN, held_out_people_exposed=1))
    assert one.endswith(" its cost. Note: 1 person of the 1,000 held out was exposed all the same.")
    many = verdict(replace(PROVEN, held_out_people_exposed=1_000, is_measured=False))
    assert many.startswith("Cannot be measured")
    assert many.endswith(" Note: 1,000 people of the 1,000 held out were exposed all the same.")
    assert "Note" not in verdict(replace(PROVEN, held_out_people_exposed=3, people_treatment=0))

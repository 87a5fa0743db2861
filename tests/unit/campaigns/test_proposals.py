"""What a proposed campaign would bring, and which are put forward."""

import numpy as np
import pytest

from models_ml.campaigns.proposals import (
    IncrementalShare,
    MeasuredShare,
    ProposalConfig,
    Rate,
    best_channel,
    campaign_kind,
    expected_contacts,
    forecast,
    incremental_share,
    proposal_id,
    put_forward,
    rounded_budget,
)

CLICK, CONVERSION = Rate(30, 970), Rate(20, 980)
CERTAIN_HALF = IncrementalShare(0.5, 1e-9, 3)


@pytest.mark.parametrize(
    ("family", "state", "topics", "share_on_both", "kind"),
    [
        ("potential", None, ("history", "history"), 1.0, "cross_ad"),
        ("lifecycle", "dormant", ("history", "history"), 1.0, "interactive"),
        ("lifecycle", "at_risk", ("war", "history"), 0.1, "interactive"),
        ("lifecycle", "active", ("history", "history"), 0.9, "special_programme"),
        ("lifecycle", "active", ("war", "history"), 0.9, "joint_promotion"),
        ("interest", None, ("war", "history"), 0.4, "cross_ad"),
        ("value", None, ("war", "history"), 0.5, "joint_promotion"),
    ],
)
def test_the_kind_follows_the_first_rule_that_holds(
    family: str, state: str | None, topics: tuple[str, str], share_on_both: float, kind: str
) -> None:
    assert campaign_kind(family, state, *topics, share_on_both, has_source_items=True)[0] == kind


@pytest.mark.parametrize(
    ("state", "topics", "share_on_both", "kind"),
    [
        ("dormant", ("war", "history"), 0.1, "cross_ad"),
        ("dormant", ("war", "history"), 0.9, "joint_promotion"),
        ("active", ("history", "history"), 0.9, "joint_promotion"),
    ],
)
def test_without_items_of_the_source_theme_there_is_neither_a_challenge_nor_a_shelf(
    state: str, topics: tuple[str, str], share_on_both: float, kind: str
) -> None:
    assert campaign_kind("lifecycle", state, *topics, share_on_both, has_source_items=False)[0] == kind


def test_without_a_measured_campaign_two_in_five_conversions_are_caused() -> None:
    found = incremental_share("cross_ad", [])
    assert (found.mean, found.deviation, found.campaigns) == (pytest.approx(0.4), pytest.approx(0.2), 0)


def test_a_measured_campaign_moves_the_share_by_its_precision() -> None:
    # Prior 0.4 with variance 0.04; observation 0.8 with variance 0.03 + 0.01: halfway, variance 0.02.
    same = incremental_share("cross_ad", [MeasuredShare("cross_ad", 0.8, np.sqrt(0.03))])
    assert (same.mean, same.deviation) == (pytest.approx(0.6), pytest.approx(np.sqrt(0.02)))
    # Of another kind 0.09 of variance is added: weights 1 / 0.04 and 1 / 0.13.
    other = incremental_share("interactive", [MeasuredShare("cross_ad", 0.8, np.sqrt(0.03))])
    assert other.mean == pytest.approx((0.4 / 0.04 + 0.8 / 0.13) / (1 / 0.04 + 1 / 0.13))


def test_a_campaign_that_put_people_off_lowers_the_share() -> None:
    assert incremental_share("cross_ad", [MeasuredShare("cross_ad", -0.5, 0.1)]).mean < 0


def test_nobody_is_contacted_again_who_has_answered() -> None:
    assert expected_contacts(100, 1, 0.2) == 100
    assert expected_contacts(100, 3, 0.2) == 100 + 80 + 64
    assert expected_contacts(100, 3, 1.0) == 100


def test_a_forecast_multiplies_contacts_rates_and_worth() -> None:
    found = forecast(1000, 0.05, 10.0, CLICK, CONVERSION, CERTAIN_HALF, seed=1)
    assert found.cost == pytest.approx(50)
    assert found.clicks.mean == pytest.approx(30)
    assert found.conversions.mean == pytest.approx(20)
    assert found.incremental_conversions.mean == pytest.approx(10)
    assert found.revenue.mean == pytest.approx(100)
    assert found.expected_return is not None
    assert found.expected_return.mean == pytest.approx(2)


def test_an_interval_holds_what_may_come() -> None:
    found = forecast(1000, 0.05, 10.0, CLICK, CONVERSION, IncrementalShare(0.4, 0.2, 0), seed=1)
    random = np.random.default_rng(99)
    came = random.binomial(1000, random.beta(20, 980, 20_000))
    assert np.mean((came >= found.conversions.low) & (came <= found.conversions.high)) == pytest.approx(0.95, abs=0.02)
    caused = came * np.minimum(random.normal(0.4, 0.2, 20_000), 1)
    low, high = found.incremental_conversions.low, found.incremental_conversions.high
    assert np.mean((caused >= low) & (caused <= high)) == pytest.approx(0.95, abs=0.02)


def test_more_is_known_after_more_exposures() -> None:
    little = forecast(1000, 0.05, 10.0, CLICK, Rate(1, 49), CERTAIN_HALF, seed=1)
    much = forecast(1000, 0.05, 10.0, CLICK, Rate(200, 9800), CERTAIN_HALF, seed=1)
    assert little.conversions.mean == much.conversions.mean
    assert much.conversions.high - much.conversions.low < (little.conversions.high - little.conversions.low) / 2


def test_the_same_seed_gives_the_same_interval() -> None:
    one = forecast(1000, 0.05, 10.0, CLICK, CONVERSION, CERTAIN_HALF, seed=1)
    assert one == forecast(1000, 0.05, 10.0, CLICK, CONVERSION, CERTAIN_HALF, seed=1)
    assert one != forecast(1000, 0.05, 10.0, CLICK, CONVERSION, CERTAIN_HALF, seed=2)


def test_free_contacts_have_no_return() -> None:
    assert forecast(1000, 0.0, 10.0, CLICK, CONVERSION, CERTAIN_HALF, seed=1).expected_return is None


def test_no_segment_and_no_theme_takes_all_places() -> None:
    config = ProposalConfig(most=50, most_per_segment=2, most_per_target_topic=2, most_per_topic_pair=1)
    segments = ["a", "a", "a", "b", "c", "d", "e"]
    pairs = [("x", "t"), ("y", "u"), ("z", "v"), ("y", "t"), ("w", "t"), ("x", "t"), ("q", "u")]
    scores = np.array([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0])
    # The third is a's third, the fifth the third for t, the sixth a pair that is there.
    assert put_forward(scores, segments, pairs, config) == [0, 1, 3, 6]


def test_a_segment_is_brought_to_a_theme_once() -> None:
    assert put_forward(np.array([1.0, 2.0]), ["a", "a"], [("x", "t"), ("y", "t")]) == [1]


def test_no_more_are_put_forward_than_asked_for() -> None:
    pairs = [(f"x{n}", f"t{n}") for n in range(5)]
    assert put_forward(np.arange(5.0), list("abcde"), pairs, ProposalConfig(most=2)) == [4, 3]


def test_a_proposal_keeps_its_name_while_its_content_is_the_same() -> None:
    assert proposal_id({"a": 1, "b": ["x"]}) == proposal_id({"b": ["x"], "a": 1})
    assert proposal_id({"a": 1}) != proposal_id({"a": 2})
    assert len(proposal_id({})) == len("p-1a2b3c4d")


@pytest.mark.parametrize(("cost", "budget"), [(0, 1), (0.5, 1), (10, 11), (91, 110), (910, 1100), (1234, 1400)])
def test_a_budget_is_a_tenth_above_the_cost_in_round_figures(cost: float, budget: float) -> None:
    assert rounded_budget(cost) == pytest.approx(budget)


def test_the_channel_that_was_answered_best_is_taken() -> None:
    prior = Rate(1, 99)
    assert best_channel({"email": (10, 1000), "push": (40, 1000)}, prior, "banner") == ("push", 1000)
    assert best_channel({}, prior, "banner") == ("banner", 0)


def test_one_lucky_answer_does_not_beat_a_thousand_exposures() -> None:
    assert best_channel({"email": (40, 1000), "push": (1, 5)}, Rate(1, 99), "banner")[0] == "email"


@pytest.mark.parametrize("wrong", [{"most": 0}, {"draws": 5}, {"incremental_sd": 0.0}])
def test_a_configuration_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be|needed"):
        ProposalConfig(**wrong)  # type: ignore[arg-type]

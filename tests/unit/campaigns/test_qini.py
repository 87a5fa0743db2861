import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models_ml.campaigns.qini import RANDOM, RESPONSE_ONLY, compare_uplift, qini_coefficient, qini_curve, uplift_by_bin
from models_ml.campaigns.uplift import InteractionConfig, TLearnerConfig

# Six people, best first: treated with an answer, control without, treated without, control with, treated without, control without.
UPLIFT = np.array([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
TREATED = np.array([True, False, True, False, True, False])
RESPONDED = np.array([True, False, False, True, False, False])

flags = arrays(np.bool_, 40)


def people(count, seed):
    """Contact moves those with a high first column; the second decides who answers anyway."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 3))
    treated = random.random(count) < 0.5
    uplift = np.clip(0.15 * features[:, 0], -0.15, 0.3)
    base = np.clip(0.2 + 0.1 * features[:, 1], 0.02, 0.6)
    return features, treated, random.random(count) < base + treated * np.clip(uplift, -base, 0.35), uplift


def test_the_curve_by_hand():
    found = qini_curve(UPLIFT, TREATED, RESPONDED)
    np.testing.assert_allclose(found.share, np.arange(7) / 6)
    # After the fourth: one answer of two treated, one of two control; at the end one of three each.
    np.testing.assert_allclose(found.gain, [0, 1, 1, 1, 0, 1 - 1 * 3 / 2, 0])


def test_the_coefficient_by_hand():
    # Trapezoids of the curve above; the end is 0, so that the straight line has no area.
    area = (0.5 + 1 + 1 + 0.5 - 0.25 - 0.25) / 6
    # Perfect: one treated with an answer, then four without, then the control with an answer.
    perfect = (0.5 + 4 + 0.5) / 6
    assert qini_coefficient(UPLIFT, TREATED, RESPONDED) == (pytest.approx(area / perfect), None)


@given(flags, flags)
def test_the_perfect_ranking_has_one_and_a_constant_has_zero(treated, responded):
    treated[:2], responded[:3] = [True, False], [True, True, False]
    perfect = (treated & responded).astype(np.float64) - (~treated & responded)
    value, reason = qini_coefficient(perfect, treated, responded)
    if reason is None:
        assert value == pytest.approx(1)
        assert qini_coefficient(np.full(40, 0.3), treated, responded)[0] == pytest.approx(0, abs=1e-6)


@given(flags, flags, arrays(np.float64, 40, elements=st.floats(-1, 1)))
def test_no_ranking_is_better_than_the_perfect_one(treated, responded, uplift):
    treated[:20], responded[0] = True, True
    treated[20:] = False
    value, reason = qini_coefficient(uplift, treated, responded)
    if reason is None:
        assert value <= 1 + 1e-6


def test_the_order_of_people_who_are_equal_does_not_matter():
    uplift = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    found = qini_curve(uplift, TREATED, RESPONDED)
    np.testing.assert_allclose(found.share, [0, 0.5, 1])
    turned = np.array([2, 0, 1, 5, 3, 4])
    other = qini_curve(uplift[turned], TREATED[turned], RESPONDED[turned])
    np.testing.assert_allclose(found.gain, other.gain)


def test_the_coefficient_is_not_defined_without_an_arm_or_an_answer():
    everyone = np.ones(6, dtype=np.bool_)
    assert qini_coefficient(UPLIFT, everyone, RESPONDED) == (None, "there are no control people")
    assert qini_coefficient(UPLIFT, ~everyone, RESPONDED) == (None, "there are no treated people")
    assert qini_coefficient(UPLIFT, TREATED, ~everyone) == (None, "nobody answered")
    assert qini_coefficient(UPLIFT, TREATED, everyone) == (None, "everybody answered")


def test_deciles_show_the_uplift_that_is_there():
    _, treated, responded, uplift = people(20_000, seed=1)
    found = uplift_by_bin(uplift, treated, responded, bins=5)
    assert (np.diff(found.predicted) < 0).all()
    assert found.treated.sum() == treated.sum()
    assert found.observed[0] > 0.15 > found.observed[2] > -0.05
    assert (found.low < found.observed).all()
    assert (found.observed < found.high).all()
    by_hand = responded[treated].mean() - responded[~treated].mean()
    assert uplift_by_bin(uplift, treated, responded, bins=1).observed[0] == pytest.approx(by_hand)


def test_a_bin_without_control_has_no_uplift_and_says_why():
    treated = np.array([True, True, True, False])
    found = uplift_by_bin(np.array([4.0, 3.0, 2.0, 1.0]), treated, np.array([True, False, True, False]), bins=2)
    assert np.isnan(found.observed[0])
    assert found.reason[0]
    assert found.observed[1] == 1
    assert found.reason[1] == ""


def test_models_are_compared_beside_response_only_and_random():
    features, treated, responded, uplift = people(6000, seed=2)
    found = compare_uplift(features, treated, responded, {"interaction": InteractionConfig()}, seeds=range(2), draws=50)
    assert set(found.scores) == {"interaction", RESPONSE_ONLY, RANDOM}
    best = found.scores["interaction"]
    assert best.low < best.value < best.high
    assert len(best.splits) == 4
    assert best.spread == pytest.approx(best.splits.std(ddof=1))
    assert found.ahead_of_random["interaction"][1] > 0
    value, low, high = found.ahead_of_response["interaction"]
    assert value == pytest.approx(best.value - found.scores[RESPONSE_ONLY].value)
    assert low < value < high
    assert found.scores[RANDOM].low < 0 < found.scores[RANDOM].high
    assert np.corrcoef(found.uplift["interaction"], uplift)[0, 1] > 0.8


def test_the_same_call_gives_the_same_comparison():
    features, treated, responded, _ = people(800, seed=3)
    calls = [
        compare_uplift(features, treated, responded, {"t": TLearnerConfig()}, seeds=[4], draws=20, least_answers=5)
        for _ in range(2)
    ]
    assert calls[0].scores["t"].value == calls[1].scores["t"].value
    assert calls[0].scores["t"].low == calls[1].scores["t"].low
    assert calls[0].scores[RANDOM].value == calls[1].scores[RANDOM].value


def test_without_an_effect_no_model_is_told_from_random():
    random = np.random.default_rng(5)
    ahead = []
    for seed in range(6):
        features, treated = random.normal(size=(2000, 3)), random.random(2000) < 0.5
        responded = random.random(2000) < 0.2
        found = compare_uplift(features, treated, responded, {"t": TLearnerConfig()}, seeds=[seed], draws=50)
        ahead.append(found.scores["t"].value)
    assert abs(np.mean(ahead)) < 0.04


def test_what_cannot_be_compared_has_no_score_and_a_reason():
    features, treated, responded, _ = people(300, seed=6)
    found = compare_uplift(features, treated, responded & treated, {"t": TLearnerConfig()}, seeds=[0], draws=10)
    assert found.scores["t"].value is None
    assert found.scores["t"].reason == "an arm has fewer than 2 people with, or without, an answer"
    assert found.ahead_of_random["t"] is None
    few = compare_uplift(features, treated, responded, {"t": TLearnerConfig()}, seeds=[0], draws=10, least_answers=1000)
    assert "1000 are needed" in few.scores["t"].reason
    assert few.scores[RANDOM].value is not None

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logit

from models_ml.campaigns.contact_prior import (
    cell_shifts,
    curve_of_shares,
    fatigue_factor,
    fatigue_of_conversions,
    incremental_shares,
    score_shares,
    shaped_rates,
)
from models_ml.campaigns.score_prior import ScorePriorConfig

CURVE = ScorePriorConfig(base_rate=0.005, cap=0.3)
RATES = np.array([0.0004, 0.03, 0.9])


def shaped(shares, cell, rates=RATES):
    curve = curve_of_shares(shares, CURVE)
    return shaped_rates(curve, cell, rates, cell_shifts(curve, cell, rates))


@given(arrays(np.float64, st.integers(3, 60), elements=st.floats(0, 1)))
def test_the_mean_of_a_cell_is_its_rate_and_a_higher_score_is_never_less_probable(shares):
    cell = np.arange(len(shares)) % 3
    found = shaped(shares, cell)
    for number, rate in enumerate(RATES):
        here = cell == number
        assert found[here].mean() == pytest.approx(rate, rel=1e-9)
        assert (np.diff(found[here][np.argsort(shares[here], kind="stable")]) >= -1e-15).all()


def test_the_place_of_a_score_is_among_those_of_its_campaign():
    campaign = np.array([0, 1, 0, 0, 1, 0, 2])
    score = np.array([3.0, 9.0, 1.0, 3.0, -2.0, np.nan, np.nan])
    # Of the four of campaign 0 the one that no list names is below all; equal scores share two places.
    found = score_shares(campaign, score, 3)
    np.testing.assert_allclose(found, [3 / 4, 3 / 4, 1.5 / 4, 3 / 4, 1 / 4, 0.5 / 4, np.nan])


def test_a_cell_by_hand():
    low, high = shaped(np.array([0.0, 1.0]), np.array([1, 1]))
    assert low + high == pytest.approx(2 * 0.03)
    # The distance of the ends on the scale of log odds is that of the curve.
    assert logit(high) - logit(low) == pytest.approx(logit(0.3) - logit(0.005))


def test_without_a_score_the_rate_itself_is_taken_and_the_others_are_not_moved():
    found = shaped(np.array([np.nan, 0.2, 0.9, np.nan]), np.array([1, 1, 1, 2]))
    np.testing.assert_allclose(found[[0, 3]], [0.03, 0.9])
    np.testing.assert_allclose(found[1:3], shaped(np.array([0.2, 0.9]), np.array([1, 1])))


def test_the_share_by_hand():
    # Campaign 0: 100 treated with 20, 50 held out with 4. Campaign 1: 40 treated with 2, 40 held out with 3.
    treated = np.repeat([True, False, True, False], [100, 50, 40, 40])
    stratum = np.repeat([0, 0, 1, 1], [100, 50, 40, 40])
    converted = np.concatenate([np.arange(100) < 20, np.arange(50) < 4, np.arange(40) < 2, np.arange(40) < 3])
    seen, expected = 4 * 100 / 150 + 3 * 40 / 80, 20 * 50 / 150 + 2 * 40 / 80
    found = incremental_shares(
        np.zeros(230, int), 2, stratum, treated, converted, prior=0.4, weight=5.0, group_weight=1e-9
    )
    ratio = (5 * 0.6 + seen) / (5 + expected)
    np.testing.assert_allclose(found, [1 - seen / expected, 1 - ratio], rtol=1e-6)


def test_campaigns_with_different_holdouts_are_not_compared_with_one_another():
    # Half convert in campaign 0, one in twenty in campaign 1, and contact changes nothing; the popular one holds out few.
    treated = np.repeat([True, False, True, False], [900, 100, 200, 800])
    stratum = np.repeat([0, 1], [1000, 1000])
    converted = np.concatenate([np.arange(900) < 450, np.arange(100) < 50, np.arange(200) < 10, np.arange(800) < 40])
    kind = np.zeros(2000, int)
    small = {"prior": 0.4, "weight": 0.01, "group_weight": 1.0}
    assert incremental_shares(kind, 1, stratum, treated, converted, **small)[0] == pytest.approx(0, abs=1e-3)
    assert incremental_shares(kind, 1, kind, treated, converted, **small)[0] > 0.7


@given(st.integers(0, 50), st.integers(0, 49))
def test_more_conversions_of_the_held_out_never_raise_the_share(conversions, more):
    treated = np.repeat([True, False], [100, 50])

    def share(control):
        converted = np.concatenate([np.arange(100) < conversions, np.arange(50) < control])
        return incremental_shares(
            np.zeros(150, int), 1, np.zeros(150, int), treated, converted, prior=0.4, weight=10.0, group_weight=50.0
        )[0]

    assert 0 <= share(more + 1) <= share(more) <= 1
    assert share(0) > share(25) or conversions == 0


def test_the_prior_gives_way_to_what_was_seen():
    def share(people):
        treated = np.repeat([True, False], people)
        converted = np.tile(np.arange(people), 2) % 10 < np.repeat([2, 1], people)
        zeros = np.zeros(2 * people, int)
        return incremental_shares(zeros, 1, zeros, treated, converted, prior=0.0, weight=10.0, group_weight=50.0)[0]

    # The truth is one half: of two in ten contacted people one would have converted anyway.
    assert 0 < share(10) < 0.1 < share(500) < share(20_000)
    assert share(20_000) == pytest.approx(0.5, abs=0.01)


def test_without_history_the_share_is_the_prior():
    none = np.zeros(0, int)
    found = incremental_shares(none, 3, none, none > 0, none > 0, prior=0.4, weight=10.0, group_weight=50.0)
    np.testing.assert_allclose(found, 0.4)


def test_fatigue_takes_from_what_contact_causes_only():
    factor = fatigue_factor(np.array([0, 1, 2]), 0.6)
    np.testing.assert_allclose(factor, [1, 0.6, 0.36])
    left, caused = fatigue_of_conversions(np.full(3, 0.4), factor)
    # Of 100 conversions 60 come anyway; of the other 40, 24 are left after one contact and 14.4 after two.
    np.testing.assert_allclose(100 * left, [100, 84, 74.4])
    np.testing.assert_allclose(100 * left * caused, [40, 24, 14.4])
    assert np.isfinite(fatigue_of_conversions(np.ones(1), fatigue_factor(np.array([5000]), 0.6))).all()


def test_wrong_weights_are_named():
    none = np.zeros(0, int)
    with pytest.raises(ValueError, match=r"got 1\.5, 10\.0 and 50\.0"):
        incremental_shares(none, 1, none, none > 0, none > 0, prior=1.5, weight=10.0, group_weight=50.0)

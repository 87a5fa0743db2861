import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import bernoulli, norm
from sklearn.linear_model import LogisticRegression

from models_ml.campaigns.reliability import reliability
from models_ml.campaigns.score_prior import (
    ScorePriorConfig,
    prior_from_ranks,
    prior_from_scores,
    prior_from_shares,
    recalibrate,
)

CONFIG = ScorePriorConfig(base_rate=0.01, cap=0.2)


@given(arrays(np.float64, st.integers(2, 30), elements=st.floats(-5, 5, allow_subnormal=False)))
def test_a_higher_score_never_has_a_lower_probability_and_bounds_are_kept(scores):
    found = prior_from_scores(scores, CONFIG)
    order = np.argsort(scores, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    assert ((found >= 0.01) & (found <= 0.2)).all()
    # Only the order counts, and equal scores are alike.
    np.testing.assert_array_equal(prior_from_scores(1024 * scores, CONFIG), found)
    np.testing.assert_array_equal(found[scores == scores[0]], found[0])


def test_the_curve_by_hand():
    found = prior_from_scores(np.array([10.0, -3.0, 0.5]), CONFIG)
    middle = expit(logit(0.01) + 0.25 * (logit(0.2) - logit(0.01)))
    np.testing.assert_allclose(found, [0.2, 0.01, middle])
    np.testing.assert_allclose(prior_from_ranks(np.array([1, 3, 2]), 3, CONFIG), found)
    np.testing.assert_allclose(prior_from_shares(np.array([0.5]), ScorePriorConfig(0.05, 0.05)), 0.05)


def test_equal_scores_are_in_the_middle():
    np.testing.assert_allclose(prior_from_scores(np.ones(3), CONFIG), prior_from_shares(np.full(3, 0.5), CONFIG))


def test_without_exposures_the_prior_stays():
    found = recalibrate(np.zeros(0), np.zeros(0, dtype=np.bool_))
    assert (found.intercept, found.slope, found.rows) == (0, 1, 0)
    np.testing.assert_allclose(found.apply(np.array([0.03, 0.4])), [0.03, 0.4])


def test_with_many_exposures_it_is_plain_platt_scaling():
    random = np.random.default_rng(0)
    said = random.beta(2, 10, size=20_000)
    responded = random.random(20_000) < expit(-1 + 0.6 * logit(said))
    found = recalibrate(said, responded)
    plain = LogisticRegression(C=1e9).fit(logit(said)[:, None], responded)
    assert found.intercept == pytest.approx(plain.intercept_[0], abs=0.03)
    assert found.slope == pytest.approx(plain.coef_[0, 0], abs=0.02)
    assert found.answers == responded.sum()


def test_recalibration_improves_a_distorted_score():
    random = np.random.default_rng(1)
    said = prior_from_scores(random.random(4000), CONFIG)
    truth = expit(1.5 + 1.1 * logit(said))
    responded = random.random(4000) < truth
    found = recalibrate(said[:2000], responded[:2000])
    before, after = (reliability(one, responded[2000:]) for one in (said[2000:], found.apply(said[2000:])))
    assert after.expected_calibration_error < 0.4 * before.expected_calibration_error
    assert after.brier_score < before.brier_score


def test_few_exposures_move_the_prior_a_little():
    said = np.full(20, 0.05)
    few, many = (recalibrate(np.tile(said, n), np.tile(np.arange(20) < 6, n)) for n in (1, 50))
    assert 0.05 < few.apply(np.array([0.05]))[0] < many.apply(np.array([0.05]))[0] < 0.3 + 1e-3


def test_with_some_exposures_it_is_the_most_likely_line_under_the_priors():
    said = np.array([0.02, 0.05, 0.1, 0.3, 0.4, 0.7])
    responded = np.array([True, False, True, False, True, True])

    def loss(point):
        answers = bernoulli.logpmf(responded, expit(point[0] + point[1] * logit(said))).sum()
        return -answers - norm(0, 2.0).logpdf(point[0]) - norm(1, 0.3).logpdf(point[1])

    best = minimize(loss, [0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}).x
    found = recalibrate(said, responded, intercept_sd=2.0, slope_sd=0.3)
    assert (found.intercept, found.slope) == pytest.approx(tuple(best), abs=1e-3)


def test_the_order_of_scores_survives_answers_against_it():
    said = np.linspace(0.01, 0.5, 2000)
    found = recalibrate(said, np.arange(2000) < 500)
    assert found.slope == 0
    assert (np.diff(found.apply(said)) >= 0).all()


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match="0 < base_rate <= cap < 1"):
        ScorePriorConfig(0.3, 0.2)
    with pytest.raises(ValueError, match="ranks must be from 1"):
        prior_from_ranks(np.array([0]), 5, CONFIG)
    with pytest.raises(ValueError, match="finite"):
        prior_from_scores(np.array([np.nan, 1.0]), CONFIG)

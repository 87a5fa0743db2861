import numpy as np
import pytest
from sklearn.metrics import brier_score_loss
from statsmodels.stats.proportion import proportion_confint

from models_ml.campaigns.reliability import reliability


def test_the_table_by_hand():
    probabilities = np.array([0.1, 0.1, 0.3, 0.9, 0.9])
    responded = np.array([False, True, False, True, True])
    found = reliability(probabilities, responded, bins=2, binning="width")
    np.testing.assert_allclose(found.predicted, [0.5 / 3, 0.9])
    np.testing.assert_allclose(found.observed, [1 / 3, 1.0])
    assert found.rows.tolist() == [3, 2]
    assert found.expected_calibration_error == pytest.approx((3 * (1 / 3 - 0.5 / 3) + 2 * 0.1) / 5)
    low, high = proportion_confint(1, 3, method="wilson")
    assert (found.low[0], found.high[0]) == pytest.approx((low, high))
    assert found.brier_score == pytest.approx((0.01 + 0.81 + 0.09 + 0.01 + 0.01) / 5)
    assert found.brier_skill == pytest.approx(1 - found.brier_score / (0.6 * 0.4))


def test_bins_by_rows_are_of_equal_size_and_keep_equal_probabilities_together():
    random = np.random.default_rng(0)
    found = reliability(random.random(1000), random.random(1000) < 0.5)
    assert found.rows.tolist() == [100] * 10
    assert (np.diff(found.predicted) > 0).all()
    tied = reliability(np.repeat([0.01, 0.02], [900, 100]), np.zeros(1000, dtype=np.bool_))
    assert tied.rows.tolist() == [900, 100]
    np.testing.assert_allclose(tied.predicted, [0.01, 0.02])
    assert tied.brier_skill is None


def test_true_probabilities_err_by_chance_only():
    random = np.random.default_rng(1)
    errors, chance = [], []
    for _ in range(200):
        probabilities = random.beta(2, 20, size=2000)
        found = reliability(probabilities, random.random(2000) < probabilities)
        errors.append(found.expected_calibration_error)
        chance.append(found.error_by_chance)
    assert np.mean(errors) == pytest.approx(np.mean(chance), rel=0.05)


def test_probabilities_that_are_twice_too_high_show():
    random = np.random.default_rng(2)
    probabilities = random.beta(2, 20, size=5000)
    responded = random.random(5000) < probabilities
    found = reliability(np.minimum(2 * probabilities, 1), responded)
    assert found.expected_calibration_error == pytest.approx(probabilities.mean(), rel=0.1)
    assert found.expected_calibration_error > 5 * found.error_by_chance
    assert (found.predicted > found.high).all()
    assert found.brier_score == pytest.approx(brier_score_loss(responded, np.minimum(2 * probabilities, 1)))


def test_what_is_not_a_probability_is_named():
    with pytest.raises(ValueError, match="in \\[0, 1\\]"):
        reliability(np.array([1.2]), np.array([True]))
    with pytest.raises(ValueError, match="no rows"):
        reliability(np.zeros(0), np.zeros(0, dtype=np.bool_))

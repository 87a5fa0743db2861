import numpy as np
import pytest
from scipy.stats import chi2

from models_ml.campaigns.sample_ratio import sample_ratio


def test_the_check_by_hand():
    # 5,200 and 4,800 for halves of 10,000: 200^2 / 5000 twice is 16, one degree of freedom.
    found = sample_ratio([5200, 4800], [1, 1])
    assert found.p_value[0] == pytest.approx(chi2.sf(16, 1))
    assert found.alarm.tolist() == [True]
    assert found.expected.tolist() == [[5000, 5000]]


def test_three_arms_and_unequal_shares_cell_by_cell():
    found = sample_ratio([[100, 200, 300], [200, 200, 200], [0, 0, 0]], [1 / 6, 2 / 6, 3 / 6])
    # 200 of 100, 200 and 300 expected: 100 + 0 + 33.3 with two degrees of freedom.
    assert found.p_value[:2] == pytest.approx([1, chi2.sf(100 + 100**2 / 300, 2)])
    assert np.isnan(found.p_value[2])
    assert found.alarm.tolist() == [False, True, False]


def test_an_alarm_is_below_one_in_a_thousand_not_one_in_twenty():
    # chi-square 6.76 (p = .009) and 11.56 (p = .0007).
    assert sample_ratio([[5130, 4870], [5170, 4830]], [1, 1]).alarm.tolist() == [False, True]


@pytest.mark.parametrize(
    ("people", "shares", "message"),
    [([5], [1], "two arms"), ([5.5, 1], [1, 1], "whole numbers"), ([5, 1], [1, 0], "positive")],
)
def test_arms_that_make_no_sense_are_refused(people, shares, message):
    with pytest.raises(ValueError, match=message):
        sample_ratio(people, shares)

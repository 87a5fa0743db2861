import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2_contingency

from models_ml.campaigns.means import pair_moments
from models_ml.campaigns.proportions import difference_of_shares, share, share_of_rows

ARM = st.integers(1, 5000).flatmap(lambda people: st.tuples(st.integers(0, people), st.just(people)))


def test_wilson_is_that_of_scipy_cell_by_cell():
    done, people = np.array([0, 1, 7, 50, 50]), np.array([10, 10, 60, 50, 1000])
    found = share(done, people, level=0.9)
    expected = [binomtest(int(k), int(n)).proportion_ci(0.9, "wilson") for k, n in zip(done, people, strict=True)]
    np.testing.assert_allclose(found.low, [one.low for one in expected], atol=1e-12)
    np.testing.assert_allclose(found.high, [one.high for one in expected], atol=1e-12)
    np.testing.assert_allclose(found.value, done / people)


def test_newcombe_gives_the_published_intervals():
    # Newcombe 1998, table II, method 10: 56/70 - 48/80, 9/10 - 3/10, 10/10 - 0/20 and 10/10 - 0/10.
    found = difference_of_shares([48, 3, 0, 0], [80, 10, 20, 10], [56, 9, 10, 10], [70, 10, 10, 10])
    np.testing.assert_allclose(found.low, [0.0524, 0.1705, 0.6791, 0.6075], atol=5e-5)
    np.testing.assert_allclose(found.high, [0.3339, 0.8090, 1.0, 1.0], atol=5e-5)


def test_the_p_value_is_that_of_pearsons_test():
    found = difference_of_shares(30, 180, 50, 200)
    expected = chi2_contingency([[30, 150], [50, 150]], correction=False).pvalue
    assert float(found.p_value) == pytest.approx(expected)


def test_nobody_in_an_arm_is_a_reason_and_no_number():
    found = difference_of_shares([0, 1], [0, 10], [1, 2], [10, 10])
    assert found.reason.tolist() == ["nobody in an arm", ""]
    assert np.isnan([found.difference[0], found.low[0], found.high[0], found.p_value[0]]).all()
    assert np.isnan(share(0, 0).value)


def test_nobody_converted_in_either_arm_is_an_interval_around_zero():
    found = difference_of_shares(0, 200, 0, 4000)
    assert found.low < 0 < found.high
    assert found.p_value == 1
    assert difference_of_shares(20, 20, 9, 9).p_value == 1


@settings(deadline=None)
@given(control=ARM, treatment=ARM)
def test_an_interval_contains_the_difference_and_turns_over_with_the_arms(control, treatment):
    one, other = difference_of_shares(*control, *treatment), difference_of_shares(*treatment, *control)
    assert -1 - 1e-12 <= one.low <= one.difference <= one.high <= 1 + 1e-12
    assert float(one.difference) == pytest.approx(-float(other.difference))
    assert float(one.low) == pytest.approx(-float(other.high))
    assert float(one.p_value) == pytest.approx(float(other.p_value))


@settings(deadline=None)
@given(arm=ARM)
def test_a_share_lies_in_its_interval(arm):
    found = share(*arm)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_many_cells_at_once_are_each_cell_alone():
    random = np.random.default_rng(0)
    n_c, n_t = random.integers(1, 300, (2, 4, 5))
    d_c, d_t = random.binomial(n_c, 0.2), random.binomial(n_t, 0.3)
    together = difference_of_shares(d_c, n_c, d_t, n_t)
    alone = difference_of_shares(d_c[2, 3], n_c[2, 3], d_t[2, 3], n_t[2, 3])
    assert together.low.shape == (4, 5)
    assert (together.low[2, 3], together.p_value[2, 3]) == (alone.low, alone.p_value)


@pytest.mark.parametrize(
    ("done", "people", "message"),
    [(3, 2, "3 of 2"), (-1, 2, "-1 of 2"), (0.5, 2, "whole numbers"), (np.nan, 2, "finite")],
)
def test_counts_that_are_none_are_refused(done, people, message):
    with pytest.raises(ValueError, match=message):
        share(done, people)


def of_one(successes, rows):
    return share_of_rows(pair_moments(np.array(successes, float), np.array(rows, float), np.zeros(len(rows), int), 1))


def test_with_one_row_a_person_a_share_of_rows_is_a_share_of_people():
    found, expected = of_one([1, 0, 0, 1, 0, 0, 0], [1] * 7), share(2, 7)
    assert (found.value[0], found.low[0], found.high[0]) == pytest.approx((expected.value, expected.low, expected.high))


def test_where_nobody_or_everybody_answers_each_person_says_as_much_as_one_row():
    for done in (0, 1):
        found, expected = of_one([5 * done, 3 * done, 4 * done], [5, 3, 4]), share(3 * done, 3)
        assert (found.low[0], found.high[0]) == pytest.approx((expected.low, expected.high))
    alone, expected = of_one([9], [9]), share(1, 1)
    assert (alone.low[0], alone.high[0]) == pytest.approx((expected.low, expected.high))
    assert np.isnan(share_of_rows(pair_moments(np.zeros(0), np.zeros(0), np.zeros(0, int), 1)).low[0])


def test_a_share_of_rows_covers_the_truth_where_people_differ_and_has_bounds_of_a_share():
    generator = np.random.default_rng(0)
    worlds, people, truth = 1000, 50, 0.1
    rows = 1 + generator.poisson(2, (worlds, people))
    done = generator.binomial(rows, generator.beta(0.2, 1.8, (worlds, people)))
    world = np.repeat(np.arange(worlds), people)
    found = share_of_rows(pair_moments(done.ravel().astype(float), rows.ravel().astype(float), world, worlds))
    rows_as_people = share(done.sum(axis=1), rows.sum(axis=1))
    covered, falsely = (((one.low <= truth) & (truth <= one.high)).mean() for one in (found, rows_as_people))
    assert falsely < 0.9
    assert 0.93 < covered < 0.97
    assert (found.low >= 0).all()
    assert (found.high <= 1).all()

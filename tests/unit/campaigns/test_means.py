import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from models_ml.campaigns import means
from models_ml.campaigns.means import (
    Moments,
    cuped,
    difference_of_means,
    difference_of_ratios,
    moments,
    pair_moments,
    pair_moments_of_sums,
)

VALUES = arrays(np.float64, st.integers(2, 30), elements=st.floats(-100, 100).map(lambda value: round(value, 3)))


def one_cell(values):
    return moments(np.asarray(values, dtype=float), np.zeros(len(values), dtype=int), 1)


def one_pair(y, x):
    return pair_moments(np.asarray(y, dtype=float), np.asarray(x, dtype=float), np.zeros(len(y), dtype=int), 1)


def test_moments_are_those_of_numpy_cell_by_cell():
    random = np.random.default_rng(0)
    y, x, cell = random.normal(1e6, 1, 500), random.random(500), random.integers(0, 7, 500)
    found = pair_moments(y, x, cell, 9)
    assert found.y.people.tolist() == np.bincount(cell, minlength=9).tolist()
    for one in range(7):
        own = np.cov(y[cell == one], x[cell == one])
        assert found.y.variance[one] == pytest.approx(own[0, 0])
        assert found.x.variance[one] == pytest.approx(own[1, 1])
        assert found.covariance[one] == pytest.approx(own[0, 1])
        assert found.x.mean[one] == pytest.approx(x[cell == one].mean())
    assert np.isnan(found.y.mean[7:]).all()
    np.testing.assert_array_equal(moments(y, cell, 9).variance, found.y.variance)


def test_moments_of_counts_follow_from_their_sums():
    random = np.random.default_rng(0)
    x, cell = random.integers(10**6, 10**6 + 5, 500), random.integers(0, 7, 500)
    y = random.binomial(x, 0.3)
    # One person alone, nobody, and two who are alike.
    x, y, cell = np.append(x, [3, 2, 2]), np.append(y, [1, 1, 1]), np.append(cell, [7, 9, 9])
    whole = [np.bincount(cell, weights, 10).astype(np.int64) for weights in (None, y, x, y * y, x * x, y * x)]
    found, expected = pair_moments_of_sums(*whole), pair_moments(y.astype(float), x.astype(float), cell, 10)
    for one, other in ((found.y, expected.y), (found.x, expected.x)):
        np.testing.assert_array_equal(one.people, other.people)
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12)
        np.testing.assert_allclose(one.variance, other.variance, rtol=1e-9)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-9)
    assert found.x.variance[9] == 0


def test_welch_is_that_of_scipy_and_of_statsmodels():
    random = np.random.default_rng(1)
    control, treatment = random.exponential(1.0, 40), random.exponential(1.5, 300)
    found = difference_of_means(one_cell(control), one_cell(treatment), level=0.9)
    expected = stats.ttest_ind(treatment, control, equal_var=False)
    interval = CompareMeans(DescrStatsW(treatment), DescrStatsW(control)).tconfint_diff(alpha=0.1, usevar="unequal")
    assert found.p_value[0] == pytest.approx(expected.pvalue)
    assert (found.low[0], found.high[0]) == pytest.approx(interval)
    assert (found.people_control[0], found.people_treatment[0]) == (40, 300)


def test_with_pooled_variance_it_is_students_test():
    random = np.random.default_rng(8)
    control, treatment = random.exponential(1.0, 40), random.exponential(1.5, 300)
    found = difference_of_means(one_cell(control), one_cell(treatment), variance="pooled")
    expected = stats.ttest_ind(treatment, control)
    assert found.p_value[0] == pytest.approx(expected.pvalue)
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(expected.confidence_interval()))


def test_a_small_holdout_with_few_buyers_is_only_told_rightly_with_pooled_variance():
    random = np.random.default_rng(9)
    run_c, run_t = np.repeat(np.arange(1000), 300), np.repeat(np.arange(1000), 2700)
    arms = [
        moments((random.random(len(run)) < 0.05) * random.lognormal(3, 1, len(run)), run, 1000)
        for run in (run_c, run_t)
    ]
    own, pooled = ((difference_of_means(*arms, variance=one).p_value < 0.05).mean() for one in ("own", "pooled"))
    assert own > 0.08
    assert 0.03 < pooled < 0.065


@settings(deadline=None)
@given(control=VALUES, treatment=VALUES)
def test_an_interval_of_means_contains_the_difference_and_turns_over_with_the_arms(control, treatment):
    one = difference_of_means(one_cell(control), one_cell(treatment))
    other = difference_of_means(one_cell(treatment), one_cell(control))
    assert one.difference[0] == -other.difference[0]
    if one.reason[0]:
        assert np.isnan([one.low[0], one.high[0], one.p_value[0]]).all()
    else:
        assert one.low[0] < one.difference[0] < one.high[0]
        assert (one.low[0], one.p_value[0]) == pytest.approx((-other.high[0], other.p_value[0]))


def test_what_cannot_be_estimated_says_why():
    arms = [
        Moments(np.array([1, 5, 5, 0]), np.array([1.0, 0.0, 2.0, np.nan]), np.array([np.nan, 0.0, 1.0, np.nan])),
        Moments(np.array([9, 5, 5, 9]), np.array([1.0, 3.0, 3.0, 1.0]), np.array([1.0, 1.0, 1.0, 1.0])),
    ]
    found = difference_of_means(*arms)
    assert found.reason.tolist() == [means.TOO_FEW, means.NO_SPREAD, "", means.TOO_FEW]
    assert np.isnan(found.low).tolist() == np.isnan(found.p_value).tolist() == [True, True, False, True]
    assert found.difference[1] == 3


def test_people_without_rows_count_as_zero():
    # Person 1 has no row, person 2 has two.
    found = means.person_totals(np.array([2, 0, 2]), np.array([1.0, 5.0, 2.5]), 4)
    assert found.tolist() == [5, 0, 3.5, 0]


def test_a_ratio_by_hand():
    # Revenue 0, 6, 6 and clicks 1, 2, 3 in control: 12 / 6 = 2; residuals (-2, 2, 0) / 2, variance 1, over 3 people.
    control, treatment = one_pair([0, 6, 6], [1, 2, 3]), one_pair([3, 9, 6, 6], [1, 2, 3, 0])
    found = difference_of_ratios(control, treatment)
    # Treatment: 24 / 6 = 4; residuals (-1, 1, -6, 6) / 1.5, variance 74 / 3 / 2.25, over 4 people.
    error_c, error_t = 1 / 3, 74 / 3 / 2.25 / 4
    degrees = (error_c + error_t) ** 2 / (error_c**2 / 2 + error_t**2 / 3)
    assert (found.control[0], found.treatment[0]) == pytest.approx((2, 4))
    assert found.high[0] - found.low[0] == pytest.approx(2 * stats.t.ppf(0.975, degrees) * np.sqrt(error_c + error_t))


def test_a_ratio_to_one_is_the_mean():
    random = np.random.default_rng(2)
    y_c, y_t = random.exponential(1.0, 50), random.exponential(1.2, 70)
    ratio = difference_of_ratios(one_pair(y_c, np.ones(50)), one_pair(y_t, np.ones(70)))
    mean = difference_of_means(one_cell(y_c), one_cell(y_t))
    assert (ratio.low[0], ratio.high[0], ratio.p_value[0]) == pytest.approx(
        (mean.low[0], mean.high[0], mean.p_value[0])
    )


def test_the_delta_method_agrees_with_drawing_people_again():
    random = np.random.default_rng(3)
    clicks = random.poisson(3 * random.gamma(2, 0.5, 4000)).astype(float)
    revenue = clicks * random.exponential(2.0, 4000)
    found = difference_of_ratios(one_pair(revenue[:2000], clicks[:2000]), one_pair(revenue[2000:], clicks[2000:]))
    drawn = random.integers(0, 2000, (800, 2000))
    ratios = [
        part[0][drawn].sum(axis=1) / part[1][drawn].sum(axis=1)
        for part in (
            (revenue[:2000], clicks[:2000]),
            (revenue[2000:], clicks[2000:]),
        )
    ]
    assert (found.high[0] - found.low[0]) / 2 == pytest.approx(1.96 * (ratios[1] - ratios[0]).std(), rel=0.1)


def test_rows_taken_for_people_would_make_a_ratio_falsely_sharp():
    random = np.random.default_rng(4)
    price = np.repeat(random.exponential(1.0, 400), 10)
    person = np.repeat(np.arange(400), 10)
    by_person = one_pair(means.person_totals(person, price, 400), np.full(400, 10.0))
    by_row = one_pair(price, np.ones(4000))
    honest, false = (difference_of_ratios(one, one) for one in (by_person, by_row))
    assert honest.high[0] == pytest.approx(false.high[0] * np.sqrt(10), rel=0.02)


def test_no_clicks_in_an_arm_say_why():
    nothing = difference_of_ratios(one_pair([0, 0, 0], [0, 0, 0]), one_pair([1, 2, 3], [1, 1, 2]))
    assert nothing.reason.tolist() == [means.NO_DENOMINATOR]
    assert np.isnan(nothing.control[0])


def test_a_fixed_price_says_why_whatever_rounding_leaves_of_its_variance():
    prices, clicks = np.array([0.1, 0.3, 1 / 3, 1.1, 2.3, 9.9, 19.99]), np.tile(np.arange(50.0), 7)
    cell = np.repeat(np.arange(7), 50)
    fixed = pair_moments(prices[cell] * clicks, clicks, cell, 7)
    other = pair_moments(clicks**2, clicks, cell, 7)
    assert set(difference_of_ratios(fixed, other).reason) == {means.NO_SPREAD}


def test_cuped_by_hand():
    # Both arms: y = x + noise. Within-arm covariance 2 and 2, variance of x 2 and 2 (divisor 1): theta 1.
    control, treatment = one_pair([0, 2], [0, 2]), one_pair([4, 7], [1, 3])
    found = cuped(control, treatment)
    # cov / n: 2 / 2 + 3 / 2 = 2.5; var x / n: 1 + 1 = 2; theta 1.25. Differences 5.5 - 1 and 2 - 1.
    assert found.theta[0] == pytest.approx(1.25)
    assert found.lift.difference[0] == pytest.approx(4.5 - 1.25)
    # Variances of y over n: 1 + 2.25; after: minus 2.5^2 / 2.
    assert found.variance_reduction[0] == pytest.approx(2.5**2 / 2 / 3.25)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9 / 3])
def test_a_constant_covariate_changes_nothing(constant):
    random = np.random.default_rng(5)
    y_c, y_t = random.normal(0, 1, 333), random.normal(0.2, 1, 901)
    found = cuped(one_pair(y_c, np.full(333, constant)), one_pair(y_t, np.full(901, constant)))
    plain = difference_of_means(one_cell(y_c), one_cell(y_t))
    assert (found.theta[0], found.variance_reduction[0]) == (0, 0)
    assert (found.lift.low[0], found.lift.p_value[0]) == pytest.approx((plain.low[0], plain.p_value[0]))


def test_cuped_takes_out_what_the_past_explains():
    random = np.random.default_rng(6)
    past = random.normal(10, 2, 40_000)
    y = 0.5 * past + random.normal(0, 1, 40_000) + np.repeat([0, 0.05], 20_000)
    found = cuped(one_pair(y[:20_000], past[:20_000]), one_pair(y[20_000:], past[20_000:]))
    assert found.theta[0] == pytest.approx(0.5, abs=0.02)
    assert found.variance_reduction[0] == pytest.approx(0.5, abs=0.02)
    assert found.lift.low[0] < 0.05 < found.lift.high[0]
    # The same as an ordinary regression on the arm and the centred covariate.
    design = np.column_stack([np.ones(40_000), np.repeat([0, 1], 20_000), past - past.mean()])
    slopes = np.linalg.lstsq(design, y, rcond=None)[0]
    assert (found.lift.control[0], found.lift.difference[0]) == pytest.approx(tuple(slopes[:2]), abs=1e-6)


@settings(deadline=None)
@given(y=VALUES, x=VALUES, seed=st.integers(0, 99))
def test_the_adjusted_error_never_rises_and_units_of_the_covariate_do_not_matter(y, x, seed):
    random = np.random.default_rng(seed)
    y_t, x_t = random.normal(0, 10, 20), random.normal(0, 10, 20)
    size = min(len(y), len(x))
    found = cuped(one_pair(y[:size], x[:size]), one_pair(y_t, x_t))
    scaled = cuped(one_pair(y[:size], 3 * x[:size] + 5), one_pair(y_t, 3 * x_t + 5))
    assert 0 <= found.variance_reduction[0] <= 1
    assert scaled.lift.difference[0] == pytest.approx(found.lift.difference[0], abs=1e-6)
    before = one_cell(y[:size]).error_variance + one_cell(y_t).error_variance
    after = found.control.error_variance + found.treatment.error_variance
    assert after[0] <= before[0] * (1 + 1e-9)


@pytest.mark.parametrize(
    ("values", "cell", "message"),
    [
        ([1.0, np.nan], [0, 0], "finite"),
        ([1.0], [0, 0], "one value per row"),
        ([1.0, 2.0], [0, 2], "0 to 1, got 0 to 2"),
    ],
)
def test_rows_that_do_not_fit_are_refused(values, cell, message):
    with pytest.raises(ValueError, match=message):
        moments(np.array(values), np.array(cell), 2)


def test_arms_of_other_cells_are_refused():
    with pytest.raises(ValueError, match="same cells"):
        difference_of_means(one_cell([1, 2]), moments(np.array([1.0, 2.0]), np.array([0, 1]), 2))

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_ml.campaigns import sequential
from models_ml.campaigns.means import NO_SPREAD, Moments, difference_of_means
from models_ml.campaigns.proportions import difference_of_shares
from models_ml.campaigns.sequential import rho_squared, sequence_of_means, sequence_of_shares


def arm(people, mean, variance=1.0):
    people = np.atleast_1d(np.asarray(people))
    return Moments(
        people, np.broadcast_to(np.float64(mean), people.shape), np.broadcast_to(np.float64(variance), people.shape)
    )


def half_width(people, planned):
    found = sequence_of_means(arm(people, 0.0), arm(people, 0.0), planned_people=planned)
    return (found.high - found.low) / 2


def test_the_interval_is_that_of_the_paper():
    # Equal arms of m people with variance 1: influence variance 4, t = 2 m; formula of Theorem 2.2 as it is printed.
    found = sequence_of_means(arm(500, 0.0), arm(500, 0.1), planned_people=4000, level=0.9)
    t, rho, sigma, alpha = 1000, np.sqrt(rho_squared(4000, level=0.9)), 2.0, 0.1
    margin = sigma * np.sqrt(2 * (t * rho**2 + 1) / (t**2 * rho**2) * np.log(np.sqrt(t * rho**2 + 1) / alpha))
    assert (found.low[0], found.high[0]) == pytest.approx((0.1 - margin, 0.1 + margin))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_rho_makes_the_interval_tightest_at_the_planned_size(level):
    best = rho_squared(10_000, level=level)

    def margin(rho2):
        return (1e4 * rho2 + 1) / rho2 * np.log(np.sqrt(1e4 * rho2 + 1) / (1 - level))

    assert margin(best) < min(margin(0.98 * best), margin(1.02 * best))


def test_looking_often_costs_width_and_least_at_the_planned_size():
    people = np.array([500, 5_000, 50_000])
    fixed = difference_of_means(arm(people, 0.0), arm(people, 0.0))
    price = half_width(people, 10_000) / ((fixed.high - fixed.low) / 2)
    assert price.argmin() == 1
    # About 1.6 at 95 %: a little above 3 standard errors instead of 1.96.
    assert price[1] == pytest.approx(1.57, abs=0.05)


@settings(deadline=None)
@given(difference=st.floats(-0.5, 0.5), people=st.integers(100, 10_000))
def test_the_p_value_is_the_level_at_which_the_interval_touches_zero(difference, people):
    found = sequence_of_means(arm(people, 0.0), arm(people, difference), planned_people=5_000)
    outside = bool((found.low[0] > 0) or (found.high[0] < 0))
    if abs(found.p_value[0] - 0.05) > 1e-9:
        assert outside == (found.p_value[0] < 0.05)
    assert found.low[0] < found.difference[0] < found.high[0]
    turned = sequence_of_means(arm(people, difference), arm(people, 0.0), planned_people=5_000)
    assert (turned.low[0], turned.p_value[0]) == pytest.approx((-found.high[0], found.p_value[0]))


def test_peeking_every_day_raises_few_false_alarms_where_the_fixed_interval_raises_many():
    random = np.random.default_rng(0)
    people = np.cumsum(np.full((2000, 28), 200), axis=1)
    control, treatment = (np.cumsum(random.binomial(200, 0.1, (2000, 28)), axis=1) for _ in range(2))
    fixed = difference_of_shares(control, people, treatment, people)
    allowed = sequence_of_shares(control, people, treatment, people, planned_people=2 * 28 * 200)
    assert (fixed.p_value < 0.05).any(axis=1).mean() > 0.2
    assert (allowed.p_value < 0.05).any(axis=1).mean() < 0.05


def test_a_small_holdout_without_a_conversion_yet_is_no_alarm():
    # 0 of 50 held out beside 250 of 5,000: one in thirteen such holdouts has none by chance.
    found = sequence_of_shares(0, 50, 250, 5_000, planned_people=100_000)
    assert found.low < 0 < found.high
    assert found.control == 0


def test_a_small_holdout_that_spent_little_so_far_borrows_the_spread_of_the_others():
    # By its own variance the holdout would be certain and 8 standard errors away.
    found = sequence_of_means(arm(100, 0.0, 0.0), arm(6400, 1.0, 100.0), planned_people=10_000)
    assert found.low[0] < 0 < found.high[0]
    # Where its own variance is the larger one, that counts.
    noisy = sequence_of_means(arm(100, 0.0, 400.0), arm(6400, 1.0, 100.0), planned_people=10_000)
    assert noisy.high[0] - noisy.low[0] > 1.9 * (found.high[0] - found.low[0])


def test_a_real_lift_is_found_before_the_end():
    days = np.arange(1, 29)
    found = sequence_of_shares(50 * days, 1000 * days, 75 * days, 1000 * days, planned_people=56_000)
    assert found.low[-1] > 0
    assert (found.low > 0).argmax() < 14


def test_looks_that_come_too_early_say_so():
    found = sequence_of_means(arm([99, 100], 0.0), arm([100, 100], 0.0), planned_people=1000)
    assert found.reason.tolist() == [sequential.TOO_EARLY, ""]
    assert np.isnan(found.low).tolist() == [True, False]
    flat = sequence_of_means(arm(500, 0.0, 0.0), arm(500, 1.0, 0.0), planned_people=1000)
    assert flat.reason.tolist() == [NO_SPREAD]
    nobody = sequence_of_shares(0, 0, 1, 10, planned_people=1000)
    assert (str(nobody.reason), np.isnan(nobody.p_value)) == ("nobody in an arm", True)


def test_a_plan_of_nobody_is_refused():
    with pytest.raises(ValueError, match="planned_people"):
        rho_squared(0)

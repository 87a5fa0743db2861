import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from statsmodels.stats.power import tt_ind_solve_power

from models_ml.campaigns.planning import (
    detectable_difference_of_means,
    detectable_difference_of_shares,
    people_for_difference_of_means,
    people_for_difference_of_shares,
)
from models_ml.campaigns.proportions import difference_of_shares


def test_the_textbook_number_of_people():
    # Fleiss: 10 % against 12 %, 80 % power, 5 % two-sided: 3,841 in each arm without continuity correction.
    found = people_for_difference_of_shares(0.10, 0.02, 0.5)
    pooled = norm.ppf(0.975) * np.sqrt(2 * 0.11 * 0.89)
    own = norm.ppf(0.8) * np.sqrt(0.1 * 0.9 + 0.12 * 0.88)
    assert found.people_control == found.people_treatment == np.ceil((pooled + own) ** 2 / 0.02**2) == 3841


def test_means_agree_with_the_solver_of_statsmodels():
    found = detectable_difference_of_means(3.0, 4_000, 0.1)
    assert (found.people_control, found.people_treatment) == (400, 3600)
    expected = 3.0 * tt_ind_solve_power(nobs1=3600, alpha=0.05, power=0.8, ratio=400 / 3600)
    assert found.difference == pytest.approx(expected, rel=1e-3)


@settings(deadline=None, max_examples=15)
@given(base=st.floats(0.01, 0.6), people=st.integers(2_000, 1_000_000), holdout=st.sampled_from([0.05, 0.1, 0.5]))
def test_the_people_for_a_detectable_lift_are_those_it_was_found_with(base, people, holdout):
    share = detectable_difference_of_shares(base, people, holdout)
    if share.difference is not None:
        back = people_for_difference_of_shares(base, share.difference, holdout)
        # The holdout is a whole number of people, so both ways differ by less than one person held out.
        assert back.people_control + back.people_treatment == pytest.approx(people, abs=1 / holdout + 2)
    mean = detectable_difference_of_means(2.0, people, holdout)
    back = people_for_difference_of_means(2.0, mean.difference, holdout)
    assert back.people_control + back.people_treatment == pytest.approx(people, abs=1 / holdout + 2)


def test_four_times_the_people_halve_what_is_found():
    few, many = (detectable_difference_of_means(1.0, people, 0.2).difference for people in (10_000, 40_000))
    assert few == pytest.approx(2 * many, rel=1e-3)


def test_a_lift_of_the_planned_size_is_found_as_often_as_promised():
    plan = detectable_difference_of_shares(0.05, 20_000, 0.1)
    random = np.random.default_rng(0)
    control = random.binomial(plan.people_control, 0.05, 4000)
    treatment = random.binomial(plan.people_treatment, 0.05 + plan.difference, 4000)
    found = difference_of_shares(control, plan.people_control, treatment, plan.people_treatment).p_value < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.03)


def test_too_few_people_are_a_reason_and_no_number():
    assert "100 %" in detectable_difference_of_shares(0.5, 10, 0.2).reason
    assert detectable_difference_of_shares(0.5, 10, 0.2).difference is None
    assert detectable_difference_of_shares(0.5, 10, 0.01).reason == "an arm would be empty"
    assert detectable_difference_of_means(1.0, 0, 0.1).reason == "an arm would be empty"
    assert "would be needed" in people_for_difference_of_means(1.0, 1e-9, 0.1).reason


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: detectable_difference_of_shares(0.0, 10, 0.1), "similar campaign"),
        (lambda: detectable_difference_of_shares(0.1, 10, 0.0), "without a holdout"),
        (lambda: detectable_difference_of_shares(0.1, -1, 0.1), "people"),
        (lambda: detectable_difference_of_shares(0.1, 10, 0.1, power=0.01), "power"),
        (lambda: people_for_difference_of_shares(0.1, 0.95, 0.1), "base"),
        (lambda: people_for_difference_of_means(1.0, 0.0, 0.1), "difference of 0"),
        (lambda: detectable_difference_of_means(0.0, 10, 0.1), "deviation"),
    ],
)
def test_plans_that_make_no_sense_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

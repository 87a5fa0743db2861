import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from models_ml.campaigns.off_policy import (
    LoggedDecisions,
    PredictedRewards,
    direct_method,
    doubly_robust,
    evaluate_policy,
    ips,
    overlap,
    predicted_rewards,
    snips,
    switch_doubly_robust,
    switch_threshold,
)

# Four decisions: weights 2, 0.5, 0 and 1.
LOG = LoggedDecisions(
    rewards=np.array([1.0, 0.0, 1.0, 1.0]),
    propensities=np.array([0.25, 0.5, 0.5, 0.2]),
    target=np.array([0.5, 0.25, 0.0, 0.2]),
)
PREDICTED = PredictedRewards(logged=np.array([0.5, 0.2, 0.4, 0.8]), target=np.array([0.6, 0.4, 0.2, 0.4]))


def log_of(weights, rewards):
    weights = np.asarray(weights, dtype=np.float64)
    propensities = np.full(len(weights), 1 / max(weights.max(), 1))
    return LoggedDecisions(np.asarray(rewards, dtype=np.float64), propensities, weights * propensities)


def test_estimators_by_hand():
    assert ips(LOG).value == pytest.approx((2 * 1 + 0.5 * 0 + 0 + 1 * 1) / 4)
    assert snips(LOG).value == pytest.approx(3 / 3.5)
    assert direct_method(PREDICTED).value == pytest.approx(0.4)
    corrections = 2 * 0.5 + 0.5 * -0.2 + 0 + 1 * 0.2
    assert doubly_robust(LOG, PREDICTED).value == pytest.approx(0.4 + corrections / 4)
    assert switch_doubly_robust(LOG, PREDICTED, 1.0).value == pytest.approx(0.4 + (0.5 * -0.2 + 0.2) / 4)


def test_the_interval_of_ips_is_that_of_a_mean():
    found = ips(LOG, level=0.9)
    terms = np.array([2.0, 0.0, 0.0, 1.0])
    error = terms.std(ddof=1) / 2
    assert found.standard_error == pytest.approx(error)
    assert (found.low, found.high) == pytest.approx((0.75 - norm.ppf(0.95) * error, 0.75 + norm.ppf(0.95) * error))


def test_the_standard_error_of_snips_is_that_of_a_ratio_of_means():
    # Variance of a ratio of means u / v by the delta method: (var u - 2 ratio cov + ratio^2 var v) / (rows v^2).
    weights = LOG.weights
    covariance = np.cov(weights * LOG.rewards, weights)
    ratio, mean = 3 / 3.5, 3.5 / 4
    variance = (covariance[0, 0] - 2 * ratio * covariance[0, 1] + ratio**2 * covariance[1, 1]) / (4 * mean**2)
    assert snips(LOG).standard_error == pytest.approx(np.sqrt(variance))


def test_the_effective_sample_by_hand():
    found = overlap(LOG)
    assert found.effective_sample == pytest.approx(3.5**2 / (4 + 0.25 + 1))
    assert found.effective_rewards == pytest.approx(3**2 / (4 + 1))
    assert found.mean_weight == pytest.approx(3.5 / 4)
    assert found.largest_weight == 2


def test_ips_and_doubly_robust_are_unbiased_on_a_bandit_that_can_be_enumerated():
    # Two contexts, three actions, rewards 0 or 1: all logs of one row, weighted by their probability.
    contexts = np.array([0.3, 0.7])
    logging = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    policy = np.array([[0.1, 0.1, 0.8], [0.3, 0.7, 0.0]])
    rate = np.array([[0.1, 0.4, 0.7], [0.9, 0.2, 0.5]])
    predicted = np.array([[0.3, 0.3, 0.1], [0.5, 0.9, 0.0]])
    truth = (contexts[:, None] * policy * rate).sum()
    mean_of_ips, mean_of_dr = 0.0, 0.0
    for x, a, r in itertools.product(range(2), range(3), range(2)):
        probability = contexts[x] * logging[x, a] * (rate[x, a] if r else 1 - rate[x, a])
        # The row twice, so that there is an interval; the value is that of the one row.
        log = LoggedDecisions(np.full(2, float(r)), np.full(2, logging[x, a]), np.full(2, policy[x, a]))
        model = predicted_rewards(predicted[[x, x]], policy[[x, x]], np.array([a, a]))
        mean_of_ips += probability * ips(log).value
        mean_of_dr += probability * doubly_robust(log, model).value
    assert mean_of_ips == pytest.approx(truth)
    assert mean_of_dr == pytest.approx(truth)


@given(arrays(np.float64, 20, elements=st.floats(0, 5)), arrays(np.float64, 20, elements=st.floats(0, 1)))
def test_doubly_robust_is_the_direct_method_where_predictions_are_exact(weights, rewards):
    log = log_of(weights, rewards)
    exact = PredictedRewards(log.rewards, np.linspace(0, 1, 20))
    assert doubly_robust(log, exact).value == pytest.approx(direct_method(exact).value)


@given(arrays(np.float64, 20, elements=st.floats(0, 5)), arrays(np.float64, 20, elements=st.floats(0, 1)))
def test_doubly_robust_is_ips_where_nothing_is_predicted(weights, rewards):
    log = log_of(weights, rewards)
    nothing = PredictedRewards(np.zeros(20), np.zeros(20))
    assert doubly_robust(log, nothing).value == pytest.approx(ips(log).value)


def test_switch_goes_from_the_direct_method_to_doubly_robust():
    assert switch_doubly_robust(LOG, PREDICTED, 0.0) == switch_doubly_robust(LOG, PREDICTED, 0.4)
    assert switch_doubly_robust(LOG, PREDICTED, 0.0).value == pytest.approx(direct_method(PREDICTED).value)
    assert switch_doubly_robust(LOG, PREDICTED, np.inf).value == pytest.approx(doubly_robust(LOG, PREDICTED).value)
    assert switch_doubly_robust(LOG, PREDICTED, 2.0).value == pytest.approx(doubly_robust(LOG, PREDICTED).value)


def test_the_threshold_cuts_a_weight_that_costs_more_variance_than_bias():
    weights = np.concatenate([np.ones(9999), [500.0]])
    rewards = np.concatenate([np.tile([0.0, 1.0], 5000)])
    model = PredictedRewards(np.full(10000, 0.5), np.full(10000, 0.5))
    assert switch_threshold(log_of(weights, rewards), model, candidates=[0.0, 1.0, np.inf]) == np.inf
    rewards[-1] = 0.5 + 40.0
    assert switch_threshold(log_of(weights, rewards), model, candidates=[1.0, np.inf], largest_reward=1.0) == 1.0


def test_snips_stays_within_rewards_and_does_not_mind_the_scale_of_propensities():
    log = LoggedDecisions(LOG.rewards, LOG.propensities, LOG.target / 2)
    assert snips(log).value == pytest.approx(snips(LOG).value)
    assert snips(log_of([1, 10, 3], [1, 1, 1])).value == pytest.approx(1)


def test_intervals_of_ips_and_snips_and_doubly_robust_hold_the_truth_in_95_percent():
    random = np.random.default_rng(0)
    logging, policy = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
    rate = np.array([0.2, 0.5, 0.4])
    truth = policy @ rate
    inside = {"ips": 0, "snips": 0, "doubly_robust": 0}
    for _ in range(300):
        actions = random.choice(3, 800, p=logging)
        rewards = (random.random(800) < rate[actions]).astype(np.float64)
        model = predicted_rewards(np.tile([0.3, 0.4, 0.4], (800, 1)), policy, actions)
        found = evaluate_policy(LoggedDecisions(rewards, logging[actions], policy[actions]), model)
        for name in inside:
            inside[name] += found.estimates[name].low <= truth <= found.estimates[name].high
    assert all(0.92 <= count / 300 <= 0.98 for count in inside.values()), inside


def test_a_log_that_hardly_shows_the_policy_is_refused_with_a_reason():
    log = log_of([1000.0] + [0.001] * 999, [1.0] + [0.0] * 999)
    model = PredictedRewards(np.zeros(1000), np.zeros(1000))
    found = evaluate_policy(log, model)
    assert set(found.estimates) == {"direct_method", "ips", "snips", "doubly_robust", "switch_doubly_robust"}
    for one in found.estimates.values():
        assert (one.value, one.low, one.high, one.standard_error) == (None, None, None, None)
        assert "effective sample is 1.0 of 1000 rows, below the floor of 100" in one.reason
    assert evaluate_policy(log, model, least_effective_sample=0).estimates["ips"].value == pytest.approx(1.0)


def test_weights_that_do_not_average_to_one_are_refused():
    actions = np.tile([0, 1], 500)
    # Half of the policy's decisions are an action that was never logged.
    log = LoggedDecisions(np.ones(1000), np.full(1000, 0.5), np.where(actions == 0, 0.1, 0.4))
    found = evaluate_policy(log)
    assert found.estimates["ips"].value is None
    assert "mean weight is 0.500 instead of 1" in found.estimates["ips"].reason
    assert evaluate_policy(log, weight_check_level=0).estimates["ips"].value == pytest.approx(0.5)


def test_the_same_policy_is_its_own_mean():
    log = log_of(np.ones(200), np.tile([0.0, 1.0], 100))
    found = evaluate_policy(log)
    assert found.overlap.effective_sample == pytest.approx(200)
    assert found.overlap.mean_weight_p == 1
    assert found.estimates["ips"].value == pytest.approx(0.5)
    assert "direct_method" not in found.estimates


def test_a_policy_that_shares_no_action_with_the_log_has_no_value():
    log = log_of(np.zeros(300), np.ones(300))
    assert overlap(log).effective_sample == 0
    assert snips(log).value is None
    assert evaluate_policy(log).estimates["ips"].value is None


def test_predictions_of_all_actions_become_those_of_the_policy():
    found = predicted_rewards(np.array([[0.0, 1.0], [0.5, 0.1]]), np.array([[0.2, 0.8], [1.0, 0.0]]), np.array([0, 1]))
    np.testing.assert_allclose(found.logged, [0.0, 0.1])
    np.testing.assert_allclose(found.target, [0.8, 0.5])
    with pytest.raises(ValueError, match="sum to 1"):
        predicted_rewards(np.zeros((2, 2)), np.array([0.5, 0.6]), np.array([0, 1]))


def test_bad_logs_are_named():
    one = np.ones(2)
    with pytest.raises(ValueError, match="1 of 2 propensities are not in"):
        LoggedDecisions(one, np.array([0.0, 1.0]), one)
    with pytest.raises(ValueError, match="rewards are not finite"):
        LoggedDecisions(np.array([np.nan, 1.0]), one, one)
    with pytest.raises(ValueError, match="target policy"):
        LoggedDecisions(one, one, np.array([1.5, 0.0]))
    with pytest.raises(ValueError, match="2 rows, the predictions 3"):
        doubly_robust(LoggedDecisions(one, one, one), PredictedRewards(np.zeros(3), np.zeros(3)))


def test_what_a_policy_is_ahead_of_the_log_is_taken_row_by_row():
    found = evaluate_policy(LOG, PREDICTED, least_effective_sample=0, weight_check_level=0)
    terms = np.array([2.0, 0.0, 0.0, 1.0]) - LOG.rewards
    assert found.ahead["ips"].value == pytest.approx(0.75 - 0.75)
    assert found.ahead["ips"].standard_error == pytest.approx(terms.std(ddof=1) / 2)
    for name, one in found.estimates.items():
        assert found.ahead[name].value == pytest.approx(one.value - 0.75)


def test_the_logging_policy_is_not_ahead_of_itself():
    found = evaluate_policy(log_of(np.ones(200), np.tile([0.0, 1.0], 100)))
    assert (found.ahead["ips"].value, found.ahead["ips"].standard_error) == (0, 0)


def test_what_is_refused_is_ahead_of_nothing():
    found = evaluate_policy(log_of([1000.0] + [0.001] * 999, np.ones(1000)))
    assert found.ahead["ips"].value is None
    assert found.ahead["ips"].reason == found.estimates["ips"].reason


def test_rows_of_a_person_count_as_often_as_the_person_does():
    random = np.random.default_rng(1)
    weights, rewards = random.choice([0.0, 2.0], 200), random.random(200)
    once = log_of(weights, rewards)
    threefold = LoggedDecisions(*(np.repeat(one, 3) for one in (once.rewards, once.propensities, once.target)))
    people = LoggedDecisions(
        threefold.rewards, threefold.propensities, threefold.target, people=np.repeat(np.arange(200), 3)
    )
    for estimator in (ips, snips):
        assert estimator(people).standard_error == pytest.approx(estimator(once).standard_error)
        assert estimator(threefold).standard_error < 0.6 * estimator(once).standard_error
    assert overlap(people).mean_weight_p == pytest.approx(overlap(once).mean_weight_p)


def test_one_person_has_no_interval():
    log = LoggedDecisions(LOG.rewards, LOG.propensities, LOG.target, people=np.zeros(4, np.int64))
    assert ips(log).value is None
    assert "one person" in ips(log).reason


def test_people_are_one_number_a_row():
    with pytest.raises(ValueError, match="people need one number"):
        LoggedDecisions(LOG.rewards, LOG.propensities, LOG.target, people=np.zeros(3, np.int64))

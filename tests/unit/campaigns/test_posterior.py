import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import beta, betabinom

from models_ml.campaigns.posterior import (
    MOST_STRENGTH,
    BetaPrior,
    fit_group_priors,
    fit_prior,
    measured_rates,
    posterior,
)


def drawn_cells(alpha, beta_, exposures, seed=0):
    random = np.random.default_rng(seed)
    return random.binomial(exposures, random.beta(alpha, beta_, size=len(exposures)))


EXPOSURES = np.random.default_rng(7).integers(20, 400, size=60)
ANSWERS = drawn_cells(4.0, 96.0, EXPOSURES)


def test_the_prior_is_the_most_likely_one_by_scipy():
    def loss(point):
        return -betabinom.logpmf(ANSWERS, EXPOSURES, *np.exp(point)).sum()

    found = fit_prior(ANSWERS, EXPOSURES).prior
    best = minimize(loss, np.log([1.0, 20.0]), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    assert (found.alpha, found.beta) == pytest.approx(tuple(np.exp(best.x)), rel=1e-3)


@pytest.mark.parametrize("method", ["marginal_likelihood", "moments"])
def test_a_known_prior_is_found_again(method):
    exposures = np.random.default_rng(1).integers(50, 3000, size=3000)
    found = fit_prior(drawn_cells(3.0, 97.0, exposures), exposures, method=method).prior
    assert found.mean == pytest.approx(0.03, rel=0.05)
    assert found.strength == pytest.approx(100, rel=0.15)


def test_moments_by_hand():
    # Two cells of 10 with 2 and 6 answers: rate 0.4, X2 = (4 + 4) / 2.4, r = (X2 - 1) / (20 - 10 - 1).
    found = fit_prior(np.array([2, 6]), np.array([10, 10]), method="moments", least_cells=2).prior
    correlation = (8 / 2.4 - 1) / 9
    assert found.mean == pytest.approx(0.4)
    assert found.strength == pytest.approx(1 / correlation - 1)


@pytest.mark.parametrize("method", ["marginal_likelihood", "moments"])
def test_cells_that_differ_by_no_more_than_chance_all_get_the_pooled_rate(method):
    answers, exposures = np.array([10, 10, 11, 9]), np.full(4, 1000)
    prior = fit_prior(answers, exposures, method=method).prior
    assert prior.strength == pytest.approx(MOST_STRENGTH)
    np.testing.assert_allclose(posterior(answers, exposures, prior.alpha, prior.beta).mean, 0.01, rtol=2e-3)


def test_the_posterior_is_scipys():
    found = posterior(np.array([0, 3]), np.array([0, 50]), 2.0, 38.0, level=0.9)
    np.testing.assert_allclose(found.mean, [2 / 40, 5 / 90])
    np.testing.assert_allclose(found.low, [beta(2, 38).ppf(0.05), beta(5, 85).ppf(0.05)])
    np.testing.assert_allclose(found.high, [beta(2, 38).ppf(0.95), beta(5, 85).ppf(0.95)])


def test_shrunken_rates_are_nearer_to_the_truth_than_raw_ones():
    random = np.random.default_rng(3)
    rates = random.beta(4, 96, size=500)
    exposures = random.integers(10, 200, size=500)
    answers = random.binomial(exposures, rates)
    prior = fit_prior(answers, exposures).prior
    found = posterior(answers, exposures, prior.alpha, prior.beta)
    assert ((found.mean - rates) ** 2).mean() < 0.5 * ((answers / exposures - rates) ** 2).mean()
    assert 0.92 <= ((found.low <= rates) & (rates <= found.high)).mean() <= 0.98


def test_what_cells_cannot_say_is_no_prior_with_a_reason():
    assert fit_prior(np.array([0, 0, 0]), np.array([5, 6, 7])).reason == "no answer in 18 exposures"
    assert fit_prior(np.array([1, 0, 0]), np.array([5, 6, 0])).reason == "2 cells have exposures, 3 are needed"
    assert fit_prior(np.array([5, 6, 7]), np.array([5, 6, 7])).reason == "every one of 18 exposures was answered"
    assert fit_prior(np.array([], dtype=int), np.array([], dtype=int)).prior is None


def test_a_group_without_a_prior_of_its_own_takes_that_of_all_and_then_the_given_one():
    groups = np.concatenate([np.zeros(60, dtype=int), [1]])
    given = BetaPrior(1.0, 99.0)
    found = fit_group_priors(np.append(ANSWERS, 0), np.append(EXPOSURES, 10), groups, 3, given)
    assert found.source == ("own", "all", "all")
    own = fit_prior(ANSWERS, EXPOSURES).prior
    assert (found.alpha[0], found.beta[0]) == (own.alpha, own.beta)
    assert found.reasons[2] == "0 cells have exposures, 3 are needed"
    nothing = np.zeros(0, dtype=int)
    empty = fit_group_priors(nothing, nothing, nothing, 2, given)
    assert empty.source == ("given", "given")
    assert (empty.alpha[1], empty.beta[1]) == (1.0, 99.0)


def test_more_answers_than_exposures_are_named():
    with pytest.raises(ValueError, match="cell 1 has 4 answers of 3 exposures"):
        fit_prior(np.array([0, 4]), np.array([1, 3]))


def test_rates_of_segments_lean_on_their_kind_and_those_of_everyone_on_all_kinds():
    # Two kinds, each with three segments and everyone; nothing of the second kind was shown.
    kind, everyone = np.repeat([0, 1], 4), np.tile([False, False, False, True], 2)
    exposures = np.array([100, 100, 4, 204, 0, 0, 0, 0])
    answers = np.array([2, 12, 4, 18, 0, 0, 0, 0])
    given = BetaPrior(1.0, 49.0)
    found = measured_rates(answers, exposures, kind, everyone, 2, given)
    # One kind cannot say how kinds differ.
    assert found.prior_mean[3] == found.prior_mean[7] == given.mean
    assert found.rate.mean[3] == pytest.approx((1 + 18) / (50 + 204))
    assert found.rate.mean[7] == pytest.approx(given.mean)
    own = fit_prior(answers[:3], exposures[:3]).prior
    assert found.prior_mean[0] == pytest.approx(own.mean)
    assert found.rate.mean[2] == pytest.approx((own.alpha + 4) / (own.strength + 4))
    # A kind of which nothing is known takes what the segments of the others say.
    assert found.prior_mean[4] == pytest.approx(own.mean)


def test_a_prior_is_not_surer_than_the_exposures_of_its_kind():
    # The rates of the segments do not differ, so the fit alone would be endlessly sure.
    kind, everyone = np.zeros(4, int), np.array([False, False, False, True])
    exposures = np.array([100, 100, 100, 300])
    found = measured_rates(exposures // 10, exposures, kind, everyone, 1, BetaPrior(1.0, 49.0))
    np.testing.assert_allclose(found.prior_strength, [300, 300, 300, 50])

import numpy as np
import pytest
from scipy.special import expit
from threadpoolctl import threadpool_limits

from models_ml.campaigns.reliability import reliability
from models_ml.campaigns.response import ResponseConfig, cross_fitted_probabilities, fit_response


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):
        yield


def exposures(rows=4000, seed=0):
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, 3))
    rate = expit(-2 + features[:, 0] + 0.5 * features[:, 1])
    return features, random.random(rows) < rate, rate


CONFIGS = [
    ResponseConfig(),
    ResponseConfig(calibration="isotonic"),
    ResponseConfig(calibration="none"),
    ResponseConfig(learner="boosting", calibration="platt", folds=3),
    ResponseConfig(learner="boosting", calibration="isotonic", folds=3),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_probabilities_come_near_the_truth_and_are_calibrated(config):
    features, responded, _ = exposures()
    model = fit_response(features, responded, config).model
    others, answers, truth = exposures(seed=1)
    found = model.probability(others)
    assert found.shape == (4000,)
    assert np.corrcoef(found, truth)[0, 1] > 0.9
    table = reliability(found, answers)
    assert table.expected_calibration_error < 2.5 * table.error_by_chance
    assert (model.rows, model.answers, model.columns) == (4000, int(responded.sum()), 3)


def test_calibration_improves_a_learner_that_is_too_timid():
    features, responded, _ = exposures()
    others, answers, _ = exposures(seed=1)
    errors = {}
    for calibration in ("none", "platt", "isotonic"):
        config = ResponseConfig(calibration=calibration, regularization=3000.0)
        found = reliability(fit_response(features, responded, config).model.probability(others), answers)
        errors[calibration] = found.expected_calibration_error, found.brier_score
    for calibration in ("platt", "isotonic"):
        assert errors[calibration][0] < 0.5 * errors["none"][0]
        assert errors[calibration][1] < errors["none"][1]


def test_cross_fitted_probabilities_have_not_seen_their_row():
    random = np.random.default_rng(3)
    # Features say nothing, so that only a model that has seen the rows could be ahead of the mean rate.
    features, responded = random.normal(size=(1500, 20)), random.random(1500) < 0.2
    config = ResponseConfig(learner="boosting", calibration="none")
    seen = fit_response(features, responded, config).model.probability(features)
    unseen, reason = cross_fitted_probabilities(features, responded, config)
    assert reason is None
    assert reliability(seen, responded).brier_skill > 0.05
    assert reliability(unseen, responded).brier_skill <= 0


def repeated():
    """People who are known by their features and always or never answer: one of their rows gives the others away."""
    random = np.random.default_rng(4)
    people = np.repeat(np.arange(120), 8)
    return random.normal(size=(120, 8))[people], (random.random(120) < 0.3)[people], people


def test_rows_of_a_person_are_judged_together():
    features, responded, people = repeated()
    config = ResponseConfig(learner="boosting", calibration="none", folds=2)
    apart, _ = cross_fitted_probabilities(features, responded, config, folds=2)
    together, _ = cross_fitted_probabilities(features, responded, config, folds=2, people=people)
    assert reliability(apart, responded).brier_skill > 0.2
    assert reliability(together, responded).brier_skill < 0.1


def test_calibration_is_learnt_on_people_that_the_learner_has_not_seen():
    features, responded, people = repeated()
    config = ResponseConfig(learner="boosting", folds=2)
    fooled = fit_response(features, responded, config).model.probability(features)
    honest = fit_response(features, responded, config, people=people).model.probability(features)
    # Features say nothing about new people, and only the second calibration knows it.
    assert fooled.std() > 0.2
    assert honest.std() < 0.5 * fooled.std()


def test_too_few_answers_are_no_model_with_a_reason():
    features, responded, _ = exposures(rows=100)
    responded[:] = False
    responded[:7] = True
    assert fit_response(features, responded).model is None
    assert fit_response(features, responded).reason == "7 rows with an answer, 30 are needed"
    assert cross_fitted_probabilities(features, responded) == (None, "7 rows with an answer, 30 are needed")
    assert fit_response(features, ~responded).reason == "7 rows without an answer, 30 are needed"
    one_person = fit_response(features, responded, ResponseConfig(least_answers=5), people=np.zeros(100, dtype=int))
    assert "fewer people than the 5 folds" in one_person.reason


def test_the_same_seed_gives_the_same_probabilities():
    features, responded, _ = exposures(rows=1000)
    found = [fit_response(features, responded).model.probability(features) for _ in range(2)]
    assert (found[0] == found[1]).all()


def test_bad_calls_are_named():
    features, responded, _ = exposures(rows=200)
    with pytest.raises(ValueError, match="no calibration 'beta'"):
        ResponseConfig(calibration="beta")
    with pytest.raises(ValueError, match="no learner 'forest'"):
        ResponseConfig(learner="forest")
    features[5, 2] = np.inf
    with pytest.raises(ValueError, match="row 5, column 2"):
        fit_response(features, responded)

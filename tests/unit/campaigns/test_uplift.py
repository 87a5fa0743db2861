import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from models_ml.campaigns.uplift import (
    InteractionConfig,
    RandomConfig,
    ResponseOnlyConfig,
    TLearnerConfig,
    XLearnerConfig,
    fit_uplift,
)

MODELS = [
    InteractionConfig(),
    TLearnerConfig(),
    XLearnerConfig(),
    TLearnerConfig(learner="boosting"),
    XLearnerConfig(learner="boosting", effect="boosting"),
]


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):
        yield


def experiment(rows=8000, share=0.5, seed=0):
    """Contact helps where the first feature is high and puts off where it is low."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, 2))
    treated = random.random(rows) < share
    base = 0.3 + 0.1 * np.tanh(features[:, 1])
    uplift = 0.2 * np.tanh(features[:, 0])
    return features, treated, random.random(rows) < base + treated * uplift, uplift


@pytest.mark.parametrize("config", MODELS, ids=str)
def test_uplift_comes_near_the_truth(config):
    features, treated, responded, truth = experiment()
    found = fit_uplift(features, treated, responded, config).model.uplift(features)
    assert found.shape == (8000,)
    assert np.corrcoef(found, truth)[0, 1] > 0.85
    assert found.mean() == pytest.approx(responded[treated].mean() - responded[~treated].mean(), abs=0.02)
    # People who are put off by contact are recognised as such.
    assert found[truth < -0.1].mean() < -0.05


def test_the_t_learner_is_the_difference_of_two_regressions():
    features, treated, responded, _ = experiment(rows=1000)
    found = fit_uplift(features, treated, responded, TLearnerConfig(regularization=0.5)).model.uplift(features[:5])
    expected = 0
    for arm, sign in ((treated, 1), (~treated, -1)):
        mean, scale = features[arm].mean(axis=0), features[arm].std(axis=0)
        model = LogisticRegression(C=2.0).fit((features[arm] - mean) / scale, responded[arm])
        expected = expected + sign * model.predict_proba((features[:5] - mean) / scale)[:, 1]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_x_learner_weighs_imputed_effects_with_the_share_contacted():
    features, treated, responded, _ = experiment(rows=2000, share=0.2)
    found = fit_uplift(features, treated, responded, XLearnerConfig()).model

    def scaled(rows, arm):
        return (rows - features[arm].mean(axis=0)) / features[arm].std(axis=0)

    def rates(arm, rows):
        return (
            LogisticRegression().fit(scaled(features[arm], arm), responded[arm]).predict_proba(scaled(rows, arm))[:, 1]
        )

    of_treated = responded[treated] - rates(~treated, features[treated])
    of_control = rates(treated, features[~treated]) - responded[~treated]
    tau_treated = Ridge().fit(scaled(features[treated], treated), of_treated).predict(scaled(features, treated))
    tau_control = Ridge().fit(scaled(features[~treated], ~treated), of_control).predict(scaled(features, ~treated))
    share = treated.mean()
    np.testing.assert_allclose(found.uplift(features), share * tau_control + (1 - share) * tau_treated, atol=1e-4)
    assert found.share_treated == share


def test_where_contact_does_nothing_uplift_is_small():
    random = np.random.default_rng(9)
    features, treated = random.normal(size=(20_000, 2)), random.random(20_000) < 0.5
    responded = random.random(20_000) < 0.3 + 0.2 * np.tanh(features[:, 1])
    for config in (InteractionConfig(), TLearnerConfig(), XLearnerConfig()):
        found = fit_uplift(features, treated, responded, config).model.uplift(features)
        assert np.abs(found).mean() < 0.02


def test_response_only_ranks_by_who_answers_and_not_by_what_contact_causes():
    features, treated, responded, truth = experiment()
    features = features[:, 1:]
    found = fit_uplift(features, treated, responded, ResponseOnlyConfig()).model.uplift(features)
    assert np.corrcoef(found, features[:, 0])[0, 1] > 0.9
    assert abs(np.corrcoef(found, truth)[0, 1]) < 0.05


def test_random_is_a_draw_by_its_seed():
    features, treated, responded, _ = experiment(rows=100)
    draws = [fit_uplift(features, treated, responded, RandomConfig(seed)).model.uplift(features) for seed in (1, 1, 2)]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()


def test_units_of_features_do_not_matter():
    features, treated, responded, _ = experiment(rows=1000)
    for config in (InteractionConfig(), TLearnerConfig(), XLearnerConfig()):
        one = fit_uplift(features, treated, responded, config).model.uplift(features)
        scaled = features * [1000.0, 0.01] + [5.0, -3.0]
        other = fit_uplift(scaled, treated, responded, config).model.uplift(scaled)
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_an_arm_with_too_few_answers_is_no_model_with_a_reason():
    features, treated, responded, _ = experiment(rows=400)
    found = fit_uplift(features, treated, responded & treated, TLearnerConfig())
    assert found.model is None
    assert found.reason == "0 control rows with an answer, 30 are needed"


def test_unknown_values_are_for_boosting_only():
    features, treated, responded, _ = experiment(rows=1000)
    features[3, 1] = np.nan
    with pytest.raises(ValueError, match="row 3, column 1"):
        fit_uplift(features, treated, responded, XLearnerConfig(learner="boosting"))
    found = fit_uplift(features, treated, responded, TLearnerConfig(learner="boosting")).model
    assert np.isfinite(found.uplift(features)).all()
    with pytest.raises(ValueError, match="fitted on 2 columns, got 1"):
        found.uplift(features[:, :1])
    assert found.uplift(features[:0]).shape == (0,)


def test_numbers_in_the_place_of_flags_are_named():
    features, treated, responded, _ = experiment(rows=100)
    with pytest.raises(ValueError, match="treated must be one bool"):
        fit_uplift(features, treated.astype(int), responded, TLearnerConfig())

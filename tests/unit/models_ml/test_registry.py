"""What holds for every family of models."""

import json

import numpy as np
import pytest

from models_ml.als import ALSConfig
from models_ml.blend import BlendConfig
from models_ml.model import ModelConfig
from models_ml.popularity import PopularityConfig
from models_ml.registry import FAMILIES, config_from_json, fit_model, model_from_arrays
from models_ml.retrieval import NO_ITEM

CONFIGS = {kind: family.config() for kind, family in FAMILIES.items()}
CONFIGS["blend"] = BlendConfig((ALSConfig(factors=8), PopularityConfig()), (0.7, 0.3), label="blend_warm")


@pytest.fixture(scope="module")
def models(told):
    return {kind: fit_model(told, config) for kind, config in CONFIGS.items()}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_configuration_comes_back_from_json(kind):
    config = CONFIGS[kind]
    assert config_from_json(json.loads(json.dumps(config.to_json()))) == config
    assert len({config, config_from_json(config.to_json())}) == 1


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_model_comes_back_from_its_arrays(kind, models, told):
    model = models[kind]
    arrays = model.to_arrays()
    assert not any(values.dtype.hasobject for values in arrays.values())
    again = model_from_arrays(arrays, model.config)
    columns = told.domain_range("knowledge")
    np.testing.assert_array_equal(again.scores(told, columns), model.scores(told, columns))
    assert json.dumps(again.describe()) == json.dumps(model.describe())


@pytest.mark.parametrize("kind", CONFIGS)
def test_lists_follow_the_scores_without_what_is_consumed(kind, models, told):
    columns = told.domain_range("film")
    scores = models[kind].scores(told, columns)
    assert scores.shape == (told.shape[0], len(columns))
    scores[told.consumed().toarray()[:, columns.start : columns.stop]] = -np.inf
    lists = models[kind].top_k(told, columns, 5)
    for person in range(0, told.shape[0], 7):
        items = lists.items[person][lists.items[person] != NO_ITEM]
        assert len(items) <= np.isfinite(scores[person]).sum()
        best = np.sort(scores[person])[::-1][: len(items)]
        np.testing.assert_allclose(scores[person][items - columns.start], best, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_scores_do_not_depend_on_who_else_is_asked(kind, models, told):
    columns = told.domain_range("film")
    some = np.array([5, 100, 17])
    together, alone = models[kind].scores(told, columns)[some], models[kind].scores(told.take(some), columns)
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_reasons_are_the_persons_own(kind, models, told):
    columns = told.domain_range("film")
    lists = models[kind].top_k(told, columns, 5)
    reasons = models[kind].explain(told, lists.items, 3)
    assert reasons.items.shape == (told.shape[0], 5, 3)
    own = told.csr(np.ones(told.entries, np.int8)).toarray().astype(bool)
    people, places, _ = np.nonzero(reasons.items != NO_ITEM)
    assert own[people, reasons.items[reasons.items != NO_ITEM]].all()
    assert (lists.items[people, places] != NO_ITEM).all()
    assert (np.diff(reasons.shares, axis=2) <= 1e-6).all()


@pytest.mark.parametrize("kind", CONFIGS)
def test_nobody_gets_an_error_for_an_empty_history(kind, models, told):
    columns = told.domain_range("film")
    stranger = told.take(np.array([-1]))
    lists = models[kind].top_k(stranger, columns, 5)
    assert lists.items.shape == (1, 5)
    assert models[kind].explain(stranger, lists.items).items.shape == (1, 5, 3)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_same_input_gives_the_same_model(kind, models, told):
    again = fit_model(told, CONFIGS[kind]).to_arrays()
    for name, values in models[kind].to_arrays().items():
        np.testing.assert_array_equal(again[name], values)


def test_an_unknown_kind_of_model_is_refused(planted):
    with pytest.raises(ValueError, match="unknown kind of model 'oracle', known are popularity"):
        config_from_json({"kind": "oracle"})

    class Oracle(ModelConfig):
        kind = "oracle"

    with pytest.raises(TypeError, match="no model for a Oracle"):
        fit_model(planted, Oracle())

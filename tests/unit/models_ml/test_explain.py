import dataclasses

import numpy as np
import pytest

from models_ml.als import ALSConfig, fit_als
from models_ml.explain import contributions, strongest_reason


@pytest.mark.parametrize("factors", [4, 32], ids=["more items than factors", "more factors than items"])
def test_the_contributions_of_past_interactions_add_up_to_the_score(planted, factors):
    weight = np.random.default_rng(1).uniform(0.5, 5, planted.entries).astype(np.float32)
    planted = dataclasses.replace(planted, weight=weight)
    model = fit_als(planted, ALSConfig(factors=factors, regularization=2.0, alpha=7.0, iterations=5))
    lists = model.top_k(planted, planted.domain_range("film"), 6)
    checked = 0
    for person, own, parts in contributions(model, planted, lists.items):
        assert own.tolist() == planted.indices[planted.indptr[person] : planted.indptr[person + 1]].tolist()
        filled = lists.items[person] >= 0
        np.testing.assert_allclose(parts.sum(axis=0)[filled], lists.scores[person][filled], rtol=1e-3, atol=1e-4)
        checked += 1
    assert checked == planted.shape[0]


def test_the_reason_is_the_own_item_that_contributes_most(planted):
    model = fit_als(planted, ALSConfig(factors=8, regularization=2.0, alpha=7.0, iterations=5))
    lists = model.top_k(planted, planted.domain_range("knowledge"), 4)
    reasons = strongest_reason(model, planted, lists.items)
    for person, own, parts in contributions(model, planted, lists.items):
        assert reasons[person].tolist() == own[parts.argmax(axis=0)].tolist()
    tastes = np.array([int(key.split(":")[1]) % 4 for key in planted.item_keys.to_pylist()])
    assert (tastes[reasons] == tastes[lists.items]).mean() > 0.9


def test_an_empty_place_and_a_person_without_history_have_no_reason(make):
    world = make(
        [("ann", "film:a", 3.0, 0), ("ben", "film:a", 2.0, 0), ("ben", "film:b", 2.0, 0), ("cat", "film:b", 0.0, 0)]
    )
    model = fit_als(world, ALSConfig(factors=2, regularization=0.1, alpha=1.0))
    items = np.array([[1, -1], [-1, -1], [0, 1]], dtype=np.int32)
    assert strongest_reason(model, world, items).tolist() == [[0, -1], [-1, -1], [-1, -1]]
    nobody = world.take(np.array([], dtype=np.int64))
    assert strongest_reason(model, nobody, np.zeros((0, 2), np.int32)).shape == (0, 2)

"""What holds for every model that serves people by what they did elsewhere."""

import numpy as np
import pytest

from models_ml.bridge import BridgeConfig
from models_ml.contemporary import ContemporaryPopularityConfig
from models_ml.mapped import MappedConfig
from models_ml.registry import fit_model

CONFIGS = {
    "bridge": BridgeConfig(regularization=20.0, liked_at=3.75),
    "mapped": MappedConfig(factors=6, regularization=1.0, alpha=5.0, iterations=4, ridge=0.02),
}
ODD_WORLDS = {
    "nothing": [],
    "one entry": [("a", "film:1", 5.0, 0)],
    "one person on both": [("a", "film:1", 5.0, 0), ("a", "knowledge:1", 5.0, 0)],
    "nothing liked": [("a", "film:1", 0.0, 0), ("a", "knowledge:1", 0.0, 0)],
    "everyone has everything": [(user, item, 5.0, 0) for user in "ab" for item in ("film:1", "knowledge:1")],
}


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS.keys())
def model(request, planted):
    return fit_model(planted, request.param)


@pytest.mark.parametrize(("target", "people"), [("film", range(10, 20)), ("knowledge", range(10))])
def test_people_who_are_new_to_a_side_get_their_own_taste_there(planted, model, own_taste, target, people):
    newcomers = planted.take(np.array(people))
    lists = model.top_k(newcomers, planted.domain_range(target), 5)
    assert (lists.lengths == 5).all()
    assert own_taste(newcomers, lists) == 1


def test_history_on_the_target_itself_changes_nothing(planted, model):
    elsewhere, columns = planted.where(planted.domain_mask("knowledge")), planted.domain_range("film")
    np.testing.assert_array_equal(model.scores(elsewhere, columns), model.scores(planted, columns))


def test_who_is_on_the_target_only_gets_no_list(planted, model):
    lists = model.top_k(planted.take(np.arange(12)), planted.domain_range("film"), 5)
    assert lists.lengths.tolist() == [0] * 10 + [5] * 2


def test_lists_of_both_sides_at_once_have_the_scores_of_each(planted, model):
    both = model.scores(planted, range(planted.shape[1]))
    for domain in planted.domains:
        columns = planted.domain_range(domain)
        np.testing.assert_array_equal(both[:, columns.start : columns.stop], model.scores(planted, columns))
    both[planted.consumed().toarray()] = -np.inf
    lists = model.top_k(planted, range(planted.shape[1]), 5)
    np.testing.assert_allclose(lists.scores, -np.sort(-both, axis=1)[:, :5], rtol=1e-5)


@pytest.mark.parametrize("rows", ODD_WORLDS.values(), ids=ODD_WORLDS.keys())
@pytest.mark.parametrize(
    "config",
    [*CONFIGS.values(), ContemporaryPopularityConfig(own_half_life_days=30.0)],
    ids=[*CONFIGS.keys(), "contemporary"],
)
def test_odd_worlds_end_in_empty_lists(make, config, rows):
    world = make(rows)
    model = fit_model(world, config)
    for domain in world.domains:
        columns = world.domain_range(domain)
        lists = model.top_k(world, columns, 3)
        assert (lists.lengths == 0).all()
        assert not np.isnan(model.scores(world, columns)).any()
        assert (model.explain(world, lists.items).items == -1).all()

import dataclasses
import itertools

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution
from scipy.sparse import csr_matrix

from models_ml.candidates import candidate_names, candidates_for
from models_ml.content import ItemContent
from models_ml.evaluation import EvaluationConfig, evaluation_task
from models_ml.popularity import PopularityConfig, fit_popularity
from models_ml.registry import fit_model
from models_ml.search import SearchConfig, Validation, search
from models_ml.split import SplitConfig, split_interactions
from models_ml.traits import Traits


@pytest.fixture(scope="module")
def spaces(planted):
    """The space of every candidate, by its name."""
    people, items = planted.shape
    world = planted.with_traits(Traits(("sex",), (("f", "m"),), np.zeros((people, 1), dtype=np.int32))).with_content(
        ItemContent(csr_matrix(np.ones((items, 1), dtype=np.float32)), ("all",), np.zeros(1, dtype=np.int8))
    )
    return {
        candidate.name: candidate.space(None if candidate.joint else "film", {})
        for candidate in candidates_for(world, 3.75)
    }


def test_everything_that_a_space_can_propose_is_a_configuration(spaces):
    cold_variants = {f"{name}_cold" for name in ("als_joint", "content", "contemporary_popularity", "ials_joint")}
    assert set(spaces) == set(candidate_names()) | cold_variants
    for space in spaces.values():
        usual = {part: getattr(space.base, part) for part in space.parameters}
        choices = {
            name: distribution.choices
            for name, distribution in space.parameters.items()
            if isinstance(distribution, CategoricalDistribution)
        }
        proposed = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
        for parameters in (*proposed, *space.first):
            dataclasses.replace(space.base, **space.resolve({**usual, **parameters}))


@pytest.mark.parametrize("name", ["als", "als_joint", "ials", "ials_joint", "content"])
def test_with_a_half_life_no_preference_fades_twice_and_without_one_the_warehouse_decides(spaces, name):
    space = spaces[name]
    usual = {part: getattr(space.base, part) for part in space.parameters}
    both = space.resolve({**usual, "weighting": "weight", "half_life_days": 180.0})
    assert (both["weighting"], both["half_life_days"]) == ("strength", 180.0)
    assert space.resolve({**usual, "weighting": "weight", "half_life_days": None})["weighting"] == "weight"


def test_where_taste_drifts_validation_finds_a_half_life(make, spaces):
    """Everyone has gone from one taste to another that says nothing of the first, within a year."""
    random = np.random.default_rng(0)
    rows = []
    for person in range(150):
        for taste, day in ((person % 5, 0), (person // 5 % 5, 300)):
            liked = taste * 12 + random.permutation(12)[:6]
            rows += [(f"u{person:03}", f"film:{item:02}", 5.0, day + place) for place, item in enumerate(liked)]
    rows = [*{(user, item): (user, item, weight, day) for user, item, weight, day in rows}.values()]
    split = split_interactions(make(rows), SplitConfig())
    config = EvaluationConfig(draws=10)
    validation = Validation(split, {"film": evaluation_task(split, "film", config)}, config, 10)
    validation.fallbacks["film"] = fit_popularity(split.train, PopularityConfig())
    tried = {"factors": 32, "regularization": 10.0, "alpha": 10.0, "weighting": "strength"}
    half_lives = spaces["als"].parameters["half_life_days"].choices
    space = dataclasses.replace(
        spaces["als"], first=tuple({**tried, "half_life_days": half_life} for half_life in half_lives)
    )
    best = search(
        "als", space, validation, ["film"], lambda trial: trial.scores["film", "warm"], fit_model, SearchConfig()
    )
    assert best.config.half_life_days is not None

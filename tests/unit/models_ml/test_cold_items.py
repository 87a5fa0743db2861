import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from models_ml import Interactions
from models_ml.als import ALSConfig, fit_als
from models_ml.cold_items import ColdItemsConfig, ColdItemsModel, fit_cold_items
from models_ml.content import ItemContent
from models_ml.ials import IALSConfig, fit_ials

Make = Callable[..., Interactions]
ALS = ALSConfig(factors=8, regularization=1.0, iterations=5)
BASES = (ALS, IALSConfig(factors=8, epochs=4))
TASTES = 4


def with_tastes(interactions: Interactions, unknown: tuple[int, ...] = ()) -> Interactions:
    """Content that says of each item whose taste it is: the last number of the key modulo 4. Of `unknown` nothing is said."""
    taste = np.array([int(key.split(":")[1]) % TASTES for key in interactions.item_keys.to_pylist()], dtype=np.int64)
    features = (taste[:, None] == np.arange(TASTES)).astype(np.float32).reshape(-1, TASTES)
    features[list(unknown)] = 0
    names = tuple(f"taste {n}" for n in range(TASTES))
    return interactions.with_content(ItemContent(csr_matrix(features), names, np.zeros(TASTES, dtype=np.int8)))


def without(interactions: Interactions, items: list[int]) -> Interactions:
    """The same world before anybody had to do with the items."""
    return interactions.where(~np.isin(interactions.indices, items))


@pytest.fixture(scope="module")
def new_items() -> list[int]:
    """One film and one knowledge item of each taste, by index in the planted world."""
    return [0, 1, 2, 3, 40, 41, 42, 43]


@pytest.fixture(scope="module")
def world(planted: Interactions, new_items: list[int]) -> Interactions:
    return with_tastes(without(planted, new_items))


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.kind)
def test_a_new_item_is_liked_by_those_of_its_taste(
    world: Interactions, planted: Interactions, new_items: list[int], base: ALSConfig | IALSConfig
) -> None:
    model = fit_cold_items(world, ColdItemsConfig(base=base))

    scores = model.scores(world, range(world.shape[1]))[:, new_items]

    taste = np.array([int(key[1:]) % TASTES for key in world.user_keys.to_pylist()])
    best = scores.reshape(-1, 2, TASTES).argmax(axis=2)
    assert (best == taste[:, None]).mean() > 0.95


def test_the_base_model_alone_never_lists_a_new_item(world: Interactions, new_items: list[int]) -> None:
    lists = {
        name: model.top_k(world, world.domain_range("film"), 10).items
        for name, model in (("als", fit_als(world, ALS)), ("als_content", fit_cold_items(world, ColdItemsConfig(ALS))))
    }

    assert not np.isin(lists["als"], new_items).any()
    assert np.isin(lists["als_content"], new_items).any()


def test_the_predicted_factor_is_the_solution_of_the_weighted_regression(
    world: Interactions, new_items: list[int]
) -> None:
    config = ColdItemsConfig(base=ALS, ridge=2.0, emphasis=1.0, shrinkage=7.0)
    learned = fit_als(world, ALS).item_factors.astype(np.float64)
    count = np.bincount(world.indices, minlength=world.shape[1])

    model = fit_cold_items(world, config)

    # The normal equations of the columns of features and the constant, which is not regularised.
    taught = count > 0
    design = np.column_stack([world.content.features.toarray(), np.ones(world.shape[1])])
    weight = count[taught] / count[taught].mean()
    penalty = np.diag([2.0] * TASTES + [0.0])
    inside = design[taught].T * weight
    predicted = design @ np.linalg.solve(inside @ design[taught] + penalty, inside @ learned[taught])
    own = (count / (count + 7.0))[:, None]
    np.testing.assert_allclose(model.base.item_factors, own * learned + (1 - own) * predicted, atol=1e-4)
    np.testing.assert_allclose(model.base.item_factors[new_items], predicted[new_items], atol=1e-4)


def test_a_known_item_keeps_its_own_factor_where_nothing_is_shrunk(world: Interactions, new_items: list[int]) -> None:
    learned = fit_als(world, ALS).item_factors

    mixed = fit_cold_items(world, ColdItemsConfig(base=ALS, shrinkage=0.0)).base.item_factors

    known = np.setdiff1d(np.arange(world.shape[1]), new_items)
    np.testing.assert_array_equal(mixed[known], learned[known])
    assert mixed[new_items].any(axis=1).all()


def test_more_emphasis_makes_new_items_longer(make: Make) -> None:
    # Three popular items and thirty that two people each have; all share one topic with a new one.
    rows = [(f"u{n:02}", f"film:{item:02}", 5.0, 0) for n in range(40) for item in (0, 4, 8)]
    rows += [(f"u{item % 40:02}", f"film:{item}", 5.0, 0) for item in range(12, 132, 4)]
    rows += [(f"u{(item + 1) % 40:02}", f"film:{item}", 5.0, 0) for item in range(12, 132, 4)]
    interactions = with_tastes(make([*rows, ("new", "film:132", 0.0, 0)]))
    new = interactions.item_keys.to_pylist().index("film:132")

    lengths = [
        np.linalg.norm(fit_cold_items(interactions, ColdItemsConfig(ALS, emphasis=emphasis)).base.item_factors[new])
        for emphasis in (0.0, 0.5, 1.0)
    ]

    assert lengths[0] < lengths[1] < lengths[2]


def test_an_item_that_nothing_is_known_of_is_not_listed(planted: Interactions, new_items: list[int]) -> None:
    interactions = with_tastes(without(planted, new_items), unknown=(0, 41))
    model = fit_cold_items(interactions, ColdItemsConfig(base=ALS))

    assert np.flatnonzero(~model.base.item_factors.any(axis=1)).tolist() == [0, 41]
    assert not np.isin(model.top_k(interactions, range(interactions.shape[1]), 80).items, [0, 41]).any()
    assert model.describe()["new_items_with_factors"] == 6


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.kind)
def test_without_content_it_is_the_base_model(planted: Interactions, base: ALSConfig | IALSConfig) -> None:
    plain = fit_als(planted, base) if isinstance(base, ALSConfig) else fit_ials(planted, base)

    model = fit_cold_items(planted, ColdItemsConfig(base=base))

    columns = planted.domain_range("film")
    np.testing.assert_array_equal(model.base.item_factors, plain.item_factors)
    np.testing.assert_array_equal(model.top_k(planted, columns, 5).items, plain.top_k(planted, columns, 5).items)


def test_a_model_of_one_domain_predicts_nothing_for_the_other(world: Interactions) -> None:
    model = fit_cold_items(world, ColdItemsConfig(base=dataclasses.replace(ALS, domain="film")))

    has_factor = model.base.item_factors.any(axis=1)
    assert has_factor.tolist() == [True] * 40 + [False] * 40


def test_a_new_item_counts_in_the_history_of_a_person(
    world: Interactions, planted: Interactions, new_items: list[int]
) -> None:
    model = fit_cold_items(world, ColdItemsConfig(base=ALS))
    only_new = planted.where(planted.indices == new_items[1])
    fans = only_new.take(np.unique(only_new.rows))

    lists = model.top_k(fans, fans.domain_range("knowledge"), 5).items

    assert fans.shape[0] > 0
    assert ((lists - 40) % TASTES == new_items[1] % TASTES).all()


def test_reasons_cover_the_score_and_name_shared_features_of_new_items_only(
    world: Interactions, new_items: list[int]
) -> None:
    model = fit_cold_items(world, ColdItemsConfig(base=ALS, shrinkage=1.0))
    people = world.take(np.arange(12))
    lists = np.tile(np.arange(world.shape[1], dtype=np.int32), (12, 1))

    reasons = model.explain(people, lists, most=world.shape[1])

    scores = model.scores(people, range(world.shape[1]))
    # Only positive contributions are named, so their shares add up to 1 or more.
    assert (reasons.shares.sum(axis=2)[scores > 0] > 1 - 1e-4).all()
    is_new = np.isin(lists, new_items)
    assert (reasons.features[~is_new] == -1).all()
    liked = people.csr(people.weight).toarray() @ world.content.features.toarray() > 0
    shares_taste = np.array([liked[person, item % TASTES] for person, item in np.ndindex(*lists.shape)])
    named = np.where(shares_taste.reshape(lists.shape) & is_new, lists % TASTES, -1)
    np.testing.assert_array_equal(reasons.features[:, :, 0], named)


def test_a_place_without_an_item_has_no_reason(world: Interactions) -> None:
    model = fit_cold_items(world, ColdItemsConfig(base=ALS))

    reasons = model.explain(world.take(np.arange(3)), np.full((3, 2), -1, dtype=np.int32))

    assert (reasons.items == -1).all()
    assert (reasons.features == -1).all()


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.kind)
def test_configuration_and_model_come_back(world: Interactions, base: ALSConfig | IALSConfig) -> None:
    config = ColdItemsConfig(base=base, ridge=3.0, emphasis=0.25, shrinkage=4.0)
    model = fit_cold_items(world, config)

    values = {name: value for name, value in config.to_json().items() if name != "kind"}
    again = ColdItemsModel.from_arrays(model.to_arrays(), ColdItemsConfig(**values))

    assert again.config == config
    assert again.config.fingerprint() == config.fingerprint()
    columns = world.domain_range("knowledge")
    np.testing.assert_array_equal(again.scores(world, columns), model.scores(world, columns))
    assert again.describe() == model.describe()


def test_the_base_is_part_of_the_fingerprint() -> None:
    configs = (
        ColdItemsConfig(ALS),
        ColdItemsConfig(dataclasses.replace(ALS, alpha=9.0)),
        ColdItemsConfig(IALSConfig()),
    )
    assert len({config.fingerprint() for config in configs}) == 3


def test_the_same_world_gives_the_same_factors(world: Interactions) -> None:
    first, second = (fit_cold_items(world, ColdItemsConfig(ALS)).base.item_factors for _ in range(2))

    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "parameters",
    [{"ridge": 0.0}, {"emphasis": 1.5}, {"shrinkage": -1.0}, {"base": {"kind": "popularity"}}],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|is one of"):
        ColdItemsConfig(**parameters)


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.kind)
@pytest.mark.parametrize(
    "rows",
    [
        (),
        (("ann", "film:1", 0.0, 0),),
        (("ann", "film:1", 5.0, 0),),
        tuple(("ann", f"film:{n}", 5.0, 0) for n in range(4)),
        tuple((f"u{n}", "film:1", 5.0, 0) for n in range(4)),
    ],
    ids=["no entries", "nothing liked", "one pair", "everything", "one item for all"],
)
def test_odd_worlds_end_in_finite_factors(
    make: Make, base: ALSConfig | IALSConfig, rows: tuple[tuple[str, str, float, int], ...]
) -> None:
    interactions = with_tastes(make(rows))
    model = fit_cold_items(interactions, ColdItemsConfig(base=base))

    assert np.isfinite(model.base.item_factors).all()
    for domain in interactions.domains:
        lists = model.top_k(interactions, interactions.domain_range(domain), 3)
        assert model.explain(interactions, lists.items).items.shape == (interactions.shape[0], 3, 3)

"""Who a new item is shown to where places are explored is decided by the model that finds new items best."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from models_ml import FittedModels, Interactions, Selection, SelectionConfig, fit_models, select_models
from models_ml.content import ItemContent
from models_ml.exploration import ExplorationConfig
from models_ml.scoring import ListMaker, ScoringConfig, score_people
from models_ml.selection import COLD_ITEM, KNOWING_NEW_ITEMS

TASTES = 4
# The first film of each taste and the first knowledge item of each, by index in the planted world.
NEW = [0, 1, 2, 3, 40, 41, 42, 43]


@pytest.fixture(scope="module")
def protocol(quick: SelectionConfig) -> SelectionConfig:
    split = dataclasses.replace(quick.split, cold_item_share=0.2)
    return dataclasses.replace(
        quick, candidates=("als_joint", "content", "als_content"), split=split, global_time=False
    )


@pytest.fixture(scope="module")
def world(planted: Interactions) -> Interactions:
    """The planted world in which nobody has had to do with some items, and content says of each item whose taste it is."""
    taste = np.array([int(key.split(":")[1]) % TASTES for key in planted.item_keys.to_pylist()])
    features = csr_matrix((taste[:, None] == np.arange(TASTES)).astype(np.float32))
    content = ItemContent(features, tuple(f"taste {n}" for n in range(TASTES)), np.zeros(TASTES, dtype=np.int8))
    return planted.where(~np.isin(planted.indices, NEW)).with_content(content)


@pytest.fixture(scope="module")
def selection(world: Interactions, protocol: SelectionConfig) -> Selection:
    return select_models(world, protocol)


@pytest.fixture(scope="module")
def models(world: Interactions, selection: Selection) -> FittedModels:
    return fit_models(world, selection)


def test_a_model_that_knows_what_items_are_about_is_champion_of_new_items(selection: Selection) -> None:
    for domain, champions in selection.champions.items():
        assert champions[COLD_ITEM] in KNOWING_NEW_ITEMS
        rows = [
            row
            for row in selection.evaluation.to_pylist()
            if (row["target_domain"], row["segment"]) == (domain, COLD_ITEM) and row["is_champion"]
        ]
        assert {row["model"] for row in rows} == {champions[COLD_ITEM]}
        (against,) = [
            row
            for row in selection.comparison.to_pylist()
            if (row["target_domain"], row["segment"], row["baseline"]) == (domain, COLD_ITEM, "popularity")
            and (row["metric"], row["cutoff"]) == ("ndcg", 10)
        ]
        assert against["ci_low"] > 0


def test_where_nothing_is_known_of_items_what_fills_up_lists_is_champion_of_new_ones(
    planted: Interactions, protocol: SelectionConfig
) -> None:
    found = select_models(planted, protocol)
    for domain, champions in found.champions.items():
        assert champions[COLD_ITEM] == found.fallbacks[domain]


def test_the_champion_of_new_items_is_fitted_on_everything_and_kept(selection: Selection, models: FittedModels) -> None:
    for domain, champions in selection.champions.items():
        version, model = models.model_for(domain, COLD_ITEM)
        assert version == selection.version(domain, champions[COLD_ITEM])
        assert model.config.name == champions[COLD_ITEM]


@pytest.mark.parametrize("domain", ["film", "knowledge"])
def test_a_new_item_is_explored_by_those_whom_it_suits(world: Interactions, models: FittedModels, domain: str) -> None:
    """Of the four new items one is of a person's taste: one in four where all are drawn alike, most where fit decides."""
    shares = []
    for fit in (0.0, 2.0):
        exploration = ExplorationConfig(share=0.5, first_place=2, most_interactions=0, fit=fit)
        # Two places: the second is explored by half of the people, and no list holds what is not drawn.
        config = ScoringConfig(k=2, exploration=exploration)
        explored = [
            row
            for batch in score_people(models, world, world.user_keys, config)
            for row in batch.to_pylist()
            if row["rule"] == "exploration" and row["target_domain"] == domain
        ]
        assert {row["item_key"] for row in explored} <= {world.item_keys[item].as_py() for item in NEW}
        own = [int(row["user_key"][1:]) % TASTES == int(row["item_key"].split(":")[1]) % TASTES for row in explored]
        shares.append(np.mean(own))
    assert shares[0] == pytest.approx(0.25, abs=0.15)
    assert shares[1] > 0.6


def test_whom_a_new_item_suits_is_not_asked_of_who_may_not_be_profiled(
    world: Interactions, protocol: SelectionConfig
) -> None:
    refusing = np.arange(0, world.shape[0], 3)
    learnt, held = world.where(~np.isin(world.rows, refusing)), world.take(refusing)
    models = fit_models(learnt, select_models(learnt, protocol))
    assert {models.model_for(domain, COLD_ITEM)[1].config.name for domain in learnt.domains} <= {*KNOWING_NEW_ITEMS}

    def explored(fit: float) -> list[tuple[str, int, str]]:
        exploration = ExplorationConfig(share=0.5, first_place=2, most_interactions=0, fit=fit)
        maker = ListMaker(models, learnt, ScoringConfig(k=2, exploration=exploration), unprofiled=held)
        return [
            (row["user_key"], row["rank"], row["item_key"])
            for batch in maker.batches(held.user_keys)
            for row in batch.to_pylist()
            if row["rule"] == "exploration"
        ]

    assert explored(0.0)
    assert explored(2.0) == explored(0.0)

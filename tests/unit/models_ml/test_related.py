import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from models_ml import (
    RELATED_SCHEMA,
    FittedModels,
    fit_models,
    interactions_from_arrow,
    score_related_items,
    select_models,
)
from models_ml.als import ALSConfig
from models_ml.cold_items import ColdItemsConfig
from models_ml.content import item_content_from_arrow
from models_ml.popularity import PopularityConfig
from models_ml.registry import fit_model
from models_ml.relating import RELATING_SEGMENTS


@pytest.fixture(scope="module")
def models(planted, quick):
    return fit_models(planted, select_models(planted, quick))


@pytest.fixture(scope="module")
def related(models, planted) -> pa.Table:
    return pa.Table.from_batches(score_related_items(models, planted, k=4, block_items=13))


def test_every_item_has_related_items_on_every_platform(related, planted):
    assert related.schema == RELATED_SCHEMA
    lists = {(row["item_key"], row["target_domain"]) for row in related.to_pylist()}
    assert lists == {(item, domain) for item in planted.item_keys.to_pylist() for domain in planted.domains}
    assert set(related["rank"].to_pylist()) == {1, 2, 3, 4}


def test_related_items_share_the_planted_taste_within_and_across_platforms(related):
    for across in (False, True):
        same = [
            int(row["item_key"].split(":")[1]) % 4 == int(row["related_item_key"].split(":")[1]) % 4
            for row in related.to_pylist()
            if (row["item_key"].split(":")[0] != row["target_domain"]) == across
        ]
        assert np.mean(same) > 0.9


def test_no_item_is_related_to_itself(related):
    assert all(row["item_key"] != row["related_item_key"] for row in related.to_pylist())


def test_scores_are_the_cosines_of_the_factors(related, models, planted):
    factors = models.models[models.related].item_factors
    place = {key: index for index, key in enumerate(planted.item_keys.to_pylist())}
    for row in related.to_pylist()[::17]:
        one, other = factors[place[row["item_key"]]], factors[place[row["related_item_key"]]]
        cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert row["score"] == pytest.approx(cosine, abs=1e-5)
        assert row["strategy"] == "als_joint"
        assert row["model_version"] == models.related


def test_an_item_that_the_model_knows_nothing_about_gets_marked_popular_items_or_none(make_table, planted_table, quick):
    extra = make_table([("u000", "film:zz", 0.0, 1)])
    world = interactions_from_arrow(pa.concat_tables([planted_table, extra]))
    models = fit_models(world, select_models(world, quick))
    rows = [
        row
        for batch in score_related_items(models, world, k=3)
        for row in batch.to_pylist()
        if row["item_key"] == "film:zz"
    ]
    assert len(rows) == 6
    assert {row["strategy"] for row in rows} <= {"popularity", "recent_popularity"}
    filled = [
        row
        for batch in score_related_items(models, world, k=3, fill_with_popularity=False)
        for row in batch.to_pylist()
    ]
    assert "film:zz" not in {row["item_key"] for row in filled}


def test_without_a_joint_model_related_items_are_the_marked_popular_ones(models, planted):
    served = {
        domain: {segment: version for segment, version in own.items() if segment not in RELATING_SEGMENTS}
        for domain, own in models.served.items()
    }
    alone = dataclasses.replace(models, served=served, related=None)
    table = pa.Table.from_batches(score_related_items(alone, planted, k=2))
    assert set(table["strategy"].to_pylist()) <= {"popularity", "recent_popularity"}
    assert table.num_rows == planted.shape[1] * 2 * 2


def test_with_content_an_item_that_nobody_knows_has_neighbours_of_its_topic(planted_table):
    keys = pa.array([*sorted(set(planted_table["item_key"].to_pylist())), "film:new"])
    tastes = ["taste 1" if key == "film:new" else f"taste {int(key.split(':')[1]) % 4}" for key in keys.to_pylist()]
    items = pa.table(
        {
            "item_key": keys,
            "domain": [key.split(":")[0] for key in keys.to_pylist()],
            "title": pa.nulls(len(keys), pa.string()),
            "text": pa.nulls(len(keys), pa.string()),
            "topics": [[taste] for taste in tastes],
            "people": pa.nulls(len(keys), pa.list_(pa.string())),
        }
    )
    world = interactions_from_arrow(planted_table, items=items)
    world = world.with_content(item_content_from_arrow(items, world.item_keys))
    config = ColdItemsConfig(ALSConfig(factors=8))
    model = fit_model(world, config)
    popular = fit_model(world, PopularityConfig())
    served = {domain: {"fallback": "popularity"} for domain in world.domains}
    models = FittedModels(world.item_keys, {"als_content": model, "popularity": popular}, served, "als_content")
    rows = pa.Table.from_batches(score_related_items(models, world, k=5)).to_pylist()
    own = [row for row in rows if row["item_key"] == "film:new"]
    assert {row["strategy"] for row in rows} == {"als_content"}
    assert {row["target_domain"] for row in own} == {"film", "knowledge"}
    assert np.mean([int(row["related_item_key"].split(":")[1]) % 4 == 1 for row in own]) > 0.7

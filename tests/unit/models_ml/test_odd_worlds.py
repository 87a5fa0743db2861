"""The whole way from a table to lists, on worlds that a recommender does not expect."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from models_ml import (
    EvaluationConfig,
    ScoringConfig,
    SelectionConfig,
    fit_models,
    score_people,
    score_related_items,
    select_models,
)
from models_ml.content import item_content_from_arrow
from models_ml.traits import Traits

SIDES = ("film", "knowledge")
ODD_WORLDS = {
    "nothing at all": [],
    "one person": [("ann", f"film:{item}", 5.0, item) for item in range(6)],
    "one item": [(f"u{person}", "film:a", 5.0, person) for person in range(6)],
    "one pair": [("ann", "film:a", 5.0, 0)],
    "an empty platform": [
        (f"u{person:02}", f"film:{(person + item) % 9}", 5.0, item) for person in range(30) for item in range(4)
    ],
    "an item that everyone has": [
        (f"u{person:02}", f"{side}:{item}", 5.0, item)
        for person in range(30)
        for side in SIDES
        for item in (0, 1 + person % 5, 6 + person % 3, 9)
    ],
    "a person who has everything": [
        (f"u{person:02}", f"{side}:{item}", 5.0, item)
        for person in range(30)
        for side in SIDES
        for item in range(12)
        if person == 0 or (person + item) % 3 == 0
    ],
    "all weights equal and all at one time": [
        (f"u{person:02}", f"{side}:{(person * item) % 11}", 1.0, 0)
        for person in range(30)
        for side in SIDES
        for item in range(1, 5)
        if (person * item) % 11 not in {(person * earlier) % 11 for earlier in range(1, item)}
    ],
    "nobody likes anything": [
        (f"u{person:02}", f"{side}:{(person + item) % 11}", 0.0, item)
        for person in range(30)
        for side in SIDES
        for item in range(4)
    ],
    "nobody is on both platforms": [
        (f"u{person:02}", f"{SIDES[person % 2]}:{(person + item) % 11}", 5.0, item)
        for person in range(30)
        for item in range(4)
    ],
}


CHINESE = ["大数据", "分析", "入门", "电影", "历史", "心理学", "编程", "音乐", "欣赏", "写作"]


def known_of(world):
    """The world with a catalogue in Chinese and with regions that some people have."""
    keys = world.item_keys
    titles = [f"{CHINESE[place % 10]}与{CHINESE[place * 3 % 10]}：第{place}讲" for place in range(len(keys))]
    items = pa.table(
        {
            "item_key": keys,
            "title": pa.array(titles, pa.string()),
            "text": pa.array([f"本课程讲解{title}的基本方法" for title in titles], pa.string()),
            "topics": pa.array([[CHINESE[place % 3]] for place in range(len(keys))], pa.list_(pa.string())),
            "people": pa.array([None] * len(keys), pa.list_(pa.string())),
        }
    )
    codes = (np.arange(world.shape[0]) % 3 - 1).astype(np.int32)[:, None]
    regions = Traits(("region",), (("广东", "北京"),), codes)
    return world.with_content(item_content_from_arrow(items, keys)).with_traits(regions)


# All candidates and all blends, judged briefly.
EVERYTHING = SelectionConfig(evaluation=EvaluationConfig(cutoffs=(5,), draws=20), min_people=4)
# Those that look at content or traits, and what they build on; to the others a world that is known is the bare one.
OF_WHAT_IS_KNOWN = dataclasses.replace(
    EVERYTHING, candidates=("segment_popularity", "als_joint", "content", "als_content")
)


@pytest.mark.parametrize("is_known", [False, True], ids=["bare", "Chinese catalogue"])
@pytest.mark.parametrize("name", ODD_WORLDS)
def test_an_odd_world_ends_in_lists_and_not_in_an_error(make, name, is_known):
    world = known_of(make(ODD_WORLDS[name])) if is_known else make(ODD_WORLDS[name])
    selection = select_models(world, OF_WHAT_IS_KNOWN if is_known else EVERYTHING)
    models = fit_models(world, selection)
    people = pa.array([*world.user_keys.to_pylist(), "stranger"])
    scored = [row for batch in score_people(models, world, people, ScoringConfig(k=5)) for row in batch.to_pylist()]
    related = [row for batch in score_related_items(models, world, k=5) for row in batch.to_pylist()]
    consumed = world.consumed().toarray()
    keys = world.item_keys.to_pylist()
    for position, person in enumerate(people.to_pylist()):
        for domain in world.domains:
            own = consumed[position] if position < len(consumed) else np.zeros(len(keys), bool)
            free = {keys[item] for item in world.domain_range(domain) if not own[item]}
            rows = [row for row in scored if row["user_key"] == person and row["target_domain"] == domain]
            assert {row["item_key"] for row in rows} <= free
            assert len(rows) == min(5, len(free)), "a list is short only where there is nothing else"
            assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
            assert all(np.isfinite(row["score"]) for row in rows)
            assert all(row["strategy"] and row["reason_code"] and row["model_version"] for row in rows)
    assert all(row["item_key"] != row["related_item_key"] for row in related)
    assert set(selection.champions) == set(world.domains)


def test_a_person_who_has_everything_gets_an_empty_list(make, quick):
    world = make(ODD_WORLDS["a person who has everything"])
    models = fit_models(world, select_models(world, quick))
    assert sum(batch.num_rows for batch in score_people(models, world, pa.array(["u00"]))) == 0

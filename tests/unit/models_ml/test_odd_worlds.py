"""The whole way from a table to lists, on worlds that a recommender does not expect."""

import numpy as np
import pyarrow as pa
import pytest

from models_ml import fit_models, score_people, score_related_items, select_models

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


@pytest.mark.parametrize("name", ODD_WORLDS)
def test_an_odd_world_ends_in_lists_and_not_in_an_error(make, quick, name):
    world = make(ODD_WORLDS[name])
    selection = select_models(world, quick)
    models = fit_models(world, selection)
    people = pa.array([*world.user_keys.to_pylist(), "stranger"])
    scored = [row for batch in score_people(models, world, people, k=5) for row in batch.to_pylist()]
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

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models_ml.audiences import AUDIENCE_SCHEMA, near_identical_audiences


def entries(item: str, people: Iterable[str]) -> list[tuple[str, str, float, int]]:
    return [(person, item, 1.0, 0) for person in people]


def elsewhere(people: str) -> list[tuple[str, str, float, int]]:
    """History on both sides, of one person an item, for people who are to be counted."""
    return [
        row for person in people for side in ("film", "knowledge") for row in entries(f"{side}:only_{person}", person)
    ]


def test_the_same_product_on_both_sides_is_found(make):
    rows = entries("film:a", "abcdefghij") + entries("knowledge:a", "abcdefghik") + entries("film:b", "abcdefghij")
    rows += entries("knowledge:c", "abcde") + elsewhere("jk")
    table = near_identical_audiences(make(rows))
    assert table.schema == AUDIENCE_SCHEMA
    assert table.to_pylist() == [
        {
            "domain": "film",
            "item_key": item,
            "other_domain": "knowledge",
            "other_item_key": "knowledge:a",
            "people": 10,
            "other_people": 10,
            "shared_people": 9,
            "similarity": pytest.approx(9 / 11),
        }
        for item in ("film:a", "film:b")
    ], "two of one platform are not asked about, and half an audience is not the same one"


def test_a_product_on_both_sides_is_found_however_few_people_are_linked(make):
    linked = [f"linked {number}" for number in range(10)]
    film, knowledge = ([f"{side} {number}" for number in range(20)] for side in ("film", "knowledge"))
    rows = entries("film:a", [*linked, *film]) + entries("knowledge:a", [*linked, *knowledge])
    (pair,) = near_identical_audiences(make(rows)).to_pylist()
    assert (pair["people"], pair["other_people"], pair["shared_people"], pair["similarity"]) == (10, 10, 10, 1.0)


def test_exactly_the_least_similarity_is_near_enough_and_small_audiences_are_not_asked(make):
    world = make(entries("film:a", "abcde") + entries("knowledge:a", "abcd") + elsewhere("e"))
    assert near_identical_audiences(world, min_people=4, min_similarity=0.8).num_rows == 1
    assert near_identical_audiences(world, min_people=5, min_similarity=0.8).num_rows == 0
    assert near_identical_audiences(world, min_people=4, min_similarity=0.81).num_rows == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    audiences=st.lists(st.sets(st.sampled_from("abcdefg")), min_size=0, max_size=9),
    least=st.sampled_from([0.2, 0.5, 0.75, 1.0]),
    min_people=st.integers(1, 3),
    block=st.sampled_from([1, 5, 1000]),
)
def test_the_pairs_are_those_of_a_plain_loop_whatever_the_memory(make, audiences, least, min_people, block):
    domains = ("book", "film", "knowledge")
    owners = {f"{domains[place % 3]}:{place}": people for place, people in enumerate(audiences)}
    histories = {domain: set().union(*audiences[side::3]) for side, domain in enumerate(domains)}
    world = make([row for item, people in owners.items() for row in entries(item, people)], domains=domains)
    expected = {}
    for item, people in owners.items():
        for other, others in owners.items():
            sides = item.split(":")[0], other.split(":")[0]
            on_both = histories[sides[0]] & histories[sides[1]]
            own, its = people & on_both, others & on_both
            if sides[0] < sides[1] and min(len(own), len(its)) >= min_people:
                similarity = len(own & its) / len(own | its)
                if similarity >= least:
                    expected[item, other] = pytest.approx(similarity)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models_ml.audiences._BLOCK_PRODUCTS", block)
        found = near_identical_audiences(world, min_people=min_people, min_similarity=least)
    assert {(row["item_key"], row["other_item_key"]): row["similarity"] for row in found.to_pylist()} == expected
    assert (np.diff(found["similarity"].to_numpy()) <= 0).all()


@pytest.mark.parametrize("wrong", [{"min_people": 0}, {"min_similarity": 0.0}, {"min_similarity": 1.1}])
def test_parameters_out_of_range_are_refused(make, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        near_identical_audiences(make([]), **wrong)

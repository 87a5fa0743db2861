import dataclasses
import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from models_ml.exploration import ExplorationCandidates, ExplorationConfig, exploration_candidates, explore
from models_ml.interactions import interactions_from_arrow
from models_ml.rules import EXPLORATION, NO_RULE, Caps, Ranked
from tests.unit.models_ml.conftest import preference_table

# Items 0 to 2 are ranked, 3 to 6 are new.
ITEMS = [f"film:{number}" for number in range(7)]
WEIGHTS = {3: 1.0, 4: 0.5, 5: 0.25, 6: 0.25}
NEW = ExplorationCandidates(np.array([*WEIGHTS], dtype=np.int32), np.array([*WEIGHTS.values()]))


def crowd(people, rows=(), consumed=None):
    """People u0, u1 and so on over the items above."""
    return interactions_from_arrow(
        preference_table(rows, consumed),
        domains=("film",),
        users=pa.array([f"u{number:05}" for number in range(people)]),
        items=pa.table({"item_key": ITEMS, "domain": ["film"] * len(ITEMS)}),
    )


def ranked(people, items=(0, 1, 2)):
    listed = np.tile(np.array(items, dtype=np.int32), (people, 1))
    scores = np.where(listed >= 0, 9.0 - np.arange(len(items)), -np.inf).astype(np.float32)
    return Ranked.of(listed, scores, np.zeros(listed.shape, dtype=np.int16))


def same(first, second):
    return all(
        np.array_equal(getattr(first, field.name), getattr(second, field.name)) for field in dataclasses.fields(Ranked)
    )


def test_switched_off_the_lists_stay_as_they_are_and_are_certain():
    before = ranked(4)
    after, propensity = explore(before, crowd(4), NEW, ExplorationConfig(share=0.0))
    assert same(before, after)
    assert (propensity == 1).all()


def test_observed_frequencies_are_the_logged_propensities_place_by_place():
    """5,000 people with the same list and four seeds are 20,000 independent draws. In each place, among the lists that agree
    above it, every item is shown as often as its propensity says, within 4.5 standard errors of a binomial share: the chance
    that any of the 27 comparisons fails by chance is 1 in 5,000."""
    people = 5000
    draws = [
        explore(ranked(people), crowd(people), NEW, ExplorationConfig(share=0.4, first_place=2, seed=seed))
        for seed in range(4)
    ]
    items = np.concatenate([lists.items for lists, _ in draws])
    propensity = np.concatenate([logged for _, logged in draws])
    compared = 0
    for place in range(3):
        shown: dict[tuple[int, ...], Counter[int]] = {}
        logged: dict[tuple[tuple[int, ...], int], float] = {}
        for row in range(len(items)):
            above, item = tuple(items[row, :place].tolist()), int(items[row, place])
            shown.setdefault(above, Counter())[item] += 1
            assert logged.setdefault((above, item), propensity[row, place]) == propensity[row, place]
        for above, counter in shown.items():
            total = sum(counter.values())
            assert math.isclose(sum(logged[above, item] for item in counter), 1), (above, counter)
            for item, count in counter.items():
                expected = logged[above, item]
                error = math.sqrt(expected * (1 - expected) / total)
                assert abs(count / total - expected) <= 4.5 * error + 1e-12, (above, item, count, total, expected)
                compared += 1
    # 1 in the first place; 1 + 4 in the second; 1 + 4 below the ranked item and 1 + 3 below each new one in the third.
    assert compared == 1 + 5 + 5 + 4 * 4


def test_propensities_by_hand():
    people = 3000
    after, propensity = explore(ranked(people), crowd(people), NEW, ExplorationConfig(share=0.4, first_place=2))
    assert (propensity[:, 0] == 1).all()
    second = after.items[:, 1]
    np.testing.assert_allclose(propensity[second == 1, 1], 0.6)
    # The weights add up to 2.
    np.testing.assert_allclose(propensity[second == 3, 1], 0.4 * 1 / 2)
    np.testing.assert_allclose(propensity[second == 6, 1], 0.4 * 0.25 / 2)
    # With the first new item shown above, the weights of the others add up to 1.
    third = (second == 3) & (after.items[:, 2] == 4)
    np.testing.assert_allclose(propensity[third, 2], 0.4 * 0.5 / 1)


def test_a_ranked_item_moves_down_and_the_last_falls_out():
    after, _ = explore(ranked(500), crowd(500), NEW, ExplorationConfig(share=0.4, first_place=1))
    for row, rules in zip(after.items, after.rules, strict=True):
        kept = row[rules == NO_RULE].tolist()
        assert kept == [0, 1, 2][: len(kept)]
        assert set(row[rules == EXPLORATION].tolist()) <= set(WEIGHTS)
        assert len({*row.tolist()}) == 3
    explored = after.rules == EXPLORATION
    assert explored.any()
    assert (np.diff(after.scores, axis=1) <= 0).all()


def caps_of(groups, limits, concerned):
    """Caps on groups of the items above, each given by its items."""
    members = np.array([[item in group for group in groups] for item in range(len(ITEMS))], dtype=np.int8)
    return Caps(csr_matrix(members), np.array(limits, dtype=np.int32), np.array(concerned, dtype=np.bool_))


def test_an_item_of_a_full_group_is_never_explored_and_the_others_share_its_probability():
    """Items 2 to 5 are a group of which a list holds two, so after the ranked one there is room for one more; 6 is in none."""
    people = 4000
    caps = caps_of([{2, 3, 4, 5}], [2], [[True]] * people)
    config = ExplorationConfig(share=0.8, first_place=2)
    after, propensity = explore(ranked(people), crowd(people), NEW, config, caps=caps)
    assert (np.isin(after.items, [2, 3, 4, 5]).sum(axis=1) <= 2).all()
    first = np.isin(after.items[:, 1], [3, 4, 5])
    np.testing.assert_allclose(propensity[after.items[:, 1] == 3, 1], 0.8 * 1 / 2)
    assert set(after.items[first, 2].tolist()) == {1, 6}
    np.testing.assert_allclose(propensity[first & (after.items[:, 2] == 6), 2], 0.8)
    np.testing.assert_allclose(propensity[first & (after.items[:, 2] == 1), 2], 1 - 0.8)
    # With that one shown as well nothing is left to explore below it; above, all of the places add up to 1.
    for place in (1, 2):
        for above in {tuple(row) for row in after.items[:, :place].tolist()}:
            here = (after.items[:, :place] == above).all(axis=1)
            shown = dict(zip(after.items[here, place].tolist(), propensity[here, place].tolist(), strict=True))
            assert math.isclose(sum(shown.values()), 1), (above, shown)


@settings(max_examples=80, deadline=None)
@given(
    groups=st.lists(st.sets(st.integers(0, 6), min_size=1), min_size=1, max_size=4),
    data=st.data(),
    share=st.sampled_from([0.3, 0.9]),
    block_bytes=st.sampled_from([1, 400, 10**6]),
)
def test_exploration_exceeds_no_cap_and_its_propensities_are_those_of_a_plain_loop(groups, data, share, block_bytes):
    people = 12
    limits = data.draw(st.lists(st.integers(1, 3), min_size=len(groups), max_size=len(groups)))
    holds = st.lists(st.booleans(), min_size=len(groups), max_size=len(groups))
    concerned = data.draw(st.lists(holds, min_size=people, max_size=people))
    config = ExplorationConfig(share=share, first_place=1, seed=data.draw(st.integers(0, 99)))
    before = ranked(people, (0, 1, 2))
    caps = caps_of(groups, limits, concerned)
    after, propensity = explore(before, crowd(people), NEW, config, caps=caps, block_bytes=block_bytes)
    for person in range(people):
        binding = [
            (group, limit) for group, limit, holds in zip(groups, limits, concerned[person], strict=True) if holds
        ]
        shown = after.items[person].tolist()
        for group, limit in binding:
            assert len(group & {*shown}) <= max(limit, len(group & {0, 1, 2})), "no more than the ranked list has"
        held, next_ranked = [0, 1, 2], [0, 1, 2]
        for place, item in enumerate(shown):
            allowed = [
                new
                for new in WEIGHTS
                if new not in held and all(new not in group or len(group & {*held}) < limit for group, limit in binding)
            ]
            total = sum(WEIGHTS[new] for new in allowed)
            expected = {new: share * WEIGHTS[new] / total for new in allowed}
            expected[next_ranked[0]] = 1 - share if allowed else 1.0
            assert math.isclose(sum(expected.values()), 1)
            assert math.isclose(propensity[person, place], expected[item])
            if item in WEIGHTS:
                held.append(item)
            else:
                next_ranked.pop(0)


def test_nobody_explores_what_they_have_consumed_or_may_not_see_or_have_in_the_list():
    world = crowd(800, [(f"u{number:05}", "film:3", 1.0, 0) for number in range(400)])
    forbidden = np.zeros((800, 4), dtype=np.bool_)
    forbidden[200:, 1] = True
    after, propensity = explore(
        ranked(800, (0, 1, 5)), world, NEW, ExplorationConfig(share=0.9, first_place=2), forbidden=forbidden
    )
    explored = np.where(after.rules == EXPLORATION, after.items, -1)
    assert not (explored[:400] == 3).any()
    assert not (explored[200:] == 4).any()
    assert not (explored == 5).any()
    assert {*explored[400:].ravel().tolist()} == {-1, 3, 6}
    first = explored[:, 1]
    np.testing.assert_allclose(propensity[:200][first[:200] == 4, 1], 0.9 * 0.5 / 0.75)
    np.testing.assert_allclose(propensity[400:][first[400:] == 3, 1], 0.9 * 1 / 1.25)


def test_an_item_that_was_only_looked_at_may_be_explored():
    world = crowd(300, [(f"u{number:05}", "film:3", 1.0, 0) for number in range(300)], [False] * 300)
    after, _ = explore(ranked(300), world, NEW, ExplorationConfig(share=0.5, first_place=1))
    assert (after.items == 3).any()


def test_when_no_candidate_is_left_the_ranked_item_is_certain():
    one = ExplorationCandidates(np.array([3], dtype=np.int32), np.array([1.0]))
    after, propensity = explore(ranked(400), crowd(400), one, ExplorationConfig(share=0.5, first_place=1))
    used_up = (after.items[:, :2] == 3).any(axis=1)
    assert used_up.any()
    assert (propensity[used_up, 2] == 1).all()
    assert (propensity[~used_up, 2] == 0.5).all()


def test_short_and_empty_lists_keep_their_length():
    before = ranked(200, (0, 1, -1))
    before.items[100:] = -1
    after, propensity = explore(before, crowd(200), NEW, ExplorationConfig(share=0.9, first_place=1))
    assert np.array_equal(after.lengths, before.lengths)
    assert (propensity[:, 2] == 1).all()
    assert (propensity[100:] == 1).all()
    assert (after.rules[:100, :2] == EXPLORATION).any()


def test_a_place_that_a_rule_has_filled_is_not_explored():
    before = ranked(300)
    before.rules[:, 0] = 0
    after, propensity = explore(before, crowd(300), NEW, ExplorationConfig(share=0.9, first_place=1))
    assert (after.items[:, 0] == 0).all()
    assert (propensity[:, 0] == 1).all()
    assert (after.items[:, 1] != 1).any()


def test_a_draw_belongs_to_the_person_and_not_to_a_place_in_the_table():
    world, config = crowd(100), ExplorationConfig(share=0.5, first_place=1, seed=1)
    after, propensity = explore(ranked(100), world, NEW, config)
    order = np.random.default_rng(0).permutation(100)[:40]
    part, part_propensity = explore(ranked(40), world.take(order), NEW, config, block_bytes=1)
    assert np.array_equal(part.items, after.items[order])
    assert np.array_equal(part_propensity, propensity[order])
    other, _ = explore(ranked(100), world, NEW, dataclasses.replace(config, seed=2))
    assert not np.array_equal(other.items, after.items)


def test_the_two_sides_of_a_person_are_drawn_apart():
    keys = [f"{domain}:{number}" for domain in ("film", "knowledge") for number in range(4)]
    world = interactions_from_arrow(
        preference_table([]),
        users=pa.array([f"u{number:05}" for number in range(100)]),
        items=pa.table({"item_key": keys, "domain": [key.split(":")[0] for key in keys]}),
    )
    config = ExplorationConfig(share=0.5, first_place=1)
    places = []
    for first in (0, 4):
        one = ExplorationCandidates(np.array([first + 3], dtype=np.int32), np.array([1.0]))
        places.append(explore(ranked(100, (first, first + 1, first + 2)), world, one, config)[0].rules)
    assert not np.array_equal(*places)


def test_the_fewer_have_had_to_do_with_an_item_the_heavier_it_is():
    rows = [("u00000", "film:1", 1.0, 0), ("u00001", "film:1", 1.0, 0), ("u00000", "film:2", 1.0, 0)]
    rows += [(f"u{number:05}", "film:0", 1.0, 0) for number in range(3)]
    for favour, expected in ((1.0, [1 / 3, 1 / 2, 1, 1, 1]), (2.0, [1 / 9, 1 / 4, 1, 1, 1]), (0.0, [1, 1, 1, 1, 1])):
        config = ExplorationConfig(most_interactions=2, favour=favour)
        found = exploration_candidates(crowd(3, rows), range(6), config)
        assert found.items.tolist() == [1, 2, 3, 4, 5]
        np.testing.assert_allclose(found.weights, expected)


def test_which_of_too_many_candidates_stay_changes_with_the_seed():
    drawn = {
        tuple(exploration_candidates(crowd(1), range(7), ExplorationConfig(most_items=3, seed=seed)).items.tolist())
        for seed in range(8)
    }
    assert len(drawn) > 1
    assert all(len(items) == 3 and list(items) == sorted(items) for items in drawn)


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": 1.0},
        {"share": -0.1},
        {"first_place": 0},
        {"most_interactions": -1},
        {"favour": -1},
        {"favour": np.inf},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        ExplorationConfig(**wrong)


@pytest.mark.parametrize(("items", "weights"), [([2, 1], [1, 1]), ([1, 1], [1, 1]), ([1], [0]), ([1], [1, 1])])
def test_candidates_that_make_no_sense_are_refused(items, weights):
    with pytest.raises(ValueError, match="must be"):
        ExplorationCandidates(np.array(items, dtype=np.int32), np.array(weights, dtype=np.float64))


def test_without_candidates_or_people_nothing_is_explored():
    none = ExplorationCandidates(np.array([], dtype=np.int32), np.array([]))
    assert same(explore(ranked(3), crowd(3), none, ExplorationConfig(share=0.5))[0], ranked(3))
    nobody, propensity = explore(ranked(0), crowd(0), NEW, ExplorationConfig(share=0.5))
    assert nobody.items.shape == propensity.shape == (0, 3)

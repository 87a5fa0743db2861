import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models_ml.split import NOT_HIDDEN, SplitConfig, split_interactions


def held_pairs(world, split) -> set[tuple[str, str]]:
    held = split.held_out
    return {
        (world.user_keys[int(row)].as_py(), world.item_keys[int(item)].as_py())
        for row, item in zip(held.rows, held.indices, strict=True)
    }


def test_the_latest_fifth_of_a_person_is_held_out(make):
    world = make([("ann", f"film:{day:02}", 1.0, day) for day in range(10)])
    split = split_interactions(world, SplitConfig(holdout_share=0.2))
    assert held_pairs(world, split) == {("ann", "film:08"), ("ann", "film:09")}
    assert split.train.entries == 8


def test_each_platform_of_a_person_is_split_for_itself(make):
    rows = [("ann", f"film:{day}", 1.0, day) for day in range(5)]
    rows += [("ann", f"knowledge:{day}", 1.0, 100 + day) for day in range(5)]
    world = make(rows)
    split = split_interactions(world, SplitConfig(holdout_share=0.2, hidden_share=0.0))
    assert held_pairs(world, split) == {("ann", "film:4"), ("ann", "knowledge:4")}


def test_people_with_little_history_keep_all_of_it(make):
    world = make([("ann", "film:a", 1.0, 1), ("ann", "film:b", 1.0, 2)])
    assert split_interactions(world, SplitConfig(min_history=3)).held_out.entries == 0
    assert split_interactions(world, SplitConfig(min_history=2)).held_out.entries == 1


def test_nothing_is_lost_and_nothing_is_in_both_parts(planted):
    split = split_interactions(planted, SplitConfig())
    both = split.train.csr(np.ones(split.train.entries)) + split.held_out.csr(np.ones(split.held_out.entries))
    assert (both.toarray() == (planted.csr(planted.weight).toarray() > 0)).all()


def test_nobody_is_asked_for_something_older_than_what_they_are_trained_on(planted):
    split = split_interactions(planted, SplitConfig(hidden_share=0.0))
    for domain in planted.domains:
        newest, oldest = np.zeros(planted.shape[0]), np.full(planted.shape[0], np.inf)
        train = split.train.where(split.train.domain_mask(domain))
        held = split.held_out.where(split.held_out.domain_mask(domain))
        np.maximum.at(newest, train.rows, train.last_at)
        np.minimum.at(oldest, held.rows, held.last_at)
        assert (newest <= oldest).all()


def test_a_hidden_side_is_hidden_wholly_and_the_other_side_trains_wholly(planted):
    split = split_interactions(planted, SplitConfig(hidden_share=0.3))
    drawn = split.hidden_domain != NOT_HIDDEN
    assert 0.15 < drawn.mean() < 0.45
    linked = planted.people_with_history("film") & planted.people_with_history("knowledge")
    assert linked[drawn].all()
    for domain, other in (("film", "knowledge"), ("knowledge", "film")):
        cold = split.is_cold(domain)
        assert cold.any()
        assert not split.is_warm(domain)[cold].any()
        assert not split.held_out.people_with_history(other)[cold].any()


def test_everyone_can_be_hidden_and_nobody_too(planted):
    linked = planted.people_with_history("film") & planted.people_with_history("knowledge")
    assert ((split_interactions(planted, SplitConfig(hidden_share=1.0)).hidden_domain >= 0) == linked).all()
    assert (split_interactions(planted, SplitConfig(hidden_share=0.0)).hidden_domain == NOT_HIDDEN).all()


def test_a_seed_decides_among_equal_times_and_who_is_hidden(make):
    world = make([(f"u{person}", f"film:{item}", 1.0, 0) for person in range(20) for item in range(5)])
    first = split_interactions(world, SplitConfig(seed=1))
    assert held_pairs(world, first) == held_pairs(world, split_interactions(world, SplitConfig(seed=1)))
    assert held_pairs(world, first) != held_pairs(world, split_interactions(world, SplitConfig(seed=2)))
    assert len({item for _, item in held_pairs(world, first)}) > 1, "the tie-break must not favour one item"


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), share=st.floats(0.05, 0.95))
def test_a_newcomer_does_not_change_how_others_are_split(make, seed, share):
    def world(people):
        return make(
            [
                (person, f"{side}:{item}", 1.0, 0)
                for person in people
                for side in ("film", "knowledge")
                for item in range(4)
            ]
        )

    config = SplitConfig(holdout_share=share, seed=seed)
    few, many = world("bdf"), world("abcdef")
    before = held_pairs(few, split_interactions(few, config))
    after = held_pairs(many, split_interactions(many, config))
    assert {pair for pair in after if pair[0] in "bdf"} == before


@pytest.mark.parametrize(
    "wrong", [{"holdout_share": 0.0}, {"holdout_share": 1.0}, {"hidden_share": -0.1}, {"min_history": 1}]
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        dataclasses.replace(SplitConfig(), **wrong)

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models_ml.split import ALL_HIDDEN, NOT_HIDDEN, SplitConfig, split_interactions, weight_as_of

DAY = 86_400_000_000
# What each person did, divided by time and by nothing else.
BY_TIME = SplitConfig(hidden_share=0.0, new_share=0.0, cold_item_share=0.0)
SIDES_HIDDEN = dataclasses.replace(BY_TIME, hidden_share=0.2)


def pairs(part) -> set[tuple[str, str]]:
    return {
        (part.user_keys[int(row)].as_py(), part.item_keys[int(item)].as_py())
        for row, item in zip(part.rows, part.indices, strict=True)
    }


def held_pairs(world, config) -> set[tuple[str, str]]:
    return pairs(split_interactions(world, config).held_out)


def test_the_latest_fifth_of_a_person_is_held_out(make):
    world = make([("ann", f"film:{day:02}", 1.0, day) for day in range(10)])
    split = split_interactions(world, dataclasses.replace(BY_TIME, holdout_share=0.2))
    assert pairs(split.held_out) == {("ann", "film:08"), ("ann", "film:09")}
    assert split.train.entries == 8


def test_each_platform_of_a_person_is_split_for_itself(make):
    rows = [("ann", f"film:{day}", 1.0, day) for day in range(5)]
    rows += [("ann", f"knowledge:{day}", 1.0, 100 + day) for day in range(5)]
    assert held_pairs(make(rows), BY_TIME) == {("ann", "film:4"), ("ann", "knowledge:4")}


def test_people_with_little_history_keep_all_of_it(make):
    world = make([("ann", "film:a", 1.0, 1), ("ann", "film:b", 1.0, 2)])
    assert not held_pairs(world, dataclasses.replace(BY_TIME, min_history=3))
    assert len(held_pairs(world, dataclasses.replace(BY_TIME, min_history=2))) == 1


@pytest.mark.parametrize("config", [SplitConfig(), SplitConfig(kind="global_time")], ids=lambda config: config.kind)
def test_nothing_is_lost_and_nothing_is_in_both_parts(planted, config):
    split = split_interactions(planted, config)
    both = split.train.csr(np.ones(split.train.entries)) + split.held_out.csr(np.ones(split.held_out.entries))
    assert (both.toarray() == (planted.csr(planted.weight).toarray() > 0)).all()
    assert split.train.entries
    assert split.held_out.entries


def test_nobody_is_asked_for_something_older_than_what_they_are_trained_on(planted):
    split = split_interactions(planted, BY_TIME)
    for domain in planted.domains:
        newest, oldest = np.zeros(planted.shape[0]), np.full(planted.shape[0], np.inf)
        train = split.train.where(split.train.domain_mask(domain))
        held = split.held_out.where(split.held_out.domain_mask(domain))
        np.maximum.at(newest, train.rows, train.last_at)
        np.minimum.at(oldest, held.rows, held.last_at)
        assert (newest <= oldest).all()


def test_a_hidden_side_is_hidden_wholly_and_the_other_side_trains_wholly(planted):
    split = split_interactions(planted, dataclasses.replace(SIDES_HIDDEN, hidden_share=0.3))
    drawn = split.hidden_domain != NOT_HIDDEN
    assert 0.15 < drawn.mean() < 0.45
    linked = planted.people_with_history("film") & planted.people_with_history("knowledge")
    assert linked[drawn].all()
    for position, (domain, other) in enumerate((("film", "knowledge"), ("knowledge", "film"))):
        cold = split.hidden_domain == position
        assert cold.any()
        assert not split.train.people_with_history(domain)[cold].any()
        assert not split.held_out.people_with_history(other)[cold].any()


def test_every_linked_person_can_lose_a_side_and_nobody_too(planted):
    linked = planted.people_with_history("film") & planted.people_with_history("knowledge")
    everyone = split_interactions(planted, dataclasses.replace(SIDES_HIDDEN, hidden_share=1.0)).hidden_domain
    assert ((everyone >= 0) == linked).all()
    assert (split_interactions(planted, BY_TIME).hidden_domain == NOT_HIDDEN).all()


def test_a_new_person_has_nothing_in_training_and_everybody_else_is_split_as_before(planted):
    plain = split_interactions(planted, SIDES_HIDDEN)
    split = split_interactions(planted, dataclasses.replace(SIDES_HIDDEN, new_share=0.25))
    new = split.hidden_domain == ALL_HIDDEN
    assert 0.15 < new.mean() < 0.35
    assert not np.diff(split.train.indptr)[new].any()
    for mine, theirs in ((split.train, plain.train), (split.held_out, plain.held_out)):
        others = np.flatnonzero(~new)
        assert pairs(mine.take(others)) == pairs(theirs.take(others))


def test_hidden_items_are_in_nobodys_training_and_do_not_count_when_people_are_split(make):
    rows = [(f"u{person:02}", f"film:{item:02}", 1.0, item) for person in range(5) for item in range(40)]
    world = make(rows)
    split = split_interactions(world, dataclasses.replace(BY_TIME, cold_item_share=0.3))
    hidden = split.hidden_items
    assert 0.15 < hidden.mean() < 0.45
    assert not hidden[split.train.indices].any()
    known = np.flatnonzero(~hidden)
    latest = known[-int(0.2 * len(known)) :]
    held = split.held_out.indices[split.held_out.rows == 0]
    assert set(held.tolist()) == {*np.flatnonzero(hidden), *latest}
    assert (split.cold_items() == hidden).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_people_and_items_are_drawn_for_themselves(planted, seed):
    """Whether a side is hidden says nothing of who is new: the two draws must not use one number."""
    config = SplitConfig(hidden_share=0.5, new_share=0.0, seed=seed)
    side = split_interactions(planted, config).hidden_domain != NOT_HIDDEN
    new = split_interactions(planted, dataclasses.replace(config, hidden_share=0.0, new_share=0.5)).hidden_domain
    assert 0.3 < (side & (new == ALL_HIDDEN)).sum() / side.sum() < 0.7


def test_a_seed_decides_among_equal_times_and_who_and_what_is_hidden(make):
    world = make([(f"u{person}", f"film:{item}", 1.0, 0) for person in range(20) for item in range(5)])
    first, again, second = (
        held_pairs(world, dataclasses.replace(BY_TIME, seed=seed, new_share=0.2)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != second
    assert len({item for _, item in held_pairs(world, BY_TIME)}) > 1, "the tie-break must not favour one item"


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

    config = SplitConfig(holdout_share=share, new_share=0.3, cold_item_share=0.2, seed=seed)
    before, after = held_pairs(world("bdf"), config), held_pairs(world("abcdef"), config)
    assert {pair for pair in after if pair[0] in "bdf"} == before


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=st.lists(st.integers(0, 12), min_size=1, max_size=40), share=st.floats(0.05, 0.95), at=st.integers(-1, 13))
def test_a_model_as_of_a_time_has_seen_nothing_after_it(make, days, share, at):
    world = make([(f"u{place % 5}", f"film:{place:02}", 1.0, day) for place, day in enumerate(days)])
    split = split_interactions(world, SplitConfig(kind="global_time", holdout_share=share))
    assert (split.train.last_at <= split.split_at).all()
    assert (split.held_out.last_at > split.split_at).all()
    assert split.held_out.entries <= share * len(days) + 1e-6
    earlier = np.unique(world.last_at[world.last_at < split.split_at])
    if earlier.size:
        assert (world.last_at > earlier[-1]).sum() > share * len(days) - 1e-6, "as much is held out as may be"
    given_time = split_interactions(
        world, SplitConfig(kind="global_time", split_at=int(world.last_at.min()) + (at - min(days)) * DAY)
    )
    assert given_time.train.entries == sum(day <= at for day in days)


def test_what_happens_later_does_not_change_what_a_model_as_of_a_time_sees(make):
    """The weights too: those of the whole have decayed up to its newest event."""
    half_life = {"film:a": 10.0, "film:b": 40.0, "film:c": np.inf, "film:d": 5.0}

    def world(days):
        newest = max(days.values())
        return make([("ann", item, 4 * 2 ** (-(newest - day) / half_life[item]), day) for item, day in days.items()])

    def with_strength(part):
        return dataclasses.replace(part, strength=np.full(part.entries, 4, np.float32))

    known = {"film:a": 3, "film:b": 10, "film:c": 12}
    whole = with_strength(world({**known, "film:d": 60}))
    at = int(whole.last_at[2])
    train = split_interactions(whole, SplitConfig(kind="global_time", split_at=at)).train
    as_of = world(known)
    assert pairs(train) == pairs(as_of)
    np.testing.assert_allclose(train.weight, as_of.weight, rtol=1e-5)
    assert train.as_of == as_of.as_of


def test_weights_that_have_not_decayed_and_those_after_the_time_stay(make):
    world = make([("ann", "film:a", 2.0, 0), ("ann", "film:b", 0.0, 3), ("ann", "film:c", 1.5, 9)])
    assert weight_as_of(world, int(world.last_at[1])).tolist() == [2.0, 0.0, 1.5]
    assert weight_as_of(world, int(world.last_at[2])).tolist() == [2.0, 0.0, 1.5]


def test_an_item_that_appears_after_the_time_is_cold_by_itself(make):
    rows = [("ann", "film:a", 1.0, 1), ("ben", "film:a", 1.0, 8), ("ben", "film:b", 1.0, 9)]
    world = make(rows)
    split = split_interactions(world, SplitConfig(kind="global_time", split_at=int(world.last_at[0])))
    assert split.cold_items().tolist() == [False, True]
    assert not split.hidden_items.any()


@pytest.mark.parametrize("kind", ["time_per_user", "global_time"])
def test_a_world_without_anything_can_be_split(make, kind):
    split = split_interactions(make([]), SplitConfig(kind=kind))
    assert split.train.entries == split.held_out.entries == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"holdout_share": 0.0},
        {"holdout_share": 1.0},
        {"hidden_share": -0.1},
        {"min_history": 1},
        {"new_share": 1.0},
        {"cold_item_share": -0.1},
        {"kind": "by_moon"},
    ],
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        dataclasses.replace(SplitConfig(), **wrong)

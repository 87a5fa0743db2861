import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml.recency import MICROSECONDS_PER_DAY, age_in_days, events_since, recency_weight


def test_an_event_weighs_half_after_each_half_life():
    np.testing.assert_allclose(recency_weight(np.array([0.0, 30.0, 60.0, 15.0]), 30.0), [1, 0.5, 0.25, 2**-0.5])


def test_nothing_fades_with_an_infinite_half_life():
    assert recency_weight(np.array([1e6]), np.inf)[0] == 1


@pytest.mark.parametrize("half_life", [0.0, -1.0, np.nan])
def test_a_half_life_must_be_positive(half_life: float):
    with pytest.raises(ValueError, match="half_life"):
        recency_weight(np.array([1.0]), half_life)


@pytest.mark.parametrize("age", [-1.0, np.nan, np.inf])
def test_an_age_must_be_a_number_from_zero(age: float):
    with pytest.raises(ValueError, match="age must"):
        recency_weight(np.array([age]), 10.0)


def test_an_event_after_the_time_of_reference_has_age_zero():
    times = np.array([0, 2, 5]) * MICROSECONDS_PER_DAY
    assert age_in_days(times, 3 * MICROSECONDS_PER_DAY).tolist() == [3, 1, 0]


def test_events_since_counts_the_later_events_of_the_same_group_and_ties_share_their_mean_place():
    groups = np.array([7, 7, 7, 7, 3, 3])
    times = np.array([10, 40, 20, 20, 5, 5])
    # Group 7 in order of time: 10, then 20 twice, then 40.
    assert events_since(groups, times).tolist() == [3, 0, 1.5, 1.5, 0.5, 0.5]
    assert events_since(groups[:0], times[:0]).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=40))
def test_events_since_is_what_counting_one_by_one_gives(events):
    groups, times = (np.array([event[part] for event in events], dtype=np.int64) for part in (0, 1))
    expected = [
        sum(g == group and t > time for g, t in events) + (sum(e == (group, time) for e in events) - 1) / 2
        for group, time in events
    ]
    assert events_since(groups, times).tolist() == expected

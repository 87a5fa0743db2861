import numpy as np
import pytest

from models_ml.campaigns.proportions import difference_of_shares
from models_ml.campaigns.satisfaction import DAY, Events, Subjects, panel


def subjects(starts, treated, cell=None, cells=1):
    cell = np.zeros(len(starts), dtype=int) if cell is None else np.array(cell)
    return Subjects(np.array(starts) * DAY, np.array(treated, dtype=bool), cell, cells)


def events(rows, values=None):
    pairs = np.array(rows, dtype=float).reshape(-1, 2)
    value = None if values is None else np.array(values, dtype=float)
    return Events(pairs[:, 0].astype(int), (pairs[:, 1] * DAY).astype(np.int64), value)


def test_returns_are_counted_within_a_day_a_week_and_a_month():
    people = subjects([0, 0, 0, 0], [0, 0, 1, 1])
    # After half a day and again later; after 3 days; exactly after 7; after 40.
    found = panel(people, {"return": events([(0, 20), (0, 0.5), (1, 3), (2, 7), (3, 40)])}, 100 * DAY)
    assert list(found) == ["return_1d", "return_7d", "return_30d"]
    assert [found[f"return_{days}d"].control[0] for days in (1, 7, 30)] == [0.5, 1, 1]
    assert [found[f"return_{days}d"].treatment[0] for days in (1, 7, 30)] == [0, 0.5, 0.5]


def test_what_was_done_before_the_start_or_at_it_is_no_return():
    found = panel(subjects([5, 5], [0, 1]), {"return": events([(0, 4), (1, 5)])}, 100 * DAY)
    assert (found["return_30d"].control[0], found["return_30d"].treatment[0]) == (0, 0)


def test_only_people_who_were_followed_for_the_whole_window_count():
    # Until day 10: the second and third started on day 5, so a week is not over for them, return or not.
    people = subjects([0, 5, 5, 0], [0, 0, 1, 1])
    week = panel(people, {"return": events([(1, 6), (2, 6), (3, 2)])}, 10 * DAY)["return_7d"]
    assert (week.people_control[0], week.control[0]) == (1, 0)
    assert (week.people_treatment[0], week.treatment[0]) == (1, 1)
    month = panel(people, {"return": events([])}, 10 * DAY)["return_30d"]
    assert month.reason.tolist() == ["nobody in an arm"]


def test_each_cell_is_the_difference_of_its_shares():
    random = np.random.default_rng(0)
    treated, cell = random.random(400) < 0.7, random.integers(0, 3, 400)
    gone = np.flatnonzero(random.random(400) < 0.2)
    found = panel(
        subjects(np.zeros(400), treated, cell, 3),
        {"unsubscribe": events(np.column_stack([gone, np.full(len(gone), 2)]))},
        31 * DAY,
    )["unsubscribe_30d"]
    did = np.isin(np.arange(400), gone)
    for one in range(3):
        own = cell == one
        expected = difference_of_shares(
            (did & own & ~treated).sum(), (own & ~treated).sum(), (did & own & treated).sum(), (own & treated).sum()
        )
        assert (found.low[one], found.high[one]) == (expected.low, expected.high)


def test_many_ratings_of_one_person_count_once_and_those_before_the_start_never():
    people = subjects([1, 1, 1, 1, 1], [0, 0, 1, 1, 1])
    rows = [(0, 2), (0, 3), (0, 4), (1, 2), (2, 2), (3, 0.5), (3, 2), (4, 0.5)]
    found = panel(people, {"rating": events(rows, [1, 1, 1, 4, 5, 1, 3, 1])}, 9 * DAY)["rating"]
    assert (found.control[0], found.treatment[0]) == (2.5, 4)
    assert (found.people_control[0], found.people_treatment[0]) == (2, 2)
    assert "rated" in found.method


def test_what_was_not_recorded_has_no_measure():
    assert panel(subjects([0], [0]), {}, 0) == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [({"smile": events([])}, "smile"), ({"rating": events([(0, 1)])}, "needs a value")],
)
def test_events_that_mean_nothing_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        panel(subjects([0], [1]), given, 0)

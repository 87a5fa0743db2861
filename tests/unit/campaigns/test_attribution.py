import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_ml.campaigns.attribution import RULES, attribute, credit

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(-20, 20)), max_size=25)


def found_for(conversions, exposures, window=10, **options):
    pairs = [np.array(rows, dtype=np.int64).reshape(-1, 2) for rows in (conversions, exposures)]
    return attribute(pairs[0][:, 0], pairs[0][:, 1], pairs[1][:, 0], pairs[1][:, 1], window=window, **options)


def weights(found, rule):
    return dict(
        zip(zip(found.conversion.tolist(), found.exposure.tolist(), strict=True), getattr(found, rule), strict=True)
    )


def test_four_exposures_by_hand():
    # Given out of order; in time they are 1, 3, 0, 2.
    found = found_for([(7, 100)], [(7, 97), (7, 91), (7, 99), (7, 95)])
    assert found.exposure.tolist() == [1, 3, 0, 2]
    assert found.last.tolist() == [0, 0, 0, 1]
    assert found.linear.tolist() == [0.25] * 4
    assert found.position.tolist() == pytest.approx([0.4, 0.1, 0.1, 0.4])


def test_one_exposure_gets_all_and_two_get_half_each():
    found = found_for([(1, 10), (2, 10)], [(1, 5), (2, 4), (2, 6)])
    assert found.position.tolist() == pytest.approx([1, 0.5, 0.5])
    assert found_for([(2, 10)], [(2, 4), (2, 6)], ends=(0.6, 0.2)).position.tolist() == pytest.approx([0.75, 0.25])


def test_the_window_holds_both_of_its_ends_and_nothing_after_the_conversion():
    found = found_for([(1, 100)], [(1, 89), (1, 90), (1, 100), (1, 101), (2, 95)])
    assert found.exposure.tolist() == [1, 2]


def test_conversions_without_an_exposure_are_reported():
    found = found_for([(1, 100), (3, 100), (2, 100)], [(2, 99), (1, 50)])
    assert found.unattributed.tolist() == [0, 1]
    assert found.conversion.tolist() == [2]
    assert found_for([(1, 1)], []).unattributed.tolist() == [0]
    assert found_for([], [(1, 1)]).conversion.tolist() == []


def test_one_exposure_may_stand_before_two_conversions():
    found = found_for([(1, 10), (1, 12)], [(1, 9), (1, 11)])
    assert list(zip(found.conversion.tolist(), found.exposure.tolist(), strict=True)) == [(0, 0), (1, 0), (1, 1)]


def test_exposures_at_one_time_keep_their_order():
    assert found_for([(1, 5)], [(1, 4), (1, 4), (1, 4)]).exposure.tolist() == [0, 1, 2]


@settings(deadline=None)
@given(conversions=ROWS, exposures=ROWS, window=st.integers(0, 15))
def test_the_same_as_looking_at_each_conversion_alone(conversions, exposures, window):
    found = found_for(conversions, exposures, window)
    expected = {
        (place, other)
        for place, (person, at) in enumerate(conversions)
        for other, (who, when) in enumerate(exposures)
        if who == person and at - window <= when <= at
    }
    assert set(weights(found, "linear")) == expected
    assert len(found.conversion) == len(expected)
    assert set(found.unattributed.tolist()) == set(range(len(conversions))) - {place for place, _ in expected}


@settings(deadline=None)
@given(conversions=ROWS, exposures=ROWS, first=st.floats(0, 0.5), last=st.floats(0.1, 0.5))
def test_the_weights_of_a_conversion_sum_to_one(conversions, exposures, first, last):
    found = found_for(conversions, exposures, ends=(first, last))
    attributed = np.setdiff1d(np.arange(len(conversions)), found.unattributed)
    for rule in RULES:
        total = np.bincount(found.conversion, weights=getattr(found, rule), minlength=len(conversions))
        np.testing.assert_allclose(total[attributed], 1)
        assert (getattr(found, rule) >= 0).all()


def test_microseconds_and_large_person_numbers_do_not_overflow():
    at, person = 1_700_000_000_000_000, 2**62
    found = found_for([(person, at), (0, at)], [(person, at - 5), (0, at - 20), (person - 1, at)], window=10)
    assert list(zip(found.conversion.tolist(), found.exposure.tolist(), strict=True)) == [(0, 0)]


def test_credit_by_campaign_sums_to_what_was_attributed():
    found = found_for([(1, 10), (1, 20), (9, 9)], [(1, 5), (1, 8), (1, 15)], window=30)
    campaign, value = np.array([0, 1, 1]), np.array([10.0, 30.0, 99.0])
    # The first conversion is shared by exposures 0 and 1, the second by all three.
    assert credit(found, "last", campaign, 3).tolist() == [0, 2, 0]
    assert credit(found, "linear", campaign, 3, value).tolist() == pytest.approx([5 + 10, 5 + 20, 0])
    assert credit(found, "position", campaign, 3, value).tolist() == pytest.approx([5 + 12, 5 + 18, 0])
    with pytest.raises(ValueError, match="last, linear, position"):
        credit(found, "first", campaign, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: found_for([(1, 1)], [(1, 1)], window=-1), "window"),
        (lambda: found_for([(1, 1)], [(1, 1)], ends=(0.8, 0.4)), "at most 1"),
        (lambda: attribute(np.array([1]), np.array([1, 2]), np.array([1]), np.array([1]), window=1), "one conversion"),
        (lambda: attribute(np.array([1]), np.array([1]), np.array([1]), np.array([1.5]), window=1), "whole numbers"),
    ],
)
def test_calls_that_make_no_sense_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

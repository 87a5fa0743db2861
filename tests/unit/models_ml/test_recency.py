import numpy as np
import pytest

from models_ml.recency import MICROSECONDS_PER_DAY, age_in_days, recency_weight


def test_an_event_weighs_half_after_each_half_life():
    np.testing.assert_allclose(recency_weight(np.array([0.0, 30.0, 60.0, 15.0]), 30.0), [1, 0.5, 0.25, 2**-0.5])


def test_nothing_fades_with_an_infinite_half_life():
    assert recency_weight(np.array([1e6]), np.inf)[0] == 1


@pytest.mark.parametrize("half_life", [0.0, -1.0, np.nan])
def test_a_half_life_must_be_positive(half_life: float):
    with pytest.raises(ValueError, match="half_life_days"):
        recency_weight(np.array([1.0]), half_life)


@pytest.mark.parametrize("age", [-1.0, np.nan, np.inf])
def test_an_age_must_be_a_number_from_zero(age: float):
    with pytest.raises(ValueError, match="age_days"):
        recency_weight(np.array([age]), 10.0)


def test_an_event_after_the_time_of_reference_has_age_zero():
    times = np.array([0, 2, 5]) * MICROSECONDS_PER_DAY
    assert age_in_days(times, 3 * MICROSECONDS_PER_DAY).tolist() == [3, 1, 0]

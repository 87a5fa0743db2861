import numpy as np
import pytest
from scipy.stats import norm

from models_ml.bootstrap import bootstrap_mean, holm, paired_difference


def test_the_interval_is_that_of_the_central_limit_theorem():
    values = np.random.default_rng(1).normal(3.0, 2.0, size=(2000, 1))
    found = bootstrap_mean(values, draws=4000)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert found.value[0] == pytest.approx(values.mean())
    assert found.low[0] == pytest.approx(values.mean() - half, abs=0.01)
    assert found.high[0] == pytest.approx(values.mean() + half, abs=0.01)


def test_about_nineteen_of_twenty_intervals_hold_the_truth():
    random = np.random.default_rng(3)
    inside = 0
    for seed in range(200):
        found = bootstrap_mean(random.exponential(1.0, size=(150, 1)), draws=300, seed=seed)
        inside += int(found.low[0] <= 1 <= found.high[0])
    assert 0.88 <= inside / 200 <= 0.99


def test_columns_are_drawn_together():
    values = np.random.default_rng(2).random((50, 1))
    found = bootstrap_mean(np.hstack([values, 2 * values]))
    assert found.low[1] == pytest.approx(2 * found.low[0])


def test_the_same_people_make_a_difference_sharper_than_two_intervals():
    random = np.random.default_rng(4)
    person = random.normal(size=(400, 1))
    first, second = person + 0.1 + random.normal(0, 0.1, (400, 1)), person
    difference = paired_difference(first, second)
    assert difference.low[0] > 0
    assert bootstrap_mean(first).low[0] < bootstrap_mean(second).high[0]
    assert difference.high[0] - difference.low[0] == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.2)


def test_a_model_differs_from_itself_by_nothing():
    values = np.random.default_rng(5).random((30, 2))
    found = paired_difference(values, values)
    assert found.low.tolist() == found.value.tolist() == found.high.tolist() == [0, 0]
    assert found.p_value.tolist() == [1, 1]


def test_the_p_value_is_that_of_the_normal_test():
    random = np.random.default_rng(11)
    first, second = random.normal(0.08, 1.0, (600, 8)), np.zeros((600, 8))
    found = paired_difference(first, second, draws=4000)
    z = first.mean(axis=0) / (first.std(axis=0) / np.sqrt(600))
    np.testing.assert_allclose(found.p_value, 2 * norm.sf(np.abs(z)), atol=0.03)


def test_a_p_value_below_five_percent_is_an_interval_that_leaves_out_zero():
    random = np.random.default_rng(12)
    found = paired_difference(random.normal(0.1, 1.0, (300, 200)), np.zeros((300, 200)))
    outside = (found.low > 0) | (found.high < 0)
    clear = np.abs(found.p_value - 0.05) > 0.005
    assert 20 < outside.sum() < 180
    assert ((found.p_value < 0.05) == outside)[clear].all()


def test_without_a_difference_small_p_values_are_as_rare_as_they_say():
    random = np.random.default_rng(13)
    found = paired_difference(random.normal(0, 1.0, (200, 600)), np.zeros((200, 600)))
    assert 0.02 < (found.p_value < 0.05).mean() < 0.09
    assert found.p_value.min() >= 2 / 1001


def test_holm_by_hand():
    # Sorted .01, .02, .03: times 3, 2 and 1, and never falling.
    assert holm(np.array([[0.03], [0.01], [0.02]])).ravel().tolist() == pytest.approx([0.04, 0.03, 0.04])
    assert holm(np.array([[0.6, 0.01], [0.7, 0.5]])).tolist() == [[1, 0.02], [1, 0.5]]
    assert holm(np.zeros((0, 2))).shape == (0, 2)


def test_a_seed_gives_the_same_interval_again():
    values = np.random.default_rng(6).random((40, 3))
    np.testing.assert_array_equal(bootstrap_mean(values, seed=9).low, bootstrap_mean(values, seed=9).low)
    assert (bootstrap_mean(values, seed=9).low != bootstrap_mean(values, seed=8).low).any()


def test_the_interval_of_one_person_is_that_person_and_of_nobody_is_unknown():
    found = bootstrap_mean(np.array([[0.25]]))
    assert (found.low[0], found.value[0], found.high[0]) == (0.25, 0.25, 0.25)
    nobody = bootstrap_mean(np.zeros((0, 2)))
    assert np.isnan(nobody.value).all()
    assert np.isnan(nobody.high).all()
    assert np.isnan(paired_difference(np.zeros((0, 2)), np.zeros((0, 2))).p_value).all()


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.zeros(3), {}, "one row per person"),
        (np.array([[np.nan]]), {}, "finite"),
        (np.zeros((2, 1)), {"draws": 0}, "draws"),
        (np.zeros((2, 1)), {"level": 1.0}, "level"),
    ],
)
def test_what_cannot_be_drawn_is_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(values, **options)


def test_a_difference_of_other_people_is_refused():
    with pytest.raises(ValueError, match="same people"):
        paired_difference(np.zeros((2, 1)), np.zeros((3, 1)))

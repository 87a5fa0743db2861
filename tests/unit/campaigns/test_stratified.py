"""People of several experiments are compared within each."""

import numpy as np
import pytest

from models_ml.campaigns.means import difference_of_means, moments
from models_ml.campaigns.proportions import NOBODY, difference_of_shares
from models_ml.campaigns.stratified import difference_of_stratified_means, difference_of_stratified_shares


def test_one_stratum_is_the_plain_difference_of_shares() -> None:
    found = difference_of_stratified_shares([4], [40], [16], [50], np.array([0]), 1)
    plain = difference_of_shares([4], [40], [16], [50])
    for name in ("control", "treatment", "difference", "low", "high", "p_value", "people_control", "people_treatment"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name)), name


def test_one_stratum_is_the_plain_difference_of_means() -> None:
    random = np.random.default_rng(0)
    arms = [moments(random.gamma(2, scale, people), np.zeros(people, int), 1) for scale, people in ((1, 30), (2, 50))]
    found, plain = difference_of_stratified_means(*arms, np.array([0]), 1), difference_of_means(*arms)
    for name in ("control", "treatment", "difference", "low", "high", "p_value"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name)), name


def test_differences_are_weighted_by_the_people_of_their_stratum() -> None:
    # 0.2 of 200 people and 0.5 of 100: (0.2 x 200 + 0.5 x 100) / 300.
    found = difference_of_stratified_shares([10, 10], [100, 50], [30, 35], [100, 50], np.array([0, 0]), 1)
    assert found.difference == pytest.approx(0.3)


def test_a_stratum_with_an_empty_arm_tells_nothing() -> None:
    found = difference_of_stratified_shares([1, 0, 0], [10, 0, 0], [2, 9, 1], [10, 9, 5], np.array([0, 0, 1]), 2)
    assert found.difference[0] == pytest.approx(0.1)
    assert (found.people_control[0], found.people_treatment[0]) == (10, 10)
    assert np.isnan(found.difference[1])
    assert found.reason.tolist() == ["", NOBODY]


def test_the_interval_covers_an_effect_in_strata_of_unlike_holdouts() -> None:
    random, draws = np.random.default_rng(1), 2000
    held_out, treated = np.tile([60, 300], draws), np.tile([540, 300], draws)
    base = np.tile([0.05, 0.3], draws)
    found = difference_of_stratified_shares(
        random.binomial(held_out, base),
        held_out,
        random.binomial(treated, base + 0.04),
        treated,
        np.repeat(np.arange(draws), 2),
        draws,
    )
    covered = ((found.low <= 0.04) & (found.high >= 0.04)).mean()
    assert 0.935 <= covered <= 0.975
    assert found.difference.mean() == pytest.approx(0.04, abs=0.003)

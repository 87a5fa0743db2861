import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml.campaigns.exploration import CONTACTS_OF_A_GUESS, exploration_draw, explore, thompson_probabilities

ONE_EACH = np.zeros(2, np.int64), np.arange(2)


def test_a_row_is_drawn_as_often_as_it_is_best_and_worth_its_cost():
    # Factors are exponential: row 0 leaves 2 f - 1, row 1 leaves g - 1. It is best with 2 f > g and 2 f > 1, by integrating:
    # P(2 f > 1) - P(g > 2 f > 1) = exp(-1/2) - exp(-3/2) / 3.
    share, left = thompson_probabilities(*ONE_EACH, np.array([2.0, 1.0]), np.ones(2), np.ones(2), draws=40_000, seed=1)
    assert share[0] == pytest.approx(np.exp(-0.5) - np.exp(-1.5) / 3, abs=0.01)
    none = (1 - np.exp(-0.5)) * (1 - np.exp(-1.0))
    assert share.sum() == pytest.approx(1 - none, abs=0.01)
    # Row 0 alone: the mean of 2 f - 1 above 0 is 2, whatever f was.
    alone, left = thompson_probabilities(
        np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([2.0]), np.ones(1), np.ones(1), draws=40_000, seed=2
    )
    assert alone[0] == pytest.approx(np.exp(-0.5), abs=0.01)
    assert left[0] == pytest.approx(2.0, rel=0.03)


def test_a_campaign_that_does_not_pay_is_tried_until_enough_is_known():
    def share(answers: float) -> float:
        found, _ = thompson_probabilities(
            np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([0.5]), np.ones(1), np.array([answers]), draws=4000
        )
        return float(found[0])

    assert share(1.0) == pytest.approx(np.exp(-2), abs=0.025)
    assert share(1.0) > share(5.0) > share(200.0) == 0.0


def test_what_puts_off_is_never_tried():
    share, left = thompson_probabilities(*ONE_EACH, np.array([-1.0, 0.0]), np.zeros(2), np.full(2, 0.5))
    assert not share.any()
    assert not left.any()


def test_of_equal_rows_of_a_person_one_wins():
    share, _ = thompson_probabilities(
        np.zeros(3, np.int64), np.zeros(3, np.int64), np.ones(3), np.zeros(3), np.ones(1), draws=10
    )
    np.testing.assert_array_equal(share, [1, 0, 0])


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 4))
def test_the_order_of_rows_changes_nothing_and_a_person_has_at_most_one(seed, rows, campaigns):
    random = np.random.default_rng(seed)
    person, campaign = random.integers(0, 6, rows), random.integers(0, campaigns, rows)
    value, cost = random.normal(size=rows), random.random(rows)
    answers = random.uniform(0.5, 5, campaigns)
    share, left = thompson_probabilities(person, campaign, value, cost, answers, draws=20, seed=seed)
    assert (np.bincount(person, share) <= 1 + 1e-9).all()
    assert ((share > 0) == (left > 0)).all()
    order = random.permutation(rows)
    again, left_again = thompson_probabilities(
        person[order], campaign[order], value[order], cost[order], answers, draws=20, seed=seed
    )
    np.testing.assert_array_equal(again, share[order])
    np.testing.assert_allclose(left_again, left[order])


def test_explored_people_keep_one_row_or_none_as_often_as_its_probability_says():
    people = 20_000
    person = np.repeat(np.arange(people), 3)
    explored = np.arange(people) % 2 == 0
    kept, probability = exploration_draw(person, np.tile([0.0, 0.2, 0.6], people), explored, 0.5, seed=1)
    by_row = kept.reshape(-1, 3)
    assert (by_row[explored].sum(axis=1) <= 1).all()
    assert by_row[~explored].all()
    # 10,000 draws: four standard errors are at most 0.02.
    np.testing.assert_allclose(by_row[explored].mean(axis=0), [0, 0.2, 0.6], atol=0.02)
    np.testing.assert_allclose(probability.reshape(-1, 3)[0], [0, 0.1, 0.3])
    np.testing.assert_allclose(probability.reshape(-1, 3)[1], [0.5, 0.5, 0.5])
    assert not np.array_equal(
        kept, exploration_draw(person, np.tile([0.0, 0.2, 0.6], people), explored, 0.5, [1, 2])[0]
    )


def test_nobody_is_drawn_from_nothing():
    kept, probability = exploration_draw(np.zeros(0, np.int64), np.zeros(0), np.ones(3, bool), 0.1, seed=0)
    assert len(kept) == len(probability) == 0
    share, left = thompson_probabilities(
        np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.ones(2)
    )
    assert len(share) == len(left) == 0


@pytest.mark.parametrize(
    ("probability", "share", "what"),
    [
        ([0.6, 0.6], 0.1, "add up to more than 1"),
        ([-0.1, 0.5], 0.1, "finite and at least 0"),
        ([0.1, np.nan], 0.1, "finite and at least 0"),
        ([0.1, 0.1], 1.0, "a share must be"),
    ],
)
def test_a_draw_that_cannot_be_made_is_refused(probability, share, what):
    with pytest.raises(ValueError, match=what):
        exploration_draw(np.zeros(2, np.int64), np.array(probability), np.ones(1, bool), share, seed=0)


@pytest.mark.parametrize(
    ("answers", "draws", "what"), [([0.0], 1, "answers"), ([np.inf], 1, "answers"), ([1.0], 0, "draw")]
)
def test_draws_need_answers(answers, draws, what):
    with pytest.raises(ValueError, match=what):
        thompson_probabilities(
            np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1), np.ones(1), np.array(answers), draws=draws
        )


def test_of_the_explored_one_row_is_left_and_of_the_others_all():
    random = np.random.default_rng(0)
    person, campaign = np.repeat(np.arange(500), 3), np.tile(np.arange(3), 500)
    value, cost, p_conversion = random.random(1500), np.full(1500, 0.1), np.full(1500, 0.02)
    explored = np.arange(500) < 100
    contacts = np.array([0.0, 800.0, 800.0])
    found, kept, draw = explore(person, campaign, value, cost, p_conversion, contacts, explored, 0.2, [1, 2])
    mine = explored[person]
    assert kept[~mine].all()
    np.testing.assert_allclose(found[~mine], (value - cost)[~mine])
    np.testing.assert_allclose(draw[~mine], 0.8)
    assert (np.bincount(person[kept & mine], minlength=100)[:100] <= 1).all()
    assert (draw[kept & mine] > 0).all()
    # By hand: the estimates rest on as many answers as their contacts and those of a guess let expect.
    answers = 0.02 * (CONTACTS_OF_A_GUESS + contacts)
    share, won = thompson_probabilities(person[mine], campaign[mine], value[mine], cost[mine], answers, seed=[1, 2])
    np.testing.assert_allclose(draw[mine], 0.2 * share)
    np.testing.assert_allclose(found[mine], np.where(kept[mine], won, (value - cost)[mine]))


def test_nobody_explored_changes_nothing():
    value = np.array([0.5, 0.05])
    found, kept, draw = explore(
        *ONE_EACH, value, np.full(2, 0.1), np.full(2, 0.02), np.zeros(2), np.zeros(1, bool), 0.0, [0]
    )
    np.testing.assert_allclose(found, [0.4, -0.05])
    assert kept.all()
    np.testing.assert_array_equal(draw, 1)

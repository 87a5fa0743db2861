import numpy as np
import pytest

from models_ml.campaigns.rolling import day_budgets, days_of_pairs, put_off, within_reach


def numbers(*values):
    return np.array(values, dtype=np.float64)


def test_an_earlier_day_is_the_better_one_whatever_a_contact_is_worth():
    value = numbers(5, 0.1, 0, -0.1, -5)
    days = np.array([put_off(value, np.full(5, day)) for day in range(12)])
    np.testing.assert_allclose(days[0], value, atol=1e-3)
    assert (np.diff(days, axis=0) < 0).all()
    # What is worth nothing is not made for nothing.
    assert days[0, 2] < 0
    # What is worth having stays so, by a hundredth less a day.
    np.testing.assert_allclose(days[1:, :2] / days[:-1, :2], 0.99)
    assert (np.diff(put_off(numbers(0, 0), np.array([0, 1]))) < 0).all()


class TestDayBudgets:
    def test_money_lasts_until_the_last_day_of_the_campaign_beyond_the_plan(self):
        # 100 over 2 days of the plan and 8 after it; 30 over the one day that is left.
        active = np.array([[True, True], [True, False]])
        found = day_budgets(numbers(100, 30), numbers(1, 1), np.array([10, 1]), active, slack=0.2)
        np.testing.assert_allclose(found, [[12, 12], [30, 0]])

    def test_a_day_can_always_pay_for_one_contact_that_the_budget_can_pay_for(self):
        found = day_budgets(numbers(100, 3), numbers(20, 20), np.array([50, 50]), np.ones((2, 1), bool))
        np.testing.assert_allclose(found, [[20], [3]])

    def test_without_campaigns_there_are_no_budgets(self):
        assert day_budgets(numbers(), numbers(), np.zeros(0, np.int64), np.zeros((0, 7), bool)).shape == (0, 7)


class TestWithinReach:
    def test_few_pairs_are_all_looked_at(self):
        kept = within_reach(np.array([0, 0]), numbers(1, 2), numbers(0), most_rows=14, days=np.array([7]))
        assert kept.all()

    def test_of_many_those_of_highest_value_that_could_be_paid_for(self):
        campaign = np.array([0, 0, 0, 0, 1, 1])
        value = numbers(1, 4, 3, 2, 9, 9)
        kept = within_reach(campaign, value, numbers(1, np.inf), most_rows=41, days=np.array([7, 7]), spare=2.0)
        assert kept.tolist() == [False, True, True, False, True, True]


class TestDaysOfPairs:
    ACTIVE = np.array([[True, False, True], [True, True, True]])

    def test_a_pair_has_all_days_of_its_campaign(self):
        pair, day = days_of_pairs(np.array([5, 6]), np.array([0, 1]), self.ACTIVE, 100, 5)
        assert list(zip(pair.tolist(), day.tolist(), strict=True)) == [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2)]

    @pytest.mark.parametrize("most_rows", [150, 70, 31])
    def test_where_there_are_too_many_rows_everybody_has_a_turn_as_days_go_by(self, most_rows):
        person, active = np.arange(100), np.ones((1, 3), bool)
        seen = np.zeros(100, bool)
        for first in range(700_000, 700_012):
            pair, day = days_of_pairs(person, np.zeros(100, np.int64), active, first, most_rows)
            assert len(pair) <= most_rows + 3
            seen[pair[day == 0]] = True
        assert seen.all()

    def test_a_person_is_looked_at_on_the_same_date_by_plans_that_start_on_different_days(self):
        person, active = np.arange(20), np.ones((1, 3), bool)
        found = []
        for first in (700_000, 700_001):
            pair, day = days_of_pairs(person, np.zeros(20, np.int64), active, first, 30)
            found.append({(one, first + on) for one, on in zip(pair.tolist(), day.tolist(), strict=True)})
        shared = {(one, on) for one, on in found[0] if on > 700_000}
        assert shared == {(one, on) for one, on in found[1] if on < 700_003}

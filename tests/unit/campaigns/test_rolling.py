import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml.campaigns.rolling import day_budgets, days_of_pairs, put_off, total_day_budgets, within_reach


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


class TestTotalDayBudgets:
    @staticmethod
    def lived(amount: float, window: int, shares: list[float], plan: int, least: float) -> np.ndarray:
        """Cost of each day if a plan is made every day, its first day is carried out, and a share of what is allowed is spent."""
        spent = np.zeros(window - 1)
        for share in shares:
            before = spent[len(spent) - (window - 1) :]
            allowed = total_day_budgets(amount, window, np.append(before, np.zeros(plan)), np.ones(plan, bool), least)
            spent = np.append(spent, share * allowed[0])
        return spent

    @given(
        st.floats(0.5, 100),
        st.integers(1, 10),
        st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=1, max_size=40),
        st.integers(1, 7),
        st.floats(0, 2),
    )
    def test_no_window_of_days_ever_costs_more_than_the_amount(self, amount, window, shares, plan, least):
        spent = self.lived(amount, window, shares, plan, least)
        summed = np.convolve(spent, np.ones(window))
        assert summed.max() <= amount * (1 + 1e-9)

    def test_whoever_spends_what_is_allowed_spends_the_amount_in_every_window(self):
        spent = self.lived(70, 7, [1.0] * 60, 7, 0)
        np.testing.assert_allclose(np.convolve(spent[6:], np.ones(7), "valid")[7:], 70)
        # An even share and a fifth at most, so that a window is not spent on its first day.
        assert spent.max() <= 12 + 1e-9

    def test_a_day_can_always_pay_for_a_contact_as_long_as_the_window_has_room(self):
        assert total_day_budgets(3, 30, np.zeros(33), np.ones(4, bool), 1).tolist() == [1, 1, 1, 0]

    def test_what_is_settled_counts_and_is_not_spent_again(self):
        spent = numbers(0, 4, 0, 5, 0)
        allowed = total_day_budgets(9, 3, spent, np.array([True, False, True]), 9)
        # The day before the plan cost 4 and its second day is settled with 5, so that nothing is left for the day between.
        assert allowed.tolist() == [0, 0, 4]


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

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ortools.graph.python import min_cost_flow
from scipy.sparse import csr_matrix

from models_ml.campaigns.allocation import (
    REASONS,
    AllocationConfig,
    allocate,
    person_reasons,
)
from models_ml.campaigns.allocation_problem import (
    NO_ITEM,
    Candidates,
    ContactCap,
    Contacts,
    Limits,
    Problem,
    even_pacing,
)
from models_ml.campaigns.feasible_choice import FeasibleChoice
from models_ml.campaigns.programme import programme_of
from models_ml.campaigns.violations import violations

EXACT, LP, PRICES = (AllocationConfig(method=method) for method in ("exact", "lp", "prices"))
METHODS = (EXACT, LP, PRICES)


def candidates(*rows):
    """Rows of person, campaign, item, day, channel, value, cost."""
    columns = np.array(rows, float).reshape(-1, 7).T
    return Candidates(*columns[:5].astype(np.int64), *columns[5:])


def problem_of(*rows, people=3, days=1, channels=1, budget=(100.0, 100.0), earlier=(), **limits):
    contacts = np.array(earlier, np.int64).reshape(-1, 3).T
    stated = Limits(np.array(budget, float), **limits)
    return Problem(people, days, channels, candidates(*rows), stated, Contacts(*contacts))


def random_problem(seed, rows=12, people=4, whole=False, reach=True):
    """A small problem in which everything can bind."""
    rng = np.random.default_rng(seed)
    campaigns, items, days, channels, segments = 3, 3, rng.integers(1, 5), rng.integers(1, 3), 2
    count = rng.integers(0, rows + 1)
    value = rng.normal(1, 1.5, count)
    cost = np.ones(count) if whole else rng.uniform(0, 2, count)
    drawn = Candidates(
        *(rng.integers(0, most, count) for most in (people, campaigns)),
        rng.integers(NO_ITEM, items, count),
        *(rng.integers(0, most, count) for most in (days, channels)),
        np.round(value) if whole else value,
        cost,
    )
    earlier = rng.integers(0, 4)
    some = rng.random(7) < 0.5
    limits = Limits(
        budget=rng.choice([0.0, 1.0, 2.5, np.inf], campaigns),
        day_budget=rng.choice([0.5, 1.5, np.inf], (campaigns, days)) if some[0] else None,
        total_budget=float(rng.choice([2.0, 4.0])) if some[1] else np.inf,
        total_day_budget=rng.choice([1.0, 2.0, np.inf], days) if some[6] else None,
        caps=tuple(
            ContactCap(int(rng.integers(0, 3)), int(rng.integers(1, 5)), channels_of)
            for channels_of in ((None, (0,), tuple(range(channels))[-2:]) if some[2] else (None,))
        )
        if some[3]
        else (),
        stock=rng.choice([0.0, 1.0, 2.0, np.inf], items) if some[4] else None,
        members=csr_matrix((rng.random((people, segments)) < 0.5).astype(float)),
        minimum_reach=rng.integers(0, 3, segments) if some[5] and reach else None,
    )
    return Problem(
        people,
        int(days),
        int(channels),
        drawn,
        limits,
        Contacts(
            rng.integers(0, people, earlier), rng.integers(-4, days + 1, earlier), rng.integers(0, channels, earlier)
        ),
    )


def objective(problem, chosen):
    """Value less the penalty, counted from the rows."""
    rows, limits = problem.candidates.take(chosen), problem.limits
    missing = 0
    if limits.minimum_reach is not None:
        for members, minimum in zip(limits.members.toarray().T, limits.minimum_reach, strict=True):
            missing += max(minimum - len({p for p in rows.person if members[p]}), 0)
    return rows.value.sum() - problem.reach_penalty * missing


def best_of_all(problem):
    """The best of all subsets of rows."""
    rows = np.arange(problem.candidates.rows)
    subsets = (np.array(s, np.int64) for n in range(len(rows) + 1) for s in itertools.combinations(rows, n))
    return max(objective(problem, subset) for subset in subsets if not violations(problem, subset))


@pytest.mark.parametrize("block", range(10))
def test_the_exact_choice_is_the_best_of_all_subsets_and_no_method_claims_more(block):
    for seed in range(block * 30, block * 30 + 30):
        problem = random_problem(seed, rows=7)
        best = best_of_all(problem)
        for config in METHODS:
            found = allocate(problem, config)
            assert not violations(problem, found.chosen), (seed, config.method)
            assert found.objective == pytest.approx(objective(problem, found.chosen), abs=1e-9)
            assert found.objective <= best + 1e-9, (seed, config.method)
            assert found.upper_bound >= best - 1e-6 * max(1, abs(best)), (seed, config.method)
        assert allocate(problem, EXACT).objective == pytest.approx(best, abs=1e-7), seed


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(METHODS), st.booleans())
def test_no_limit_is_ever_broken(seed, config, whole):
    problem = random_problem(seed, rows=200, people=30, whole=whole)
    found = allocate(problem, config)
    assert violations(problem, found.chosen) == []
    assert found.objective <= found.upper_bound + 1e-6 * max(1, abs(found.upper_bound))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(1, 5), st.integers(0, 2))
def test_more_budget_never_lowers_the_optimum(seed, more, campaign):
    problem = random_problem(seed, rows=60, people=10)
    budget = problem.limits.budget.copy()
    budget[campaign] = budget[campaign] * more + more - 1
    richer = Problem(
        problem.people,
        problem.days,
        problem.channels,
        problem.candidates,
        Limits(**{**vars(problem.limits), "budget": budget}),
        problem.earlier,
    )
    before, after = (allocate(one, EXACT) for one in (problem, richer))
    assert after.lp_optimum >= before.lp_optimum - 1e-7 * max(1, abs(before.lp_optimum))
    assert after.objective >= before.objective - 1e-7 * max(1, abs(before.objective))


@pytest.mark.parametrize("seed", range(5))
def test_with_equal_costs_it_agrees_with_a_min_cost_flow(seed):
    rng = np.random.default_rng(seed)
    people, campaigns = 60, 4
    person, campaign = np.nonzero(rng.random((people, campaigns)) < 0.7)
    value = rng.integers(-20, 200, len(person))
    places = rng.integers(5, 20, campaigns)
    nothing = np.zeros(len(person), np.int64)
    rows = Candidates(person, campaign, nothing, nothing, nothing, value.astype(float), np.full(len(person), 2.0))
    problem = Problem(people, 1, 1, rows, Limits(2.0 * places))
    flow = min_cost_flow.SimpleMinCostFlow()
    source, sink = people + campaigns, people + campaigns + 1
    for one in range(people):
        flow.add_arc_with_capacity_and_unit_cost(source, one, 1, 0)
        flow.add_arc_with_capacity_and_unit_cost(one, sink, 1, 0)
    for one, to, worth in zip(person, campaign, value, strict=True):
        flow.add_arc_with_capacity_and_unit_cost(int(one), people + int(to), 1, -int(worth))
    for one, most in enumerate(places):
        flow.add_arc_with_capacity_and_unit_cost(people + one, sink, int(most), 0)
    flow.set_node_supply(source, people)
    flow.set_node_supply(sink, -people)
    assert flow.solve() == flow.OPTIMAL
    assert allocate(problem, EXACT).value == pytest.approx(-flow.optimal_cost())
    assert allocate(problem, LP).lp_optimum == pytest.approx(-flow.optimal_cost(), rel=1e-6)
    assert allocate(problem, PRICES).value >= 0.97 * -flow.optimal_cost()


@pytest.mark.parametrize(("config", "least"), [(LP, 0.998), (PRICES, 0.995)])
@pytest.mark.parametrize("days", [1, 7])
def test_a_middling_problem_is_solved_close_to_its_bound(config, least, days):
    rng = np.random.default_rng(3)
    people, campaigns = 3000, 5
    person, campaign = np.nonzero(rng.random((people, campaigns)) < 0.6)
    day = rng.integers(0, days, len(person))
    value, cost = rng.lognormal(0, 0.7, len(person)) - 0.3, rng.uniform(0.1, 0.3, len(person))
    budget = 0.15 * np.bincount(campaign, cost)
    zero = np.zeros(len(person), np.int64)
    limits = Limits(budget, even_pacing(budget, np.ones((campaigns, days), bool), 0.3), caps=(ContactCap(1, 3),))
    problem = Problem(people, days, 1, Candidates(person, campaign, zero, day, zero, value, cost), limits)
    found = allocate(problem, config)
    assert violations(problem, found.chosen) == []
    assert found.objective >= least * found.upper_bound


def test_a_price_is_what_a_little_more_of_the_limit_adds():
    for seed in range(60):
        problem = random_problem(seed, rows=60, people=10, reach=False)
        limits = problem.limits
        if not np.isfinite(limits.total_budget):
            continue
        more = Limits(**{**vars(limits), "total_budget": limits.total_budget + 1e-5})
        before, after = (
            allocate(Problem(10, problem.days, problem.channels, problem.candidates, one, problem.earlier), EXACT)
            for one in (limits, more)
        )
        gained = (after.lp_optimum - before.lp_optimum) / 1e-5
        # A price is a subgradient: what the next unit adds is at most the price.
        assert gained <= before.prices.total_budget + 1e-4, seed


def test_a_price_of_a_day_is_what_a_little_more_for_all_campaigns_on_it_adds():
    priced = 0
    for seed in range(120):
        problem = random_problem(seed, rows=60, people=10, reach=False)
        days = problem.limits.total_day_budget
        if days is None or not np.isfinite(days).any():
            continue
        day = int(np.argmax(np.isfinite(days)))
        limits = dataclasses.replace(problem.limits, total_day_budget=days + 1e-5 * (np.arange(len(days)) == day))
        before, after = (allocate(one, EXACT) for one in (problem, dataclasses.replace(problem, limits=limits)))
        gained = (after.lp_optimum - before.lp_optimum) / 1e-5
        assert gained <= before.prices.total_day_budget[day] + 1e-4, seed
        priced += before.prices.total_day_budget[day] > 1e-3
    assert priced > 5


@pytest.mark.parametrize("config", METHODS)
class TestEachLimit:
    def test_the_better_of_two_overlapping_campaigns_is_taken(self, config):
        problem = problem_of((0, 0, 0, 0, 0, 1, 1), (0, 1, 0, 0, 0, 2, 1))
        found = allocate(problem, config)
        assert found.chosen.tolist() == [1]
        assert REASONS[found.reason[0]] == "better_campaign"

    def test_a_budget_of_zero_buys_only_what_is_free(self, config):
        problem = problem_of((0, 0, 0, 0, 0, 5, 1), (1, 0, 0, 0, 0, 1, 0), budget=(0.0, 0.0))
        found = allocate(problem, config)
        assert found.chosen.tolist() == [1]
        assert REASONS[found.reason[0]] == "budget"

    def test_no_candidates_give_an_empty_choice(self, config):
        found = allocate(problem_of(), config)
        assert len(found.chosen) == 0
        assert (found.value, found.upper_bound, found.gap) == (0, 0, 0)
        assert [REASONS[code] for code in person_reasons(problem_of(), found)] == ["no_candidate"] * 3

    def test_people_put_off_by_contact_are_left_alone(self, config):
        problem = problem_of((0, 0, 0, 0, 0, -1, 0), (1, 0, 0, 0, 0, 0, 0))
        found = allocate(problem, config)
        assert len(found.chosen) == 0
        assert [REASONS[code] for code in found.reason] == ["not_worth_it"] * 2

    def test_a_minimum_reach_contacts_the_least_harmed_and_says_so(self, config):
        rows = [(0, 0, 0, 0, 0, -3, 0), (1, 0, 0, 0, 0, -1, 0), (2, 0, 0, 0, 0, 2, 0)]
        members, minimum = csr_matrix([[1, 0], [1, 0], [0, 1]]), np.array([1, 0])
        found = allocate(problem_of(*rows, members=members, minimum_reach=minimum), config)
        assert found.chosen.tolist() == [1, 2]
        assert found.below_zero.tolist() == [1]
        assert found.value == 1
        assert found.missing_reach.tolist() == [0, 0]

    def test_one_contact_counts_in_every_segment_of_the_person(self, config):
        rows = [(0, 0, 0, 0, 0, 1, 1), (1, 0, 0, 0, 0, 9, 1), (2, 0, 0, 0, 0, 8, 1)]
        members = csr_matrix([[1, 1, 1], [1, 0, 0], [0, 1, 0]])
        stated = {"members": members, "minimum_reach": np.array([1, 1, 0])}
        found = allocate(problem_of(*rows, budget=(1.0,), **stated), config)
        assert found.chosen.tolist() == [0]
        assert found.missing_reach.tolist() == [0, 0, 0]
        # With money for two the same is had for more by two people.
        found = allocate(problem_of(*rows, budget=(2.0,), **stated), config)
        assert found.chosen.tolist() == [1, 2]

    def test_a_minimum_that_cannot_be_reached_is_reported(self, config):
        problem = problem_of((0, 0, 0, 0, 0, 1, 1), members=csr_matrix(np.ones((3, 1))), minimum_reach=np.array([3]))
        found = allocate(problem, config)
        assert found.chosen.tolist() == [0]
        assert found.missing_reach.tolist() == [2]

    def test_a_minimum_reach_counts_people_not_contacts(self, config):
        rows = [(0, 0, 0, 0, 0, 5, 1), (0, 0, 0, 1, 0, 5, 1), (1, 0, 0, 0, 0, 1, 1)]
        limited = {"days": 2, "budget": (2.0,), "members": csr_matrix(np.ones((3, 1))), "minimum_reach": np.array([2])}
        found = allocate(problem_of(*rows, **limited), config)
        assert sorted(problem_of(*rows, **limited).candidates.person[found.chosen]) == [0, 1]

    def test_a_window_counts_calendar_days_and_contacts_of_before(self, config):
        rows = [(0, 0, 0, day, 0, 1, 0) for day in range(5)]
        cap = (ContactCap(1, 3),)
        found = allocate(problem_of(*rows, days=5, caps=cap), config)
        assert len(found.chosen) == 2
        found = allocate(problem_of(*rows, days=5, caps=cap, earlier=[(0, -1, 0)]), config)
        assert found.chosen.tolist() in ([2], [3], [4])
        assert REASONS[found.reason[0]] == "person_cap"

    def test_a_cap_of_a_channel_leaves_the_others_free(self, config):
        rows = [(0, 0, 0, day, channel, 1, 0) for day in range(2) for channel in range(2)]
        found = allocate(problem_of(*rows, days=2, channels=2, caps=(ContactCap(1, 7, (0,)),)), config)
        assert len(found.chosen) == 3

    def test_a_cap_of_some_channels_counts_them_together(self, config):
        rows = [(0, 0, 0, 0, channel, 1, 0) for channel in range(3)]
        found = allocate(problem_of(*rows, channels=3, caps=(ContactCap(1, 1, (0, 2)),)), config)
        assert len(found.chosen) == 2
        assert 1 in found.chosen
        earlier = [(0, -1, 2)]
        found = allocate(problem_of(*rows, channels=3, caps=(ContactCap(1, 2, (0, 2)),), earlier=earlier), config)
        assert found.chosen.tolist() == [1]

    def test_stock_goes_to_those_with_the_most_value(self, config):
        rows = [(0, 0, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, 3, 0), (2, 1, 0, 0, 0, 2, 0)]
        found = allocate(problem_of(*rows, stock=np.array([2.0])), config)
        assert found.chosen.tolist() == [1, 2]
        assert REASONS[found.reason[0]] == "stock"

    def test_a_day_budget_moves_people_to_another_day(self, config):
        rows = [(person, 0, 0, day, 0, 2 - day, 1) for person in range(2) for day in range(2)]
        limited = {"days": 2, "caps": (ContactCap(1, 7),), "day_budget": np.ones((2, 2))}
        found = allocate(problem_of(*rows, **limited), config)
        assert found.value == 3
        assert violations(problem_of(*rows, **limited), found.chosen) == []

    def test_it_keeps_the_probability_of_the_offer(self, config):
        problem = problem_of((0, 0, 0, 0, 0, 1, 1), (0, 1, 0, 0, 0, 2, 1))
        found = allocate(problem, config, offered=np.array([0.9, 0.72]))
        np.testing.assert_array_equal(found.propensity, [np.nan, 0.72])

    def test_the_same_problem_has_the_same_choice(self, config):
        problem = random_problem(5, rows=200, people=30)
        np.testing.assert_array_equal(allocate(problem, config).chosen, allocate(problem, config).chosen)


@pytest.mark.parametrize("config", METHODS)
def test_two_good_days_beat_the_best_day_between_them(config):
    # At most one contact in two days: best first takes the middle for 3 and shuts out the 2 + 2 around it.
    rows = [(person, 0, 0, day, 0, value, 0) for person in range(3) for day, value in enumerate((2, 3, 2))]
    found = allocate(problem_of(*rows, days=3, caps=(ContactCap(1, 2),)), config)
    assert found.upper_bound == pytest.approx(12, rel=1e-3)
    assert found.value == 12


def test_contacts_of_negative_value_that_the_reach_does_not_need_are_taken_back():
    rows = [(0, 0, 0, 0, 0, -2, 1), (1, 0, 0, 0, 0, -1, 1), (2, 0, 0, 0, 0, 4, 1)]
    members = csr_matrix(np.ones((3, 1)))
    programme = programme_of(problem_of(*rows, members=members, minimum_reach=np.array([2]), budget=(3.0,)))
    choice = FeasibleChoice(programme)
    choice.fill(np.arange(3), programme.value, programme.value)
    choice.drop_needless()
    assert choice.rows.tolist() == [1, 2]
    assert choice.reached.tolist() == [False, True, True]


def test_whoever_makes_up_for_several_segments_is_asked_first_and_nobody_for_one_that_is_met():
    # Person 2 is in both; with them and one each of the first and the second segment both are met.
    rows = [(person, 0, 0, 0, 0, -1 - person, 0) for person in range(5)]
    members = csr_matrix([[1, 0], [1, 0], [1, 1], [0, 1], [0, 1]])
    programme = programme_of(problem_of(*rows, people=5, members=members, minimum_reach=np.array([2, 2])))
    for price, reached in ((3.0, [0, 2, 3]), (0.0, [0, 1, 2, 3])):
        choice = FeasibleChoice(programme)
        choice.fill_reach(programme.value, np.full(2, price))
        assert choice.rows.tolist() == reached
        assert programme.missing(choice.rows).tolist() == [0, 0]


@pytest.mark.parametrize("config", [LP, PRICES])
def test_a_minimum_reach_of_overlapping_segments_is_met_close_to_the_bound(config):
    rng = np.random.default_rng(11)
    people = 2000
    zero = np.zeros(people, np.int64)
    rows = Candidates(np.arange(people), zero, zero, zero, zero, rng.normal(-1, 1, people), np.ones(people))
    members = csr_matrix((rng.random((people, 4)) < 0.3).astype(float))
    limits = Limits(np.array([700.0]), members=members, minimum_reach=np.array([200, 250, 300, 350]))
    found = allocate(Problem(people, 1, 1, rows, limits), config)
    assert found.missing_reach.tolist() == [0, 0, 0, 0]
    assert found.objective >= found.upper_bound - 0.05 * abs(found.upper_bound)
    # One at a time, each in a segment of their own, they would be 1,100 people.
    assert len(found.chosen) <= 700


def test_a_larger_problem_is_solved_from_a_sample_of_its_people():
    rng = np.random.default_rng(1)
    person, campaign = np.nonzero(rng.random((4000, 4)) < 0.6)
    zero = np.zeros(len(person), np.int64)
    rows = Candidates(
        person, campaign, zero, zero, zero, rng.lognormal(0, 1, len(person)), rng.uniform(1, 2, len(person))
    )
    problem = Problem(4000, 1, 1, rows, Limits(np.array([100.0, 300.0, 500.0, np.inf]), total_budget=3000.0))
    found = allocate(problem, AllocationConfig(method="prices", sample_people=500))
    assert violations(problem, found.chosen) == []
    optimum = allocate(problem, LP).lp_optimum
    assert found.upper_bound >= optimum * (1 - 1e-6)
    assert found.objective >= 0.998 * optimum


def test_every_row_that_is_not_chosen_has_a_reason_that_holds():
    for seed in range(60):
        problem = random_problem(seed, rows=40, people=8, reach=False)
        found = allocate(problem, EXACT)
        for row in np.setdiff1d(np.arange(problem.candidates.rows), found.chosen):
            if REASONS[found.reason[row]] == "not_worth_it":
                assert problem.candidates.value[row] <= 0
            else:
                # What fits and is worth something is always chosen.
                assert violations(problem, np.append(found.chosen, row)), (seed, row)


def test_the_violations_name_each_broken_limit():
    rows = [(0, 0, 0, 0, 0, 1, 3), (0, 1, 0, 0, 0, 1, 3), (0, 1, 0, 1, 0, 1, 3)]
    problem = problem_of(
        *rows, days=2, budget=(2.0, 9.0), day_budget=np.full((2, 2), 2.5), total_budget=8.0,
        total_day_budget=np.array([9.0, 2.0]), caps=(ContactCap(2, 2),), stock=np.array([2.0]),
    )  # fmt: skip
    found = "\n".join(violations(problem, np.arange(3)))
    for part in (
        "budget of campaign 0:",
        "campaign 1 on day 1",
        "total budget:",
        "total budget of day 1",
        "stock of item 0: 3",
        "window_days=1, channels=(0,)",
        "window_days=2",
    ):
        assert part in found
    assert "budget of campaign 1:" not in found
    assert "total budget of day 0" not in found
    assert violations(problem, np.zeros(0, np.int64)) == []


def test_even_pacing_spreads_what_is_left_over_the_days_that_are_left():
    active = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
    found = even_pacing(np.array([10.0, 10.0, 10.0]), active, slack=0.2)
    np.testing.assert_allclose(found, [[6, 6, 0, 0], [3, 3, 3, 3], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": (-1.0, 1.0)}, "budget has a value that is negative"),
        ({"budget": (np.nan, 1.0)}, "budget has a value that is negative or not a number"),
        ({"day_budget": np.ones((2, 3))}, "day_budget has shape"),
        ({"total_day_budget": np.ones(3)}, "total_day_budget has shape"),
        ({"total_day_budget": -np.ones(1)}, "total_day_budget has a value that is negative"),
        ({"minimum_reach": np.array([1])}, r"needs members of shape \(3, 1\)"),
        (
            {"minimum_reach": np.array([1]), "members": csr_matrix([[1], [2], [0]])},
            "members must have each person once",
        ),
        ({"caps": (ContactCap(1, 1, (4,)),)}, "a cap is for channel 4"),
        ({"days": 0}, "day goes from 0 to 0"),
        ({"people": 0}, "person goes from 0 to 0"),
    ],
)
def test_a_problem_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        problem_of((0, 0, 0, 0, 0, 1, 1), **change)

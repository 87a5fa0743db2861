"""Prices of limits against their definition: by how much the optimum rises if a limit is eased by one."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from models_ml.campaigns.allocation import AllocationConfig, allocate
from models_ml.campaigns.allocation_problem import ContactCap, Limits, Problem
from models_ml.campaigns.contact_windows import contact_windows
from tests.unit.campaigns.test_allocation import EXACT, METHODS, objective, problem_of, random_problem

# Problems that are looked at, and the fewest of them in which a limit has to bind for a test to say anything.
SEEDS, FEWEST = range(60), 4


def limited(problem, **changed):
    return dataclasses.replace(problem, limits=Limits(**{**vars(problem.limits), **changed}))


def capped(seed, **options):
    """A random problem with a cap over all channels and one over the first."""
    problem = random_problem(seed, rows=40, people=5, **options)
    rng = np.random.default_rng(seed)
    caps = tuple(ContactCap(int(rng.integers(1, 3)), int(rng.integers(1, 5)), channels) for channels in (None, (0,)))
    return limited(problem, caps=caps)


def eased(problem, position, by=1):
    caps = list(problem.limits.caps)
    caps[position] = dataclasses.replace(caps[position], most=caps[position].most + by)
    return limited(problem, caps=tuple(caps))


def optimum(problem):
    return allocate(problem, EXACT).lp_optimum


@pytest.mark.parametrize("config", METHODS)
def test_a_cap_costs_the_best_contact_that_it_forbids_to_each_of_those_it_binds(config):
    rows = [(0, 0, 0, 0, 0, 5, 1), (0, 0, 0, 1, 0, 3, 1), (0, 0, 0, 2, 0, 2, 1), (1, 1, 0, 0, 0, 9, 1)]
    rows += [(2, 0, 0, 0, 1, 4, 1), (2, 0, 0, 1, 1, 1, 1)]
    problem = problem_of(*rows, days=3, channels=2, caps=(ContactCap(1, 3), ContactCap(1, 3, (1,))))
    overall, of_channel = allocate(problem, config).prices.caps
    assert (overall.people, overall.total, overall.price) == pytest.approx((1, 3, 3))
    # The second cap forbids person 2 what the first forbids too.
    assert (of_channel.people, of_channel.total, of_channel.price) == (0, 0, 0)
    assert allocate(eased(problem, 0), config).value - allocate(problem, config).value == pytest.approx(3)


def test_whom_earlier_contacts_have_used_up_a_cap_is_bound_by_it():
    rows = [(0, 0, 0, 0, 0, 5, 1), (1, 0, 0, 0, 0, 2, 1)]
    problem = problem_of(*rows, earlier=[(0, -1, 0)], caps=(ContactCap(1, 7),))
    (cap,) = allocate(problem, EXACT).prices.caps
    assert (cap.people, cap.total) == pytest.approx((1, 5))


def test_a_contact_that_costs_more_of_a_budget_than_it_is_worth_is_none_that_a_cap_forbids():
    # The money is enough for one contact and best spent on the third person, so that a unit of it is worth 6.
    rows = [(0, 0, 0, 0, 0, 7, 1), (0, 0, 0, 1, 0, 5, 1), (1, 0, 0, 0, 0, 6, 1), (2, 0, 0, 0, 0, 9, 1)]
    problem = problem_of(*rows, days=2, budget=(2.0,), caps=(ContactCap(1, 2),))
    found = allocate(problem, EXACT).prices
    assert 6 - 1e-9 <= found.budget[0] <= 7 + 1e-9
    assert found.caps[0].people == 0


@pytest.mark.parametrize("cap", [0, 1])
def test_without_shared_limits_the_price_of_a_cap_is_what_the_optimum_rises_by(cap):
    bound = 0
    for seed in SEEDS:
        problem = capped(seed, reach=False)
        problem = dataclasses.replace(problem, limits=Limits(np.full(3, np.inf), caps=problem.limits.caps))
        higher = eased(problem, cap)
        if not (contact_windows(problem).laminar and contact_windows(higher).laminar):
            continue
        before, after = allocate(problem, EXACT), allocate(higher, EXACT)
        price = before.prices.caps[cap]
        assert price.total == pytest.approx(after.objective - before.objective, abs=1e-7), seed
        assert price.people * price.price == pytest.approx(price.total)
        bound += price.people > 0
    assert bound >= FEWEST


def test_with_shared_limits_it_is_between_what_the_optimum_rises_and_falls_by():
    """Between the differences to the right and to the left, which are apart where the optimum has a kink."""
    bound = 0
    for seed in SEEDS:
        problem = dataclasses.replace(capped(seed), earlier=None)
        for position in range(len(problem.limits.caps)):
            around = [eased(problem, position, by) for by in (-1, 0, 1)]
            if not all(contact_windows(one).laminar for one in around):
                continue
            lower, here, higher = (optimum(one) for one in around)
            total = allocate(problem, EXACT).prices.caps[position].total
            assert higher - here - 1e-6 <= total <= here - lower + 1e-6, (seed, position)
            bound += total > 1e-6
    assert bound >= FEWEST


def raised(problem, kind, at, by):
    limit = np.array(getattr(problem.limits, kind), float)
    limit[at] += by
    return limited(problem, **{kind: limit.astype(int) if kind == "minimum_reach" else limit})


@pytest.mark.parametrize("kind", ["budget", "day_budget", "total_budget", "total_day_budget", "stock", "minimum_reach"])
def test_the_price_of_a_shared_limit_is_between_what_the_optimum_rises_and_falls_by(kind):
    # Asking for one person less is what eases a minimum reach.
    unit = -1 if kind == "minimum_reach" else 0.125
    bound = 0
    for seed in SEEDS:
        problem = random_problem(seed, rows=60, people=10)
        if getattr(problem.limits, kind) is None or not np.isfinite(getattr(problem.limits, kind)).any():
            continue
        if not problem.candidates.rows:
            continue
        prices = np.asarray(getattr(allocate(problem, EXACT).prices, kind))
        for at in np.ndindex(prices.shape):
            limit = np.asarray(getattr(problem.limits, kind))[at]
            if not np.isfinite(limit) or limit < abs(unit):
                continue
            lower, here, higher = (optimum(raised(problem, kind, at, by)) for by in (-unit, 0, unit))
            price = prices[at] * abs(unit)
            assert price <= here - lower + 1e-6 * max(1, abs(here)), (seed, at)
            # A row dearer than its limit is no part of the programme, and comes in as a budget is raised.
            assert kind.endswith("budget") or higher - here - 1e-6 <= price, (seed, at)
            bound += price > 1e-6
    assert bound >= FEWEST


@pytest.mark.parametrize("config", METHODS)
def test_a_budget_costs_what_the_next_best_contact_is_worth(config):
    rows = [(0, 0, 0, 0, 0, 5, 1), (1, 0, 0, 0, 0, 4, 1), (2, 1, 0, 0, 0, 3, 2)]
    found = allocate(problem_of(*rows, budget=(1.0, 9.0)), config)
    price = found.prices.budget[0]
    assert found.chosen.tolist() == [0, 2]
    assert 4 - 1e-3 <= price <= 5 + 1e-3


def test_a_minimum_reach_costs_what_its_dearest_person_loses():
    rows = [(0, 0, 0, 0, 0, -1, 1), (0, 0, 0, 1, 0, 2, 1), (1, 0, 0, 0, 0, -3, 1)]
    reach = {"members": csr_matrix([[1], [1], [0]]), "minimum_reach": np.array([2])}
    found = allocate(problem_of(*rows, days=2, **reach), EXACT)
    assert found.chosen.tolist() == [1, 2]
    (price,) = found.prices.minimum_reach
    # Just those are asked for whom there are: one less saves 3, and one more would be missed.
    assert 3 - 1e-6 <= price <= 300 + 1e-6


def test_a_sample_stands_for_all():
    rng = np.random.default_rng(5)
    people = 4000
    person = np.repeat(np.arange(people), 2)
    nothing = np.zeros(len(person), np.int64)
    rows = np.column_stack(
        [person, nothing, nothing, np.tile([0, 1], people), nothing, rng.uniform(1, 2, 2 * people), nothing]
    )
    problem = problem_of(*map(tuple, rows), people=people, days=2, caps=(ContactCap(1, 2),))
    (all_of_them,), (sampled,) = (
        allocate(problem, AllocationConfig(method="lp", sample_people=most)).prices.caps for most in (people, 500)
    )
    assert all_of_them.people == sampled.people == people
    # The mean of the lesser of two uniform draws is 4/3, its deviation 0.24.
    assert all_of_them.price == pytest.approx(4 / 3, abs=4 * 0.24 / people**0.5)
    assert sampled.price == pytest.approx(4 / 3, abs=4 * 0.24 / 500**0.5)


def test_nobody_to_contact_binds_no_cap():
    problem = Problem(2, 1, 1, problem_of().candidates, Limits(np.ones(2), caps=(ContactCap(1),)))
    (cap,) = allocate(problem, EXACT).prices.caps
    assert (cap.people, cap.total, cap.price) == (0, 0, 0)
    assert objective(problem, np.zeros(0, np.int64)) == 0

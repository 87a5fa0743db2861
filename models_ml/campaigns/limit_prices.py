"""What each cap of contacts costs: what more would be gained if it alone were eased by one contact.

Holds the prices of limits that are kept person by person. Prices of the shared limits come with their solution
(`linear_programme`, `lagrangian`); here they are given, and each person's best contacts at these prices are compared with and
without the cap eased. By weak duality what all people gain together is at least what the optimum of the whole would rise by;
without shared limits that bind it is just that.

Source: Fisher, "The Lagrangian relaxation method for solving integer programming problems", Management Science 27, 1981.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models_ml.campaigns.allocation_problem import Contacts, Limits, Problem
from models_ml.campaigns.lagrangian import free_choice, lured_rows
from models_ml.campaigns.programme import Prices, affordable, charge_of, programme_of

# Gains below this share of the largest value are rounding.
_LEAST_GAIN = 1e-9


@dataclasses.dataclass(frozen=True)
class CapPrice:
    """What easing a cap by one contact would bring, all else as it is.

    Attributes:
        people: People for whom it binds: whom one more contact would be worth something. Where it was asked of a sample it is
            what the sample stands for.
        total: What it would bring with all of them together.
    """

    people: float
    total: float

    @property
    def price(self) -> float:
        """Mean over the people for whom it binds; 0 if it binds for nobody."""
        return self.total / self.people if self.people else 0.0


def cap_prices(problem: Problem, prices: Prices, sample_people: int, seed: int) -> tuple[CapPrice, ...]:
    """The price of each cap of the problem, in their order.

    A person takes their best contacts one after the other, which is exact where windows of caps are nested or apart.

    Args:
        problem: Candidates and limits.
        prices: Prices of the shared limits.
        sample_people: People with candidates of whom it is asked; of more a random sample of so many, in whose proportion
            people and totals are.
        seed: Of the sample.
    """
    with_rows = np.unique(problem.candidates.person)
    if not len(with_rows):
        return tuple(CapPrice(0.0, 0.0) for _ in problem.limits.caps)
    drawn = with_rows
    if len(with_rows) > sample_people:
        drawn = np.sort(np.random.default_rng(seed).choice(with_rows, sample_people, replace=False))
    stands_for = len(with_rows) / len(drawn)
    alone = _each_alone(problem, prices, drawn)
    now = _worth(alone, prices)
    least = _LEAST_GAIN * float(np.abs(problem.candidates.value).max(initial=0.0))
    found = []
    for eased in _eased(alone):
        gain = _worth(eased, prices) - now
        gain = gain[gain > least]
        found.append(CapPrice(len(gain) * stands_for, float(gain.sum()) * stands_for))
    return tuple(found)


def _each_alone(problem: Problem, prices: Prices, people: NDArray[np.int64]) -> Problem:
    """The problem of some people with prices in the place of shared limits."""
    rows, limits = problem.candidates, problem.limits
    number = np.full(problem.people, -1)
    number[people] = np.arange(len(people))
    rows = rows.take((number[rows.person] >= 0) & affordable(problem, rows))
    rows = dataclasses.replace(
        rows,
        person=number[rows.person],
        value=rows.value - charge_of(problem, rows, prices),
        cost=np.zeros(rows.rows),
    )
    earlier = None
    if problem.earlier is not None:
        known = number[problem.earlier.person] >= 0
        earlier = Contacts(
            number[problem.earlier.person[known]], problem.earlier.day[known], problem.earlier.channel[known]
        )
    free = Limits(
        budget=np.full(problem.campaigns, np.inf),
        caps=limits.caps,
        members=None if limits.members is None else limits.members[people],
        minimum_reach=limits.minimum_reach,
    )
    return dataclasses.replace(problem, people=len(people), candidates=rows, limits=free, earlier=earlier)


def _eased(problem: Problem) -> Iterator[Problem]:
    """The problem with each cap in turn one contact higher."""
    caps = problem.limits.caps
    for position, cap in enumerate(caps):
        higher = dataclasses.replace(cap, most=cap.most + 1)
        limits = dataclasses.replace(problem.limits, caps=(*caps[:position], higher, *caps[position + 1 :]))
        yield dataclasses.replace(problem, limits=limits)


def _worth(problem: Problem, prices: Prices) -> NDArray[np.float64]:
    """What each person's best contacts are worth, the minimum reach at its prices included, shape (people,)."""
    programme = programme_of(problem)
    bonus = programme.bonus(prices)
    chosen = free_choice(programme, programme.value)
    rows = np.append(chosen.rows, lured_rows(programme, programme.value, bonus, chosen.reached))
    worth = np.bincount(programme.person[rows], programme.value[rows], programme.people).astype(float)
    reached = np.unique(programme.person[rows])
    worth[reached] += bonus[reached]
    return worth

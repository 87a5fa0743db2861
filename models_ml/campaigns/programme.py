"""An allocation problem brought into the form in which it is solved.

Holds the rows that can be chosen at all, sorted by person and place, and the shared limits as resources with capacities and prices.
What the solvers of `linear_programme` and `lagrangian` share; neither decides here.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models_ml.campaigns.allocation_problem import TOLERANCE, Candidates, Problem
from models_ml.campaigns.contact_windows import Windows, contact_windows


@dataclasses.dataclass(frozen=True, eq=False)
class Resource:
    """One kind of shared limit.

    Attributes:
        kind: `budget`, `day_budget`, `total_budget`, `total_day_budget` or `stock`.
        index: Which limit of the kind a row uses, shape (rows,), int32.
        amount: How much it uses, same shape.
        capacity: What there is, shape (limits,); the last one is infinite where rows need not use any.
    """

    kind: str
    index: NDArray[np.int32]
    amount: NDArray[np.float64]
    capacity: NDArray[np.float64]

    @property
    def room(self) -> NDArray[np.float64]:
        """Capacity with the room for rounding."""
        return self.capacity + TOLERANCE * np.maximum(1.0, np.where(np.isfinite(self.capacity), self.capacity, 1.0))


@dataclasses.dataclass(frozen=True, eq=False)
class Prices:
    """What one more unit of each shared limit would be worth.

    Attributes:
        of: Price of each limit by kind of resource, >= 0.
        reach: What one person less of the minimum reach would be worth, by segment, in [0, penalty].
    """

    of: dict[str, NDArray[np.float64]]
    reach: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Programme:
    """Rows that can be chosen, and resources.

    Attributes:
        people: Number of people.
        source: Row of the problem of each row, shape (rows,).
        person: Person of each row, ascending, shape (rows,).
        place: Place of each row (`contact_windows`), ascending within a person, same shape.
        value: Value of each row, same shape.
        resources: Shared limits that can bind.
        windows: Limits per person.
        members: 1 where a person is in a segment with a minimum reach, shape (people, segments).
        minimum: Minimum reach, shape (segments,).
        penalty: What a person short of it counts.
    """

    people: int
    source: NDArray[np.int64]
    person: NDArray[np.int64]
    place: NDArray[np.int64]
    value: NDArray[np.float64]
    resources: tuple[Resource, ...]
    windows: Windows
    members: sparse.csr_matrix
    minimum: NDArray[np.float64]
    penalty: float

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.person)

    @property
    def segments(self) -> int:
        """Number of segments."""
        return len(self.minimum)

    @property
    def counts_for_reach(self) -> NDArray[np.bool_]:
        """Whether each person is in a segment with a minimum reach, shape (people,)."""
        return np.asarray(np.diff(self.members.indptr) > 0)

    def no_prices(self) -> Prices:
        """Prices of zero."""
        return Prices({one.kind: np.zeros(len(one.capacity)) for one in self.resources}, np.zeros(self.segments))

    def charge(self, prices: Prices) -> NDArray[np.float64]:
        """What each row takes from the shared limits at their prices, shape (rows,)."""
        charge = np.zeros(self.rows)
        for one in self.resources:
            if prices.of[one.kind].any():
                charge += one.amount * prices.of[one.kind][one.index]
        return charge

    def bonus(self, prices: Prices) -> NDArray[np.float64]:
        """What the first contact of each person adds for the minimum reach, shape (people,)."""
        return np.asarray(self.members @ prices.reach, np.float64)

    def used(self, chosen: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """What chosen rows take of each limit, by kind."""
        return {
            one.kind: np.bincount(one.index[chosen], one.amount[chosen], len(one.capacity)).astype(float)
            for one in self.resources
        }

    def reached(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """People contacted in each segment, shape (segments,)."""
        is_reached = np.zeros(self.people)
        is_reached[self.person[chosen]] = 1.0
        return np.asarray(np.rint(self.members.T @ is_reached), np.int64)

    def missing(self, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """People short of the minimum in each segment, shape (segments,)."""
        return np.maximum(self.minimum - self.reached(chosen), 0)

    def objective(self, chosen: NDArray[np.int64]) -> float:
        """Value less the penalty for people short of the minimum reach."""
        return float(self.value[chosen].sum() - self.penalty * self.missing(chosen).sum())

    def starts(self) -> NDArray[np.int64]:
        """First row of each person who has rows."""
        return np.flatnonzero(np.diff(self.person, prepend=-1))

    def part(self, people: NDArray[np.int64]) -> "Programme":
        """The programme of some people, with capacities and minimum reach in proportion to their number.

        Args:
            people: Ascending indices of people.
        """
        keep = np.zeros(self.people, bool)
        keep[people] = True
        rows = np.flatnonzero(keep[self.person])
        share = len(people) / self.people
        resources = tuple(
            dataclasses.replace(one, index=one.index[rows], amount=one.amount[rows], capacity=one.capacity * share)
            for one in self.resources
        )
        return dataclasses.replace(
            self,
            people=len(people),
            source=self.source[rows],
            person=np.searchsorted(people, self.person[rows]),
            place=self.place[rows],
            value=self.value[rows],
            resources=resources,
            windows=dataclasses.replace(self.windows, left=self.windows.left[:, people]),
            members=self.members[people],
            minimum=self.minimum * share,
        )


def programme_of(problem: Problem) -> Programme:
    """Brings a problem into the form in which it is solved.

    Left out are rows that cannot be chosen (dearer than a limit, in a full window) and rows without value of people who are in no
    segment with a minimum reach.
    """
    limits, rows = problem.limits, problem.candidates
    windows = contact_windows(problem)
    members = sparse.csr_matrix((problem.people, 0))
    if limits.minimum_reach is not None and limits.members is not None:
        members = sparse.csr_matrix(limits.members.multiply(limits.minimum_reach > 0), dtype=np.float64)
        members.eliminate_zeros()
    place = rows.day * problem.channels + rows.channel
    can = (rows.value > 0) | (np.diff(members.indptr) > 0)[rows.person]
    can &= affordable(problem, rows)
    for windows_of in windows.of_place.T:
        can &= windows.left[windows_of[place], rows.person] > 0
    source = np.flatnonzero(can)
    key = rows.person[source] * (problem.days * problem.channels) + place[source]
    if (np.diff(key) < 0).any():
        source = source[np.argsort(key, kind="stable")]
    kept = rows.take(source)
    resources = tuple(one for one in _resources(problem, kept) if _can_bind(one))
    return Programme(
        people=problem.people,
        source=source,
        person=kept.person,
        place=place[source],
        value=kept.value,
        resources=resources,
        windows=windows,
        members=members,
        minimum=np.zeros(0) if limits.minimum_reach is None else limits.minimum_reach.astype(float),
        penalty=problem.reach_penalty,
    )


def affordable(problem: Problem, rows: Candidates) -> NDArray[np.bool_]:
    """Whether each of some rows by itself keeps the shared limits, shape (rows,)."""
    found = np.ones(rows.rows, bool)
    for one in _resources(problem, rows):
        found &= one.amount <= one.room[one.index]
    return found


def charge_of(problem: Problem, rows: Candidates, prices: Prices) -> NDArray[np.float64]:
    """What each of some rows takes from the shared limits at their prices, shape (rows,); limits without a price cost nothing."""
    charge = np.zeros(rows.rows)
    for one in _resources(problem, rows):
        if one.kind in prices.of:
            charge += one.amount * prices.of[one.kind][one.index]
    return charge


def _resources(problem: Problem, rows: Candidates) -> list[Resource]:
    limits = problem.limits
    campaign = rows.campaign.astype(np.int32)
    found = [Resource("budget", campaign, rows.cost, limits.budget)]
    if limits.day_budget is not None:
        place = (rows.campaign * problem.days + rows.day).astype(np.int32)
        found.append(Resource("day_budget", place, rows.cost, limits.day_budget.ravel()))
    if np.isfinite(limits.total_budget):
        total = np.array([limits.total_budget])
        found.append(Resource("total_budget", np.zeros(rows.rows, np.int32), rows.cost, total))
    if limits.total_day_budget is not None:
        found.append(Resource("total_day_budget", rows.day.astype(np.int32), rows.cost, limits.total_day_budget))
    if limits.stock is not None:
        item = np.where(rows.item < 0, len(limits.stock), rows.item).astype(np.int32)
        found.append(Resource("stock", item, np.ones(rows.rows), np.append(limits.stock, np.inf)))
    return found


def _can_bind(one: Resource) -> bool:
    most = np.bincount(one.index, one.amount, len(one.capacity))
    return bool((most > one.capacity).any())

"""Allocation beyond the size of the linear programme: prices of the shared limits, people by themselves.

Holds the Lagrangian dual of the shared limits. At given prices the problem falls apart into people, whose own caps are kept exactly
or bounded from above; so any prices give an upper bound. Prices start from the linear programme of a sample of people (capacities
in proportion), whose error enters the bound in the second order only, and are improved by projected subgradient steps with Polyak's
step length. The feasible choice that goes with them is made by `feasible_choice`.

Source: Fisher, "The Lagrangian relaxation method for solving integer programming problems", Management Science 27, 1981; Polyak,
"Minimization of unsmooth functionals", USSR Computational Mathematics and Mathematical Physics 9, 1969.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from models_ml.campaigns.feasible_choice import FeasibleChoice, priced_choice
from models_ml.campaigns.linear_programme import LinearProgramme
from models_ml.campaigns.programme import Prices, Programme

# People whose bounds are improved together; bounds memory to about 100 bytes x windows x people of a block.
_BLOCK = 50_000
_PERSON_STEPS = 60
_PERSON_GAP = 1e-4
_COMPACT_EVERY = 8
# A step that closes less of the gap than this share is the last.
_LEAST_GAIN = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Dual:
    """The Lagrangian dual at some prices.

    Attributes:
        prices: The prices.
        bound: Upper bound on the objective of every feasible choice.
        slack: Subgradient: what each limit has left when people choose freely at these prices, by kind of resource.
        surplus: The same for the minimum reach: people reached above the minimum, shape (segments,).
        caps_charge: What each row is charged for the person's own caps, shape (rows,); None where the best first is exact.
    """

    prices: Prices
    bound: float
    slack: dict[str, NDArray[np.float64]]
    surplus: NDArray[np.float64]
    caps_charge: NDArray[np.float64] | None


def solve_by_prices(
    programme: Programme, sample_people: int = 20_000, seed: int = 0, steps: int = 8, gap: float = 5e-4
) -> tuple[FeasibleChoice, Dual]:
    """A feasible choice and the best bound found.

    Args:
        programme: Rows and limits.
        sample_people: People in the linear programme that gives the first prices.
        seed: Of the sample.
        steps: Most subgradient steps.
        gap: Relative gap at which it ends.

    Returns:
        The choice with the highest objective and the dual with the lowest bound.
    """
    prices = sample_prices(programme, sample_people, seed)
    dual = lowest = dual_at(programme, prices)
    best = priced_choice(programme, prices, caps_charge=dual.caps_charge)
    value = programme.objective(best.rows)
    scale = 1.0
    for _ in range(steps):
        if lowest.bound - value <= gap * abs(lowest.bound):
            break
        step = _step(programme, dual, value, scale)
        if step is None:
            break
        dual = dual_at(programme, step)
        if dual.bound >= lowest.bound:
            scale /= 2
            dual = lowest
            continue
        gained, lowest = lowest.bound - dual.bound, dual
        choice = priced_choice(programme, dual.prices, caps_charge=dual.caps_charge)
        if (objective := programme.objective(choice.rows)) > value:
            gained, best, value = gained + objective - value, choice, objective
        if gained < _LEAST_GAIN * (lowest.bound - value):
            break
    return best, lowest


def sample_prices(programme: Programme, people: int, seed: int) -> Prices:
    """Prices from the linear programme of a random sample of the people who have rows."""
    with_rows = programme.person[programme.starts()]
    if len(with_rows) <= people:
        drawn = with_rows
        part = programme.part(np.arange(programme.people))
    else:
        drawn = np.sort(np.random.default_rng(seed).choice(with_rows, people, replace=False))
        part = programme.part(drawn)
        # People without rows use nothing, so capacities go in proportion to the people who have some.
        share = len(drawn) / len(with_rows)
        resources = tuple(
            dataclasses.replace(small, capacity=one.capacity * share)
            for small, one in zip(part.resources, programme.resources, strict=True)
        )
        part = dataclasses.replace(part, resources=resources, minimum=programme.minimum * share)
    solution = LinearProgramme(part).solve("ipm")
    return solution.prices if solution.prices is not None else programme.no_prices()


def dual_at(programme: Programme, prices: Prices) -> Dual:
    """The Lagrangian dual at prices of the shared limits.

    Args:
        programme: Rows and limits.
        prices: Prices, >= 0; those of the minimum reach at most the penalty.

    Returns:
        The bound and the subgradient, which is exact where the windows of caps are laminar.
    """
    score = programme.value - programme.charge(prices)
    free = free_choice(programme, score)
    bonus = programme.bonus(prices)
    # Without rows bincount gives integers.
    worth = np.bincount(programme.person[free.rows], score[free.rows], programme.people).astype(float)
    caps_charge = None
    if not programme.windows.laminar:
        worth, caps_charge = _bound_of_people(programme, score, worth)
    worth[free.reached] += bonus[free.reached]
    lured = lured_rows(programme, score, bonus, free.reached)
    worth[programme.person[lured]] = score[lured] + bonus[programme.person[lured]]
    chosen = np.append(free.rows, lured)
    bound = float(worth.sum()) - float(prices.reach @ programme.minimum)
    used = programme.used(chosen)
    slack = {}
    for one in programme.resources:
        priced = prices.of[one.kind] > 0
        bound += float(prices.of[one.kind][priced] @ one.capacity[priced])
        slack[one.kind] = one.capacity - used[one.kind]
    surplus = (programme.reached(chosen) - programme.minimum).astype(float)
    return Dual(prices, bound, slack, surplus, caps_charge)


def free_choice(programme: Programme, score: NDArray[np.float64]) -> FeasibleChoice:
    """The best rows of each person by a score, shape (rows,), that keep the person's caps; shared limits do not count.

    Exact where the windows of caps are laminar.
    """
    free = FeasibleChoice(dataclasses.replace(programme, resources=()))
    free.fill(np.flatnonzero(score > 0), score, score)
    return free


def lured_rows(
    programme: Programme, score: NDArray[np.float64], bonus: NDArray[np.float64], reached: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The best row of each person whom nothing is worth reaching but for the bonus, where that makes up for it.

    Args:
        programme: Rows and limits.
        score: Value after the charge, shape (rows,).
        bonus: What the first contact of each person adds for the minimum reach, shape (people,).
        reached: Who is reached without it, shape (people,).
    """
    starts = programme.starts()
    if not programme.segments or not len(starts):
        return np.zeros(0, np.int64)
    ends = np.append(starts[1:], programme.rows)
    best = np.full(programme.people, -np.inf)
    best[programme.person[starts]] = np.maximum.reduceat(score, starts)
    lured = ~reached & (best + bonus > 0)
    is_best = lured[programme.person] & (score == np.repeat(best[programme.person[starts]], ends - starts))
    rows = np.flatnonzero(is_best)
    return rows[np.diff(programme.person[rows], prepend=-1) > 0]


def _step(programme: Programme, dual: Dual, value: float, scale: float) -> Prices | None:
    """Prices after a projected subgradient step; None at a stationary point.

    Limits are measured in units of their own capacity, so that a small and a large budget move alike.
    """
    directions: dict[str, NDArray[np.float64]] = {}
    units: dict[str, NDArray[np.float64]] = {}
    length = 0.0
    for one in programme.resources:
        price, slack = dual.prices.of[one.kind], dual.slack[one.kind]
        moves = np.isfinite(slack) & ((price > 0) | (slack < 0))
        units[one.kind] = np.where(np.isfinite(one.capacity), np.maximum(one.capacity, 1e-9), 1.0)
        directions[one.kind] = np.where(moves, slack, 0.0) / units[one.kind]
        length += float((directions[one.kind] ** 2).sum())
    reach_unit = np.maximum(programme.minimum, 1).astype(float)
    reach_direction = np.where((dual.prices.reach > 0) | (dual.surplus < 0), dual.surplus, 0.0) / reach_unit
    length += float((reach_direction**2).sum())
    if length == 0 or dual.bound <= value:
        return None
    step = scale * (dual.bound - value) / length
    return Prices(
        {kind: np.maximum(dual.prices.of[kind] - step * way / units[kind], 0.0) for kind, way in directions.items()},
        np.clip(dual.prices.reach - step * reach_direction / reach_unit, 0.0, programme.penalty),
    )


def _bound_of_people(
    programme: Programme, score: NDArray[np.float64], lower: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Upper bound on what each person's contacts can be worth, where taking the best first need not be exact.

    The windows get prices per person: what places are worth above the prices of their windows, and the contacts left at these
    prices, together bound the worth. They start at zero and follow Polyak's steps towards the worth of the greedy choice.

    Args:
        programme: Rows and limits.
        score: Value after the charge, shape (rows,).
        lower: Worth of a feasible choice of each person, shape (people,).

    Returns:
        The bounds, shape (people,), at least `lower`, and what each row is charged for its windows, shape (rows,).
    """
    bound, charge = np.zeros(programme.people), np.zeros(programme.rows)
    good = np.flatnonzero(score > 0)
    if not len(good):
        return bound, charge
    places = len(programme.windows.of_place)
    key = programme.person[good] * places + programme.place[good]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    best = np.maximum.reduceat(score[good], starts)
    person, place = np.divmod(key[starts], places)
    bound += np.bincount(person, best, programme.people)
    # The caps leave room for all that is good in most people: nothing to improve there.
    open_people = np.flatnonzero(bound > lower * (1 + _PERSON_GAP))
    for first in range(0, len(open_people), _BLOCK):
        block = open_people[first : first + _BLOCK]
        cells = slice(*np.searchsorted(person, [block[0], block[-1] + 1]))
        found, prices = _priced_windows(programme, block, person[cells], place[cells], best[cells], lower[block])
        bound[block] = np.minimum(bound[block], found)
        rows = np.arange(*np.searchsorted(programme.person, [block[0], block[-1] + 1]))
        number = np.searchsorted(block, programme.person[rows])
        own = block[np.minimum(number, len(block) - 1)] == programme.person[rows]
        rows, number = rows[own], number[own]
        for of in programme.windows.of_place.T:
            charge[rows] += prices[of[programme.place[rows]], number]
    return np.maximum(bound, lower), charge


def _priced_windows(
    programme: Programme,
    people: NDArray[np.int64],
    person: NDArray[np.int64],
    place: NDArray[np.int64],
    best: NDArray[np.float64],
    lower: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest bound found for each of some people, and the prices of windows (windows + 1, people) that it was found at.

    `person`, `place` and `best` are the places worth something, of these and of other people.
    """
    left = programme.windows.left[:, people].astype(float)
    lowest, lowest_prices = np.full(len(people), np.inf), np.zeros(left.shape)
    prices = np.zeros(left.shape)
    going = np.arange(len(people))
    for step_number in range(_PERSON_STEPS):
        if step_number % _COMPACT_EVERY == 0:
            still = lowest[going] > lower[going] * (1 + _PERSON_GAP)
            going, prices = going[still], prices[:, still]
            if not len(going):
                break
            room, floor = left[:, going], lower[going]
            number = np.minimum(np.searchsorted(people[going], person), len(going) - 1)
            own = people[going][number] == person
            number, worth = number[own], best[own]
            windows = programme.windows.of_place[place[own]].T
        above = worth - sum((prices[of, number] for of in windows), start=np.zeros(len(worth)))
        taken = above > 0
        bound = np.bincount(number, np.maximum(above, 0.0), len(going)) + (prices * room).sum(axis=0)
        lower_than_before = bound < lowest[going]
        improved = going[lower_than_before]
        lowest[improved], lowest_prices[:, improved] = bound[lower_than_before], prices[:, lower_than_before]
        slack = room.copy()
        for of in windows:
            flat = np.bincount(of[taken] * len(going) + number[taken], minlength=slack.size)
            slack -= flat.reshape(slack.shape)
        slack[-1] = 0.0
        slack[(prices == 0) & (slack > 0)] = 0.0
        length = (slack**2).sum(axis=0)
        step = np.divide(np.maximum(bound - floor, 0.0), length, out=np.zeros(len(going)), where=length > 0)
        prices = np.maximum(prices - step * slack, 0.0)
    return lowest, lowest_prices

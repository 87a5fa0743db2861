"""Who gets which campaign and item, on which day and channel.

Holds the choice of the method, its result, and the reason for every row and person not chosen. The problem is in
`allocation_problem`, the check of a result in `violations`; who may be a candidate is decided by `eligibility` and `holdout`.
"""

import dataclasses
import time

import numpy as np
from numpy.typing import NDArray

from models_ml.campaigns.allocation_problem import Problem
from models_ml.campaigns.feasible_choice import FeasibleChoice, priced_choice
from models_ml.campaigns.lagrangian import dual_at, solve_by_prices
from models_ml.campaigns.limit_prices import CapPrice, cap_prices
from models_ml.campaigns.linear_programme import LinearProgramme
from models_ml.campaigns.programme import Prices, Programme, programme_of

CHOSEN = "chosen"
NOT_WORTH_IT = "not_worth_it"
PERSON_CAP = "person_cap"
BETTER_CAMPAIGN = "better_campaign"
BETTER_ITEM = "better_item"
BUDGET = "budget"
DAY_BUDGET = "day_budget"
TOTAL_BUDGET = "total_budget"
STOCK = "stock"
NO_CANDIDATE = "no_candidate"
# Code of each reason in `Allocation.reason`.
REASONS = (
    CHOSEN,
    NOT_WORTH_IT,
    PERSON_CAP,
    BETTER_CAMPAIGN,
    BETTER_ITEM,
    BUDGET,
    DAY_BUDGET,
    TOTAL_BUDGET,
    STOCK,
    NO_CANDIDATE,
)

METHODS = ("auto", "exact", "lp", "prices")


@dataclasses.dataclass(frozen=True)
class AllocationConfig:
    """How an allocation is solved.

    Attributes:
        method: `exact` (mixed-integer), `lp` (linear programme, made feasible), `prices` (Lagrangian), or `auto`: the first of
            these that the number of rows allows.
        most_rows_exact: Rows up to which `auto` solves exactly.
        most_rows_lp: Rows up to which `auto` solves the linear programme.
        seconds: Time limit of each call of HiGHS.
        sample_people: People of the sample that gives the first prices.
        steps: Most subgradient steps.
        gap: Relative gap at which `prices` ends.
        seed: Of the sample.
    """

    method: str = "auto"
    most_rows_exact: int = 2_000
    most_rows_lp: int = 300_000
    seconds: float = 60.0
    sample_people: int = 20_000
    steps: int = 8
    gap: float = 5e-4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"the method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.sample_people < 1 or self.steps < 0 or not self.seconds > 0:
            raise ValueError("sample_people and seconds must be positive and steps at least 0")


@dataclasses.dataclass(frozen=True, eq=False)
class ShadowPrices:
    """What one more unit of each limit would add to the objective; 0 where a limit does not bind.

    Attributes:
        budget: Per unit of money of each campaign's budget, shape (campaigns,).
        day_budget: The same by day, shape (campaigns, days); None without day budgets.
        total_budget: Per unit of money of the budget of all campaigns.
        total_day_budget: The same on each day, shape (days,); None without that limit.
        stock: Per piece of each item, shape (items,); None without stock.
        minimum_reach: What asking one person less would save, shape (segments,); None without a minimum.
        caps: Per contact more in the windows of each cap of `Limits.caps`, in their order.
    """

    budget: NDArray[np.float64]
    day_budget: NDArray[np.float64] | None
    total_budget: float
    total_day_budget: NDArray[np.float64] | None
    stock: NDArray[np.float64] | None
    minimum_reach: NDArray[np.float64] | None
    caps: tuple[CapPrice, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Allocation:
    """A feasible choice, how good it is, and why the rest was not chosen.

    Attributes:
        chosen: Indices of the chosen candidate rows, ascending.
        value: Expected incremental value of the chosen rows.
        cost: Their cost.
        objective: Value less the penalty for people short of the minimum reach.
        upper_bound: No feasible choice has a higher objective: optimum of the linear programme, proven bound of the mixed-integer
            programme, or Lagrangian dual.
        lp_optimum: Optimum of the linear programme; None where it was not solved.
        prices: Shadow price of every limit.
        missing_reach: People short of the minimum in each segment, shape (segments,); empty without a minimum.
        below_zero: Chosen rows of negative value, which only a minimum reach can bring about.
        reason: Index into `REASONS` of every candidate row, shape (rows,), int8.
        propensity: Probability of each row of being offered, before the choice, shape (rows,); NaN for rows not chosen.
        method: `exact`, `lp` or `prices`.
        seconds: Wall time.
    """

    chosen: NDArray[np.int64]
    value: float
    cost: float
    objective: float
    upper_bound: float
    lp_optimum: float | None
    prices: ShadowPrices
    missing_reach: NDArray[np.int64]
    below_zero: NDArray[np.int64]
    reason: NDArray[np.int8]
    propensity: NDArray[np.float64]
    method: str
    seconds: float

    @property
    def gap(self) -> float:
        """Relative distance of the objective from the upper bound, >= 0."""
        return max(self.upper_bound - self.objective, 0.0) / max(abs(self.upper_bound), 1e-12)


def allocate(
    problem: Problem, config: AllocationConfig | None = None, offered: NDArray[np.float64] | None = None
) -> Allocation:
    """Chooses the rows with the highest total expected incremental value that keep all limits.

    Rows of negative value are chosen only where a minimum reach cannot be met without them, and reported. Memory: about 200 bytes a
    candidate row and 2 bytes x windows x people; time: 1M people with 5M rows and one contact each in about 10 seconds.

    Args:
        problem: Candidates and limits.
        config: How it is solved.
        offered: Probability with which randomisation (holdout, exploration) lets each row be a candidate, shape (rows,); see
            `holdout.offer_probability`. None is 1.

    Returns:
        The choice. With the same arguments the same choice, as long as no time limit cuts in.

    Raises:
        ValueError: If a probability is not in (0, 1].
    """
    started = time.perf_counter()
    config = config or AllocationConfig()
    rows = problem.candidates
    if offered is not None and (offered.shape != (rows.rows,) or not ((offered > 0) & (offered <= 1)).all()):
        raise ValueError(
            f"offered must hold a probability above 0 and at most 1 for each of the {rows.rows} candidates"
        )
    programme = programme_of(problem)
    method = config.method
    if method == "auto":
        exact, linear = programme.rows <= config.most_rows_exact, programme.rows <= config.most_rows_lp
        method = "exact" if exact else "lp" if linear else "prices"
    choice, prices, bound, optimum = _solve(programme, method, config)
    order = np.argsort(programme.source[choice.rows])
    chosen = programme.source[choice.rows][order]
    propensity = np.full(rows.rows, np.nan)
    propensity[chosen] = 1.0 if offered is None else offered[chosen]
    value = float(rows.value[chosen].sum())
    missing = programme.missing(choice.rows)
    return Allocation(
        chosen=chosen,
        value=value,
        cost=float(rows.cost[chosen].sum()),
        objective=value - programme.penalty * float(missing.sum()),
        upper_bound=bound,
        lp_optimum=optimum,
        prices=_shadow_prices(problem, prices, config),
        missing_reach=missing.astype(np.int64),
        below_zero=chosen[rows.value[chosen] < 0],
        reason=_reasons(problem, programme, choice, prices),
        propensity=propensity,
        method=method,
        seconds=time.perf_counter() - started,
    )


def person_reasons(problem: Problem, allocation: Allocation) -> NDArray[np.int8]:
    """Why each person gets nothing: the reason of the person's row of highest value.

    Returns:
        Index into `REASONS` for each person, shape (people,), int8: `chosen` if any row of the person is chosen, `no_candidate`
        without rows.
    """
    rows = problem.candidates
    reason = np.full(problem.people, REASONS.index(NO_CANDIDATE), np.int8)
    order = np.argsort(rows.value, kind="stable")
    reason[rows.person[order]] = allocation.reason[order]
    reason[rows.person[allocation.chosen]] = REASONS.index(CHOSEN)
    return reason


def _solve(
    programme: Programme, method: str, config: AllocationConfig
) -> tuple[FeasibleChoice, Prices, float, float | None]:
    """The choice, prices, an upper bound and the optimum of the linear programme."""
    if not programme.rows:
        choice = FeasibleChoice(programme)
        bound = programme.objective(choice.rows)
        # Whoever cannot be reached would be missed no more.
        reach = np.where(programme.minimum > 0, programme.penalty, 0.0)
        return choice, dataclasses.replace(programme.no_prices(), reach=reach), bound, bound
    if method == "prices":
        choice, dual = solve_by_prices(programme, config.sample_people, config.seed, config.steps, config.gap)
        return choice, dual.prices, dual.bound, None
    linear = LinearProgramme(programme)
    solution = linear.solve("simplex" if method == "exact" else "ipm", config.seconds)
    prices = solution.prices or programme.no_prices()
    if not solution.proven:
        choice = priced_choice(programme, prices)
        return choice, prices, dual_at(programme, prices).bound, None
    if method == "lp":
        choices = [priced_choice(programme, prices, solution.share), priced_choice(programme, prices)]
        choice = max(choices, key=lambda one: programme.objective(one.rows))
        return choice, prices, max(solution.optimum, programme.objective(choice.rows)), solution.optimum
    bound = solution.optimum
    if not solution.is_integral:
        whole = linear.solve("mip", config.seconds)
        bound = min(bound, whole.optimum)
        share = whole.share
    else:
        share = solution.share
    choice = FeasibleChoice(programme)
    # Row by row, because the solver's tolerance is wider than that of the limits.
    choice.fill(np.flatnonzero(share > 0.5), programme.value, programme.value)
    choice.drop_needless()
    fallback = priced_choice(programme, prices)
    if programme.objective(fallback.rows) > programme.objective(choice.rows):
        choice = fallback
    return choice, prices, max(bound, programme.objective(choice.rows)), solution.optimum


def _shadow_prices(problem: Problem, prices: Prices, config: AllocationConfig) -> ShadowPrices:
    limits = problem.limits
    budget = prices.of.get("budget", np.zeros(problem.campaigns))
    day_budget = prices.of.get("day_budget", np.zeros(problem.campaigns * problem.days))
    stock = None
    if limits.stock is not None:
        stock = prices.of.get("stock", np.zeros(len(limits.stock) + 1))[:-1]
    return ShadowPrices(
        budget=budget,
        day_budget=None if limits.day_budget is None else day_budget.reshape(problem.campaigns, problem.days),
        total_budget=float(prices.of.get("total_budget", np.zeros(1))[0]),
        total_day_budget=None
        if limits.total_day_budget is None
        else prices.of.get("total_day_budget", np.zeros(problem.days)),
        stock=stock,
        minimum_reach=None if limits.minimum_reach is None else prices.reach,
        caps=cap_prices(problem, prices, config.sample_people, config.seed),
    )


def _reasons(problem: Problem, programme: Programme, choice: FeasibleChoice, prices: Prices) -> NDArray[np.int8]:
    """The reason of every candidate row: the first that applies, from the person outwards to the shared limits."""
    rows, limits = problem.candidates, problem.limits
    chosen = programme.source[choice.rows]
    places = problem.days * problem.channels
    place = rows.day * problem.channels + rows.channel
    # Campaign chosen for the person in the place, -1 for none.
    key = rows.person * places + place
    order = chosen[np.argsort(key[chosen])]
    taken = np.append(key[order], -1)
    at = np.searchsorted(taken[:-1], key)
    is_taken = taken[at] == key
    other = np.append(rows.campaign[order], -1)[at]
    capped = np.zeros(rows.rows, bool)
    for windows_of in programme.windows.of_place.T:
        capped |= choice.contacts_left[windows_of[place], rows.person] <= 0
    spent = np.bincount(rows.campaign[chosen], rows.cost[chosen], problem.campaigns)
    over: dict[str, NDArray[np.bool_]] = {BUDGET: rows.cost > (limits.budget - spent)[rows.campaign]}
    charges: dict[str, NDArray[np.float64]] = {}
    if "budget" in prices.of:
        charges[BUDGET] = rows.cost * prices.of["budget"][rows.campaign]
    if limits.day_budget is not None:
        cell = rows.campaign * problem.days + rows.day
        left = limits.day_budget.ravel() - np.bincount(cell[chosen], rows.cost[chosen], limits.day_budget.size)
        over[DAY_BUDGET] = rows.cost > left[cell]
        if "day_budget" in prices.of:
            charges[DAY_BUDGET] = rows.cost * prices.of["day_budget"][cell]
    over[TOTAL_BUDGET] = rows.cost > limits.total_budget - spent.sum()
    if "total_budget" in prices.of:
        charges[TOTAL_BUDGET] = rows.cost * prices.of["total_budget"][0]
    if limits.total_day_budget is not None:
        left = limits.total_day_budget - np.bincount(rows.day[chosen], rows.cost[chosen], problem.days)
        over[TOTAL_BUDGET] |= rows.cost > left[rows.day]
        if "total_day_budget" in prices.of:
            charge = rows.cost * prices.of["total_day_budget"][rows.day]
            charges[TOTAL_BUDGET] = charges.get(TOTAL_BUDGET, 0.0) + charge
    if limits.stock is not None:
        item = np.where(rows.item < 0, len(limits.stock), rows.item)
        stock = np.append(limits.stock, np.inf)
        over[STOCK] = (stock - np.bincount(item[chosen], minlength=len(stock)))[item] < 1
        if "stock" in prices.of:
            charges[STOCK] = prices.of["stock"][item]
    # What fits and is worth it but was left: the limit that it would be charged most for.
    reason = np.full(rows.rows, REASONS.index(BUDGET), np.int8)
    dearest = np.zeros(rows.rows)
    for name, charge in charges.items():
        reason[charge > dearest] = REASONS.index(name)
        dearest = np.maximum(dearest, charge)
    for name in (TOTAL_BUDGET, STOCK, DAY_BUDGET, BUDGET):
        if name in over:
            reason[over[name]] = REASONS.index(name)
    reason[capped] = REASONS.index(PERSON_CAP)
    reason[is_taken & (other != rows.campaign)] = REASONS.index(BETTER_CAMPAIGN)
    reason[is_taken & (other == rows.campaign)] = REASONS.index(BETTER_ITEM)
    reason[rows.value <= 0] = REASONS.index(NOT_WORTH_IT)
    reason[chosen] = REASONS.index(CHOSEN)
    return reason

"""A check of a choice against every limit, written without anything of the solvers.

Holds one function that counts from the rows alone, in the plainest way. Whether a choice is good is left to `allocation`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_ml.campaigns.allocation_problem import TOLERANCE, ContactCap, Problem


def violations(problem: Problem, chosen: NDArray[Any]) -> list[str]:
    """Every limit that a choice breaks, in words; a missed minimum reach is soft and not among them.

    Earlier contacts that break a cap by themselves are no fault of a choice; a chosen contact in such a window is.

    Args:
        problem: The problem.
        chosen: Indices of the chosen candidate rows.

    Returns:
        One line per broken limit; empty if all are kept.
    """
    rows, limits = problem.candidates.take(chosen), problem.limits
    found = []
    if len(np.unique(chosen)) != len(chosen):
        found.append("a row is chosen twice")
    for campaign in np.unique(rows.campaign):
        of = rows.campaign == campaign
        found += _money(f"budget of campaign {campaign}", rows.cost[of], limits.budget[campaign])
        if limits.day_budget is not None:
            for day in np.unique(rows.day[of]):
                limit = limits.day_budget[campaign, day]
                found += _money(f"budget of campaign {campaign} on day {day}", rows.cost[of & (rows.day == day)], limit)
    found += _money("total budget", rows.cost, limits.total_budget)
    if limits.total_day_budget is not None:
        for day in range(problem.days):
            found += _money(f"total budget of day {day}", rows.cost[rows.day == day], limits.total_day_budget[day])
    if limits.stock is not None:
        items, counts = np.unique(rows.item[rows.item >= 0], return_counts=True)
        out = counts > limits.stock[items]
        found += [f"stock of item {item}: {count}" for item, count in zip(items[out], counts[out], strict=True)]
    person, day, channel = rows.person, rows.day, rows.channel
    is_new = np.ones(len(person), bool)
    if problem.earlier is not None:
        person = np.concatenate([person, problem.earlier.person])
        day = np.concatenate([day, problem.earlier.day])
        channel = np.concatenate([channel, problem.earlier.channel])
        is_new = np.concatenate([is_new, np.zeros(len(problem.earlier.person), bool)])
    once_a_day = (ContactCap(1, 1, (channel_of,)) for channel_of in range(problem.channels))
    for cap in (*limits.caps, *once_a_day):
        for first in range(1 - cap.window_days, problem.days):
            inside = (day >= first) & (day < first + cap.window_days)
            if cap.channels is not None:
                inside &= np.isin(channel, cap.channels)
            total = np.bincount(person[inside], minlength=problem.people)
            new = np.bincount(person[inside & is_new], minlength=problem.people)
            over = np.flatnonzero((total > cap.most) & (new > 0))
            if len(over):
                found.append(f"{cap} from day {first} on: {len(over)} people, for instance person {over[0]}")
    return found


def _money(name: str, costs: NDArray[np.float64], limit: float) -> list[str]:
    cost = float(costs.sum())
    return [f"{name}: {cost} of {limit}"] if cost > limit + TOLERANCE * max(1.0, limit) else []

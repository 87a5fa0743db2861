"""A plan over days of which only the first are carried out.

Holds what makes an allocation problem of pairs of person and campaign: the money for each day, the pairs that are worth looking
at, their days, and the preference for an early day. Solving is left to `allocation`; which days are free is decided by the caller.
"""

import numpy as np
from numpy.typing import NDArray

from models_ml.campaigns.allocation_problem import even_pacing

# What a contact keeps of its value for each day that it is put off. A plan whose later days may still change would otherwise put
# contacts off for ever, because all of its days are worth the same.
KEPT_PER_DAY = 0.99

Ints = NDArray[np.integer]
Floats = NDArray[np.float64]


def put_off(value: Floats, day: Ints) -> Floats:
    """What contacts are worth on the day that they are put off to: an earlier day is always the better one.

    A contact that is worth having loses by waiting. One that costs more than it brings, made for a minimum reach alone, costs the
    more the longer it waits: else each new plan would push it to its own last day. What is worth nothing counts for this as a
    thousandth of the largest, from the first day on, so that nobody is contacted for nothing.

    Args:
        value: Value after cost, shape (rows,).
        day: Days that each contact waits, from 0, same shape.

    Returns:
        Shape (rows,); falls from day to day.
    """
    least = 1e-3 * (float(np.abs(value).max(initial=0.0)) or 1.0)
    waits = np.where(value > 0, value, np.maximum(-value, least))
    return np.asarray(value - waits * (1 - KEPT_PER_DAY ** (day + (value == 0))), np.float64)


def day_budgets(budget: Floats, cost: Floats, days_left: Ints, active: NDArray[np.bool_], slack: float = 0.2) -> Floats:
    """What each campaign may spend on each day of the plan, if its money is to last until its own last day.

    Args:
        budget: What each campaign may still spend, shape (campaigns,).
        cost: Cost of a contact, shape (campaigns,). A day may always cost one contact: where even shares are below it, a
            campaign would otherwise never spend anything.
        days_left: Days on which the campaign may still contact, those after the plan included, shape (campaigns,).
        active: Whether it may on each day of the plan, shape (campaigns, days).
        slack: How much more than an even share a day may cost, >= 0.

    Returns:
        Shape (campaigns, days); 0 on days on which a campaign may not contact.
    """
    later = np.maximum(days_left - active.sum(axis=1), 0)
    horizon = np.arange(int(later.max(initial=0)))
    paced = even_pacing(budget, np.hstack([active, horizon < later[:, None]]), slack)[:, : active.shape[1]]
    return np.where(active, np.maximum(paced, np.minimum(cost, budget)[:, None]), 0.0)


def total_day_budgets(
    amount: float, window_days: int, spent: Floats, free: NDArray[np.bool_], least: float, slack: float = 0.2
) -> Floats:
    """What all campaigns together may spend on each day of the plan, if no window of days may cost more than an amount.

    A day may cost an even share of the amount and some more, as far as all windows that hold it have room, with what is settled and
    what is allowed on the days before it. So the amount is used all the time, and not at once and then no more for a window.

    Args:
        amount: Most that any `window_days` days in a row may cost.
        window_days: Calendar days of a window, >= 1.
        spent: Cost of what is settled on each of the `window_days` - 1 days before the plan and on its days, ascending, shape
            (window_days - 1 + days,).
        free: Whether a day of the plan is still open, shape (days,).
        least: What a day may always cost if the window has room: where even shares are below a contact, nothing would ever be
            spent.
        slack: How much more than an even share a day may cost, >= 0.

    Returns:
        Shape (days,); 0 on days that are not open.
    """
    taken = np.array(spent, np.float64)
    allowed = np.zeros(len(free))
    for day in map(int, np.flatnonzero(free)):
        windows = [taken[end : end + window_days].sum() for end in range(day, min(day + window_days, len(free)))]
        room = amount - max(windows)
        allowed[day] = max(min(room, max((1 + slack) * amount / window_days, least)), 0.0)
        taken[day + window_days - 1] += allowed[day]
    return allowed


def within_reach(
    campaign: Ints, value: Floats, payable: Floats, most_rows: int, days: Ints, spare: float = 4.0
) -> NDArray[np.bool_]:
    """Which pairs a plan looks at: all of them if they are few, else those that its money could come to.

    Args:
        campaign: Campaign of each pair, shape (pairs,).
        value: Value of each pair, same shape.
        payable: Contacts that each campaign can pay for during the plan, shape (campaigns,); infinite if they cost nothing.
        most_rows: Rows (pairs times days) up to which all are looked at.
        days: Days of each campaign in the plan, shape (campaigns,).
        spare: How many times more pairs than contacts that can be paid for. Caps and limits that all campaigns share can only
            take a part of the best ones away.

    Returns:
        Shape (pairs,).
    """
    if int(days[campaign].sum()) <= most_rows:
        return np.ones(len(campaign), bool)
    kept = np.zeros(len(campaign), bool)
    for one, contacts in enumerate(payable):
        of = np.flatnonzero(campaign == one)
        most = min(float(len(of)), np.ceil(contacts * spare))
        kept[of[np.argsort(-value[of], kind="stable")[: int(most)]]] = True
    return kept


def days_of_pairs(
    person: Ints, campaign: Ints, active: NDArray[np.bool_], first_ordinal: int, most_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The days on which each pair is looked at: all of its campaign's, or a part of them in turn where there are too many rows.

    Args:
        person: Number of each pair's person, shape (pairs,).
        campaign: Campaign of each pair, same shape.
        active: Whether a campaign may contact on each day of the plan, shape (campaigns, days).
        first_ordinal: Number of the plan's first day in a calendar, so that everybody has a turn as plans roll on.
        most_rows: Most rows, about.

    Returns:
        Index of the pair and the day of each row, ascending by pair, both of shape (rows,).
    """
    rows = int(active.sum(axis=1)[campaign].sum())
    turns = max(1, -(-rows // most_rows))
    pairs, days = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for day in range(active.shape[1]):
        at = np.flatnonzero(active[campaign, day] & ((person + first_ordinal + day) % turns == 0))
        pairs.append(at)
        days.append(np.full(len(at), day, np.int64))
    pair, day_of = np.concatenate(pairs), np.concatenate(days)
    order = np.argsort(pair, kind="stable")
    return pair[order], day_of[order]

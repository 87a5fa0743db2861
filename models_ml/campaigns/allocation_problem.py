"""The allocation problem: who may be given what, what it is worth, and the limits.

Holds the arrays of a problem, their checks, and even pacing of a budget over days. Who is eligible is decided before
(`eligibility`, `holdout`): only rows that may be chosen are given. Solving is left to `allocation`, checking a choice to
`violations`.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

NO_ITEM = -1
# Relative room within which a limit counts as kept: sums of money in another order differ by less.
TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """Contacts that may be chosen; all arrays have shape (rows,).

    Attributes:
        person: Index of the person.
        campaign: Index of the campaign.
        item: Index of the item shown, `NO_ITEM` for none.
        day: Calendar day in the person's time zone, counted from the first day of the plan, 0 to days - 1.
        channel: Index of the channel, or of anything finer that a cap is for, such as campaign and channel.
        value: Expected incremental value of the contact in money; negative for people whom contact puts off.
        cost: Cost of the contact in money, >= 0.
    """

    person: NDArray[np.int64]
    campaign: NDArray[np.int64]
    item: NDArray[np.int64]
    day: NDArray[np.int64]
    channel: NDArray[np.int64]
    value: NDArray[np.float64]
    cost: NDArray[np.float64]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.person)

    def take(self, rows: NDArray[Any]) -> "Candidates":
        """The rows of an index or a mask, in its order."""
        return Candidates(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


@dataclasses.dataclass(frozen=True, eq=False)
class Contacts:
    """Contacts that are already made or promised; they count against the caps. All arrays have shape (contacts,).

    Attributes:
        person: Index of the person.
        day: Calendar day, counted from the first day of the plan; negative before it.
        channel: Index of the channel.
    """

    person: NDArray[np.int64]
    day: NDArray[np.int64]
    channel: NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class ContactCap:
    """At most so many contacts of a person in any window of calendar days.

    Attributes:
        most: Largest number of contacts, >= 0.
        window_days: Length of the window, >= 1.
        channels: Channels whose contacts count together; None counts those of all channels.
    """

    most: int
    window_days: int = 1
    channels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.most < 0 or self.window_days < 1:
            raise ValueError(
                f"a cap needs at least 0 contacts in a window of at least 1 day, got {self.most} in {self.window_days} days"
            )

    def covers(self, channel: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether contacts by each of these channels count, same shape."""
        return np.ones(channel.shape, bool) if self.channels is None else np.isin(channel, self.channels)


@dataclasses.dataclass(frozen=True, eq=False)
class Limits:
    """What a choice must keep. Money and counts without a limit are infinite.

    At most one contact per person, day and channel, earlier ones included, holds always and is not stated here.

    Attributes:
        budget: Most that each campaign may cost, shape (campaigns,).
        day_budget: Most that each campaign may cost on each day, shape (campaigns, days); None for no such limit.
        total_budget: Most that all campaigns may cost together.
        total_day_budget: Most that all campaigns may cost together on each day, shape (days,); None for no such limit.
        caps: Caps of contacts per person.
        stock: Most contacts with each item, shape (items,); None for no such limit. A second contact of the same person with the
            same item takes a second piece, so that never more people than pieces are reached.
        members: 1 where a person is in a segment, shape (people, segments); needed with `minimum_reach`.
        minimum_reach: Least number of different people to be contacted in each segment, shape (segments,); a person counts in
            all of theirs. It is soft: what cannot be reached is reported, not raised.
        reach_penalty: What a person short of the minimum counts in money; None is 100 times the largest absolute value of a row.
    """

    budget: NDArray[np.float64]
    day_budget: NDArray[np.float64] | None = None
    total_budget: float = np.inf
    total_day_budget: NDArray[np.float64] | None = None
    caps: tuple[ContactCap, ...] = ()
    stock: NDArray[np.float64] | None = None
    members: sparse.csr_matrix | None = None
    minimum_reach: NDArray[np.int64] | None = None
    reach_penalty: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """Candidates with their limits.

    Attributes:
        people: Number of people.
        days: Number of days of the plan.
        channels: Number of channels.
        candidates: What may be chosen.
        limits: What must be kept.
        earlier: Contacts that count against the caps already.

    Raises:
        ValueError: If shapes do not fit, an index is out of range, a value or cost is not finite, or a cost or limit is negative.
    """

    people: int
    days: int
    channels: int
    candidates: Candidates
    limits: Limits
    earlier: Contacts | None = None

    def __post_init__(self) -> None:
        rows, limits = self.candidates, self.limits
        for field in dataclasses.fields(rows):
            if getattr(rows, field.name).shape != (rows.rows,):
                raise ValueError(
                    f"{field.name} of the candidates has shape {getattr(rows, field.name).shape}, not {(rows.rows,)}"
                )
        _check_range("person", rows.person, 0, self.people)
        _check_range("campaign", rows.campaign, 0, self.campaigns)
        _check_range("day", rows.day, 0, self.days)
        _check_range("channel", rows.channel, 0, self.channels)
        if limits.stock is not None:
            _check_range("item", rows.item, NO_ITEM, len(limits.stock))
        if not (np.isfinite(rows.value).all() and np.isfinite(rows.cost).all()):
            raise ValueError("a value or cost of the candidates is not finite; leave out rows that cannot be estimated")
        if (rows.cost < 0).any():
            raise ValueError("a cost of the candidates is negative; an income belongs into the value")
        for name in (
            "budget",
            "day_budget",
            "stock",
            "minimum_reach",
            "total_budget",
            "total_day_budget",
            "reach_penalty",
        ):
            limit = getattr(limits, name)
            if limit is not None and not (np.asarray(limit) >= 0).all():
                raise ValueError(f"{name} has a value that is negative or not a number; 0 closes, infinity opens")
        if limits.day_budget is not None and limits.day_budget.shape != (self.campaigns, self.days):
            raise ValueError(f"day_budget has shape {limits.day_budget.shape}, not {(self.campaigns, self.days)}")
        if limits.total_day_budget is not None and limits.total_day_budget.shape != (self.days,):
            raise ValueError(f"total_day_budget has shape {limits.total_day_budget.shape}, not {(self.days,)}")
        if limits.minimum_reach is not None:
            shape = (self.people, len(limits.minimum_reach))
            if limits.members is None or limits.members.shape != shape:
                raise ValueError(f"a minimum reach needs members of shape {shape}, people x segments")
            if not limits.members.has_canonical_format or (limits.members.data != 1).any():
                raise ValueError("members must have each person once at most in a segment, with a 1")
            if not np.isfinite(limits.minimum_reach).all():
                raise ValueError("minimum_reach must be finite; 0 asks for nothing")
        if limits.reach_penalty is not None and not np.isfinite(limits.reach_penalty):
            raise ValueError("reach_penalty must be finite; a minimum that must be met is one with a high penalty")
        for cap in limits.caps:
            for channel in cap.channels or ():
                if not 0 <= channel < self.channels:
                    raise ValueError(f"a cap is for channel {channel}, but channels go from 0 to {self.channels - 1}")
        if self.earlier is not None:
            _check_range("person of the earlier contacts", self.earlier.person, 0, self.people)
            _check_range("channel of the earlier contacts", self.earlier.channel, 0, self.channels)

    @property
    def campaigns(self) -> int:
        """Number of campaigns."""
        return len(self.limits.budget)

    @property
    def reach_penalty(self) -> float:
        """What a person short of the minimum reach counts."""
        if self.limits.reach_penalty is not None:
            return self.limits.reach_penalty
        return 100 * float(np.abs(self.candidates.value).max(initial=0.01))


def even_pacing(budget: NDArray[np.float64], active: NDArray[np.bool_], slack: float = 0.2) -> NDArray[np.float64]:
    """Day budgets that spend what is left of a budget evenly over the days that are left.

    Args:
        budget: What each campaign may still spend, shape (campaigns,).
        active: Whether the campaign runs on the day, shape (campaigns, days).
        slack: How much more than an even share a day may cost, >= 0; days differ, and 0 leaves money unspent.

    Returns:
        Shape (campaigns, days); 0 on days on which a campaign does not run.

    Raises:
        ValueError: If the slack is negative.
    """
    if not slack >= 0:
        raise ValueError(f"the slack of a day must be at least 0, got {slack}")
    days = active.sum(axis=1)
    share = np.divide(budget * (1 + slack), days, out=np.zeros(len(budget)), where=days > 0)
    return np.where(active, np.minimum(share, budget)[:, None], 0.0)


def _check_range(name: str, index: NDArray[Any], low: int, high: int) -> None:
    if not np.issubdtype(index.dtype, np.integer):
        raise ValueError(f"{name} must be integers, got {index.dtype}")
    if len(index) and (index.min() < low or index.max() >= high):
        raise ValueError(
            f"{name} goes from {index.min()} to {index.max()}, but must be at least {low} and less than {high}"
        )

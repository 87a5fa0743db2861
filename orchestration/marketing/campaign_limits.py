"""Limits that hold for all campaigns together, from the seed `campaign_limits`.

Holds what a row of each kind means to the plan. Limits of one campaign stand in its brief (`campaign_briefs`).
"""

import math
from dataclasses import dataclass

import duckdb

_ACTIVE = """
select limit_id, limit_kind, nullif(lower(trim(channel)), '') as channel, item_key, segment_key, amount, window_days
from seeds.campaign_limits
where is_active
order by limit_id
"""
_SHARES = ("global_holdout", "exploration_share")
_KINDS = (*_SHARES, "total_budget", "contact_cap", "stock", "minimum_reach")


class CampaignLimitError(ValueError):
    """A row of the seed cannot be kept; the message says which and what would do."""


@dataclass(frozen=True)
class WindowedCap:
    """At most `most` contacts of a person in `window_days` calendar days, by one channel or (None) by all; a row of the seed."""

    limit_id: str
    most: int
    window_days: int
    channel: str | None


@dataclass(frozen=True)
class WindowedAmount:
    """An amount that lasts for `window_days` calendar days, or (None) for good."""

    amount: float
    window_days: int | None


@dataclass(frozen=True)
class CampaignLimits:
    """What holds for all campaigns together.

    Attributes:
        global_holdout: Share of people whom no campaign may contact.
        exploration_share: Share of people whose campaign is drawn.
        total_budgets: Money for all campaigns.
        caps: Caps of contacts of a person.
        stock: Pieces of each item, by item_key; all of its rows hold.
        minimum_reach: People to be contacted, by segment_key; all of its rows hold.
    """

    global_holdout: float
    exploration_share: float
    total_budgets: tuple[WindowedAmount, ...]
    caps: tuple[WindowedCap, ...]
    stock: dict[str, tuple[WindowedAmount, ...]]
    minimum_reach: dict[str, tuple[WindowedAmount, ...]]


def read_limits(connection: duckdb.DuckDBPyConnection) -> CampaignLimits:
    """Reads the active rows of the seed.

    Raises:
        CampaignLimitError: If a row cannot be kept. It stops the plan: contacts beyond a limit could not be taken back.
    """
    shares = dict.fromkeys(_SHARES, 0.0)
    total: list[WindowedAmount] = []
    caps: list[WindowedCap] = []
    stock: dict[str, tuple[WindowedAmount, ...]] = {}
    reach: dict[str, tuple[WindowedAmount, ...]] = {}
    for limit, kind, channel, item, segment, amount, window in connection.execute(_ACTIVE).fetchall():
        row = f"row {limit!r} of seeds.campaign_limits"
        if kind not in _KINDS:
            raise CampaignLimitError(f"{row}: {kind!r} is not a kind of limit; known are {', '.join(_KINDS)}")
        if amount is None or not (amount >= 0 and math.isfinite(amount)) or (window is not None and window < 1):
            raise CampaignLimitError(f"{row}: an amount of at least 0 and a window of at least 1 day are needed")
        if channel is not None and kind != "contact_cap":
            raise CampaignLimitError(f"{row}: a {kind} holds for all channels; leave the channel empty")
        if kind in _SHARES:
            if amount >= 1:
                raise CampaignLimitError(f"{row}: a share must be less than 1, got {amount:g}")
            shares[kind] = max(shares[kind], amount)
        elif kind == "total_budget":
            total.append(WindowedAmount(amount, window))
        elif kind == "contact_cap":
            caps.append(WindowedCap(limit, int(amount), window or 1, channel))
        elif kind == "stock":
            if item is None:
                raise CampaignLimitError(f"{row}: a stock needs an item_key, for instance knowledge:c001")
            if not _knows(connection, "core.dim_item", "item_key", item):
                raise CampaignLimitError(f"{row}: no item {item!r}; core.dim_item has the keys")
            stock[item] = (*stock.get(item, ()), WindowedAmount(amount, window))
        else:
            if segment is None:
                raise CampaignLimitError(f"{row}: a minimum reach needs a segment_key of marketing.segment")
            if not _knows(connection, "marketing.known_segment", "segment_key", segment):
                raise CampaignLimitError(f"{row}: no segment {segment!r}; marketing.segment has the keys")
            reach[segment] = (*reach.get(segment, ()), WindowedAmount(amount, window))
    return CampaignLimits(
        shares["global_holdout"], shares["exploration_share"], tuple(total), tuple(caps), stock, reach
    )


def _knows(connection: duckdb.DuckDBPyConnection, table: str, column: str, key: str) -> bool:
    return bool(connection.execute(f"select 1 from {table} where {column} = ? limit 1", [key]).fetchall())

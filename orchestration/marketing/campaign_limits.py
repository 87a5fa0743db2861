"""Limits that hold for all campaigns together, from the seed `campaign_limits`.

Holds what a row of each kind means to the plan. Limits of one campaign stand in its brief (`campaign_briefs`).
"""

import difflib
import math
from dataclasses import dataclass

import duckdb

from orchestration.sql import has_relation

_ACTIVE = """
select limit_id, limit_kind, nullif(lower(trim(channel)), '') as channel, item_key, segment_key, amount, window_days
from seeds.campaign_limits
where is_active
order by limit_id
"""
# What is there; and where it is told what was there once: a catalogue as snapshots recorded it, a run's segments, or contacts.
_THERE = {
    "item": "select item_key as key from core.dim_item",
    "segment": "select segment_key as key from marketing.known_segment",
}
_ONCE = {
    "item": {
        "snapshots.snapshot_contents": "item_key",
        "snapshots.snapshot_films": "item_key",
        "marketing.past_contact": "item_key",
    },
    "segment": {"marketing.observed_segment": "segment_key", "marketing.past_contact": "unnest(segment_keys)"},
}
_TABLE = {"item": "core.dim_item", "segment": "marketing.segment"}
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
        stock: Pieces of each item, by item_key; all of its rows hold. An item that has left the catalogue has none, as it is
            offered to nobody; its row holds again once it is back.
        minimum_reach: People to be contacted, by segment_key; all of its rows hold. A segment that is gone likewise has none.
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
            if _is_there(connection, "item", item, row):
                stock[item] = (*stock.get(item, ()), WindowedAmount(amount, window))
        else:
            if segment is None:
                raise CampaignLimitError(f"{row}: a minimum reach needs a segment_key of marketing.segment")
            if _is_there(connection, "segment", segment, row):
                reach[segment] = (*reach.get(segment, ()), WindowedAmount(amount, window))
    return CampaignLimits(
        shares["global_holdout"], shares["exploration_share"], tuple(total), tuple(caps), stock, reach
    )


def _is_there(connection: duckdb.DuckDBPyConnection, kind: str, key: str, row: str) -> bool:
    """Whether an item or a segment is there; False if it was there once.

    Raises:
        CampaignLimitError: If it never was, which is a slip of the pen as a rule: the limit would silently not hold.
    """
    # In a home of an earlier version not all of these have been made yet.
    once = [
        f"select {column} as key from {table}"
        for table, column in _ONCE[kind].items()
        if has_relation(connection, table)
    ]
    for known, is_there in ((_THERE[kind], True), *((told, False) for told in once)):
        if connection.execute(f"select 1 from ({known}) where key = ? limit 1", [key]).fetchall():
            return is_there
    keys = [one for (one,) in connection.execute(f"{_THERE[kind]} order by 1").fetchall()]
    near = difflib.get_close_matches(key, keys, n=3)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise CampaignLimitError(
        f"{row}: no {kind} {key!r} was ever known; {meant}{_TABLE[kind]} has the keys. Correct the row in "
        "dbt_project/seeds/campaign_limits.csv, or set its is_active to false."
    )

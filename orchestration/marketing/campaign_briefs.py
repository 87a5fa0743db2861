"""Campaign briefs as they were delivered: which can be planned, and what is wrong with the others.

Holds the checks of a brief and the sentence that says what to do. Who is reached by a campaign that can be planned is left to
`contact_candidates`, its money to `planning`.
"""

import collections
import dataclasses
import difflib
import math
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

PLANNED, WAITING, ENDED, NOT_APPROVED, REFUSED = "planned", "waiting", "ended", "not_approved", "refused"
STATES = (PLANNED, WAITING, ENDED, NOT_APPROVED, REFUSED)

# Families of segments that come and go with what people do and with the training of models.
MADE_ANEW = ("interest", "taste")

# What is taken where a brief says nothing.
HOLDOUT_SHARE = 0.1
FREQUENCY_CAP, FREQUENCY_WINDOW_DAYS = 1, 7
NO_CHANNEL = "unspecified"

# An interactive campaign with items of both platforms is a challenge: one of the source platform's items and then one of the
# target's, each completed or rated, within so many days after the first contact.
CHALLENGE_DAYS = 14
CHALLENGE_EVENTS = ("complete", "rating")

# Days of a campaign are calendar days; its first and last one are those of the run's time zone.
_BRIEFS = """
with runs as (
    select time_zone from raw.run
),

items as (
    select item_key, domain, item_id, currency, price
    from core.dim_item
    where not is_inferred
),

listed as (
    select distinct
        campaigns.campaign_key,
        items.item_key,
        if(items.currency = campaigns.currency, cast(items.price as double), null) as price
    from core.dim_campaign as campaigns, unnest(campaigns.item_ids) as listed (item_id)
    inner join items on campaigns.target_platform = items.domain and listed.item_id = items.item_id
),

known as (
    select
        campaign_key,
        list(item_key order by item_key) as item_keys,
        median(price) as median_price
    from listed
    group by campaign_key
),

known_beside as (
    select distinct campaigns.campaign_key
    from core.dim_campaign as campaigns, unnest(campaigns.source_item_ids) as listed (item_id)
    inner join items on campaigns.source_platform = items.domain and listed.item_id = items.item_id
)

select
    campaigns.campaign_key,
    campaigns.kind,
    campaigns.source_platform,
    campaigns.target_platform,
    nullif(trim(campaigns.channel), '') as channel,
    len(campaigns.item_ids) as items_named,
    len(campaigns.source_item_ids) as source_items_named,
    known_beside.campaign_key is not null as has_source_items,
    coalesce(known.item_keys, cast([] as varchar[])) as item_keys,
    nullif(trim(campaigns.segment), '') as segment,
    campaigns.status,
    campaigns.currency,
    campaigns.is_inferred,
    cast(campaigns.budget as double) as budget,
    cast(campaigns.cost_per_exposure as double) as cost,
    coalesce(cast(campaigns.value_per_conversion as double), known.median_price) as value_per_conversion,
    campaigns.frequency_cap,
    campaigns.frequency_window_days,
    campaigns.holdout_share,
    cast(timezone(runs.time_zone, timezone('UTC', campaigns.starts_at)) as date) as first_date,
    cast(timezone(runs.time_zone, timezone('UTC', campaigns.ends_at)) as date) as last_date,
    campaigns.ends_at < campaigns.starts_at as ends_first
from core.dim_campaign as campaigns
left join known on campaigns.campaign_key = known.campaign_key
left join known_beside on campaigns.campaign_key = known_beside.campaign_key
cross join runs
order by campaigns.campaign_key
"""


_RUNNING = """
select contacts.campaign_key, max(contacts.decided_at) as last_decided_at
from marketing.past_contact as contacts
cross join raw.run as runs
where contacts.decided_at <= runs.as_of
group by contacts.campaign_key
"""


@dataclasses.dataclass(frozen=True)
class Brief:
    """One campaign as the plan takes it, with what it leaves open filled in.

    Attributes:
        campaign_key: Key of the campaign.
        kind: What it is; None for one that is only mentioned.
        source_platform: Where people are reached; None likewise.
        target_platform: Where its items are; None likewise.
        channel: By which people are reached.
        segment_key: Segment that is addressed; None for everyone on the source platform.
        item_keys: Its items that are in the catalogue.
        currency: Of its money; None if unknown.
        budget: What may be spent, >= 0.
        cost: Of one contact, >= 0.
        value_per_conversion: Worth of one conversion; the median price of its items if it does not say.
        frequency_cap: Most contacts of a person in `frequency_window_days`.
        frequency_window_days: Calendar days.
        holdout_share: Share of people held out.
        first_date: First day of the campaign; None if unknown.
        last_date: Last day of the campaign, included.
        state: One of `STATES`.
        problem: What is wrong and what to do; None if nothing is.
    """

    campaign_key: str
    kind: str | None
    source_platform: str | None
    target_platform: str | None
    channel: str
    segment_key: str | None
    item_keys: tuple[str, ...]
    currency: str | None
    budget: float
    cost: float
    value_per_conversion: float
    frequency_cap: int
    frequency_window_days: int
    holdout_share: float
    first_date: date | None
    last_date: date | None
    state: str
    problem: str | None

    def runs_on(self, day: date) -> bool:
        """Whether the campaign runs on a calendar day."""
        return self.first_date is not None and self.last_date is not None and self.first_date <= day <= self.last_date

    def days_from(self, day: date) -> int:
        """Days of the campaign that are left from a day on, that day included."""
        if self.first_date is None or self.last_date is None:
            return 0
        return max(0, (self.last_date - max(self.first_date, day)).days + 1)


@dataclasses.dataclass(frozen=True)
class Briefs:
    """All campaigns that are known, and the one currency of the plan.

    Attributes:
        all: In the order of their keys.
        currency: Of the plan; None if nothing can be planned.
    """

    all: tuple[Brief, ...]
    currency: str | None

    @property
    def planned(self) -> tuple[Brief, ...]:
        """Those that can be planned now."""
        return tuple(brief for brief in self.all if brief.state == PLANNED)


def campaign_days(first: date, last: date, time_zone: str) -> dict[str, str]:
    """The columns of `marketing/campaigns` that say from which to which day, both included, a campaign runs.

    With the offset of each moment, because a time without one is in UTC, whose days are others.

    Args:
        first: First calendar day.
        last: Last calendar day.
        time_zone: IANA name of the time zone that the run counts days in.
    """
    zone = ZoneInfo(time_zone)
    return {
        "starts_at": datetime.combine(first, time(), zone).isoformat(),
        "ends_at": datetime.combine(last, time(23, 59, 59), zone).isoformat(),
    }


def read_briefs(connection: duckdb.DuckDBPyConnection, first: date, days: int) -> Briefs:
    """Reads every campaign and says which of them can be planned.

    A plan is in one currency: that of most campaigns that run, which are those with contacts handed over before, and of several the
    one that contacted last; else of most that could be planned, and of several the first in the alphabet. So no new campaign stops
    one that runs. One bad brief is refused with a sentence and stops no other.

    Args:
        connection: Reader of the build file.
        first: First day of the plan.
        days: Days of the plan.
    """
    segments = [
        key for (key,) in connection.execute("select segment_key from marketing.known_segment order by 1").fetchall()
    ]
    asked = connection.execute(_BRIEFS)
    names = [column[0] for column in asked.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in asked.fetchall()]
    running: dict[str, datetime] = dict(connection.execute(_RUNNING).fetchall())
    found = [_brief(row | {"runs": row["campaign_key"] in running}, segments, first, days) for row in rows]
    of_all: collections.Counter[str] = collections.Counter()
    of_running: collections.Counter[str] = collections.Counter()
    last_decided_at: dict[str, datetime] = collections.defaultdict(lambda: datetime.min)
    for brief in found:
        if brief.state == PLANNED and brief.currency:
            of_all[brief.currency] += 1
            if brief.campaign_key in running:
                of_running[brief.currency] += 1
                last_decided_at[brief.currency] = max(last_decided_at[brief.currency], running[brief.campaign_key])
    if not of_all:
        return Briefs(tuple(found), None)
    # The first in the alphabet is the first of those that are equal.
    currency = max(sorted(of_all), key=lambda code: (of_running[code], last_decided_at[code], of_all[code]))
    return Briefs(tuple(_in_one_currency(brief, currency) for brief in found), currency)


def _brief(row: dict[str, Any], segments: Sequence[str], first: date, days: int) -> Brief:
    """One campaign from its row."""
    problem = _problem(row, segments)
    state = _state(row, problem, first, days)
    return Brief(
        campaign_key=row["campaign_key"],
        kind=row["kind"],
        source_platform=row["source_platform"],
        target_platform=row["target_platform"],
        channel=row["channel"] or NO_CHANNEL,
        segment_key=row["segment"],
        item_keys=tuple(row["item_keys"]),
        currency=row["currency"],
        budget=_or(row["budget"], 0.0),
        cost=_or(row["cost"], 0.0),
        value_per_conversion=_or(row["value_per_conversion"], 0.0),
        frequency_cap=_or(row["frequency_cap"], FREQUENCY_CAP),
        frequency_window_days=_or(row["frequency_window_days"], FREQUENCY_WINDOW_DAYS),
        holdout_share=_or(row["holdout_share"], HOLDOUT_SHARE),
        first_date=row["first_date"],
        last_date=row["last_date"],
        state=state,
        # Nothing is to be done any more about a campaign that is over.
        problem=None if state == ENDED else problem,
    )


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _state(row: dict[str, Any], problem: str | None, first: date, days: int) -> str:
    if row["is_inferred"]:
        return REFUSED
    is_over = row["last_date"] is not None and row["last_date"] < first and not row["ends_first"]
    if row["status"] == "ended" or is_over:
        return ENDED
    if row["status"] != "approved":
        return NOT_APPROVED
    if problem is not None:
        return REFUSED
    return WAITING if row["first_date"] > first + timedelta(days=days - 1) else PLANNED


def _problem(row: dict[str, Any], segments: Sequence[str]) -> str | None:
    """The first thing that is wrong with a brief, and what to do; None if nothing is."""
    if row["is_inferred"]:
        return "It is known from exposures or events only; deliver its row in marketing/campaigns."
    if row["first_date"] is None or row["last_date"] is None:
        return "It has no first or no last day; give starts_at and ends_at."
    if row["ends_first"]:
        return f"It ends on {row['last_date']}, before it starts on {row['first_date']}; give a later ends_at."
    if not row["currency"]:
        return "It has no currency; give one, for instance USD."
    for name, column in (("cost_per_exposure", "cost"), ("budget", "budget"), ("value_per_conversion",) * 2):
        if row[column] is not None and not (row[column] >= 0 and math.isfinite(row[column])):
            return f"Its {name} is {row[column]:g}; give a number that is not negative."
    if not row["budget"]:
        return "It has no budget; give one above 0."
    if row["cost"] is not None and row["budget"] < row["cost"]:
        return f"Its budget of {row['budget']:g} is less than the {row['cost']:g} that one contact costs; give more."
    if row["value_per_conversion"] is None:
        return (
            f"It has no value_per_conversion and its items have no price in {row['currency']}; "
            "say what a conversion is worth."
        )
    share = row["holdout_share"]
    if share is not None and not 0 <= share < 1:
        return f"Its holdout_share is {share:g}; give a share from 0 to less than 1, for instance 0.1."
    for name in ("frequency_cap", "frequency_window_days"):
        if row[name] is not None and row[name] < 1:
            return f"Its {name} is {row[name]}; give at least 1, or pause the campaign."
    if row["items_named"] and not row["item_keys"]:
        return f"None of its items is in the catalogue of the {row['target_platform']} platform; correct item_ids."
    if row["source_items_named"]:
        source, target = row["source_platform"], row["target_platform"]
        if not row["items_named"]:
            # As one without items it would be for anything on the target platform, which it does not say.
            return (
                f"Its items are all of the {source} platform; name in item_ids what of the {target} platform it is for."
            )
        if not row["has_source_items"]:
            return f"None of its items of the {source} platform is in the catalogue there; correct or drop them in item_ids."
    if row["segment"] is not None and row["segment"] not in segments:
        return _unknown_segment(row["segment"], segments, runs=row["runs"])
    return None


def _unknown_segment(text: str, segments: Sequence[str], *, runs: bool) -> str:
    close = difflib.get_close_matches(text, segments, n=3, cutoff=0.4)
    named = f"did you mean {', '.join(close)}? All are" if close else "all are"
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    family = text.split(":")[0]
    gone = f" Segments of {family} may be gone when they are made anew." if family in MADE_ANEW else ""
    kept = " Whom it has contacted stays in their arm, whichever segment its row is given." if runs else ""
    return (
        f"Its segment {shown!r} is not a segment_key; {named} in marketing.segment.{gone} "
        f"Leave it empty for everyone on the source platform.{kept}"
    )


def _in_one_currency(brief: Brief, currency: str) -> Brief:
    if brief.state not in (PLANNED, WAITING) or brief.currency == currency:
        return brief
    problem = (
        f"Its money is in {brief.currency}, but the plan is in {currency}; give budget, cost and value in {currency}."
    )
    return dataclasses.replace(brief, state=REFUSED, problem=problem)

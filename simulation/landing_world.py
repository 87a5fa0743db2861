"""The world that answers campaigns (`response`) as two platforms and their marketing channels would deliver it, day after day.

Everybody has a linked account on both platforms and uses one of them more. Here is what people do anyway, and how they answer a
day's contacts: exposures that were delivered, responses as they happen, purchases of both arms. A contact that is held out gives no
exposure: that the person was chosen is known to whoever held them out, not to the channel. What is delivered once is
`landing_opening`; the rules are told in docs/simulation.md.

Memory: as `response`, plus about `events of a day x items x 8` bytes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulation.clock import DAY_SECONDS, as_timestamps, at_usual_hours, midnight
from simulation.files import encode
from simulation.landing_opening import (
    FIRST_DAY,
    HISTORY_DAYS,
    ITEM_COLUMNS,
    PLATFORMS,
    build_shelf,
    campaign_ids,
    consents,
    item_ids,
    opening_tables,
    target_of,
    user_ids,
)
from simulation.response import Exposures, grow
from simulation.seeding import Floats, Ints, gumbel_top, random_stream
from simulation.tempers import SLEEPER, ResponseConfig

MOST_DAYS = 365

DAYS_A_FILE = 30
"""Days of history in a file: few files, as each costs a reader some time, and none too large for memory."""

NOTE_FILE = "_SIMULATED.md"
NOTE = """# Everything here is simulated

Made by `zhiying simulate` with seed {seed} for {people} people: accounts, catalogues, events, purchases, consents, campaigns and
the answers to them. docs/simulation.md tells the rules. Nothing here says how large an effect is on a real platform.
"""

CONTACT_COLUMNS = pa.schema(
    [
        ("exposure_id", pa.string()),
        ("campaign_id", pa.string()),
        ("platform", pa.string()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("arm", pa.string()),
        ("propensity", pa.float64()),
        ("channel", pa.string()),
        ("not_before", pa.timestamp("us")),
        ("not_after", pa.timestamp("us")),
    ]
)
"""A day's contacts, of both arms: columns of a list that was handed over."""

# How much taste decides what people look at, in log-odds per standard deviation.
_TASTE_PULL = 0.9
_EVENT_TYPES = np.array(["view", "favourite", "trial", "progress", "purchase", "complete", "rating"], dtype=object)
_SHARES = np.array([0.5, 0.06, 0.06, 0.1, 0.1, 0.06, 0.12])
# Nobody has an item of a campaign before the campaign: it is looked at, never bought, finished or rated.
_SHARES_OF_CAMPAIGN_ITEMS = np.array([0.8, 0.12, 0.08, 0.0, 0.0, 0.0, 0.0])
_LAST_EVENT = DAY_SECONDS - 30
# The channel shows nothing in the last minutes of a day, so that what follows at once is of the same day.
_QUIET_SECONDS = 600
_WAITS = {"click": 45, "dismiss": 20, "unsubscribe": 90}


@dataclasses.dataclass(frozen=True)
class DayRecord:
    """What came of a day's contacts.

    Attributes:
        files: Landing files of the day by their path.
        delivered: Contacts that were shown.
        undelivered: Contacts of people who took back their consent on that day; the channel drops them.
        held_out: Contacts of the control arm.
        cost: Cost of the delivered contacts in US dollars.
        true_conversions: Conversions that the contacts add in expectation; the world alone knows.
        true_value: Their price in US dollars, costs not taken off.
        sleepers: Delivered contacts of people whom a contact puts off.
        conversions: Purchases of campaign items on this day, of both arms.
    """

    files: Mapping[str, bytes]
    delivered: int
    undelivered: int
    held_out: int
    cost: float
    true_conversions: float
    true_value: float
    sleepers: int
    conversions: int


class LandingWorld:
    """A world whose days come as landing files.

    Args:
        people: Number of people, >= 1.
        days: Number of days that campaigns run for, from 1 to `MOST_DAYS`.
        seed: Seed, >= 0. The same arguments and contacts give the same bytes.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, people: int, days: int, seed: int) -> None:
        if not 1 <= days <= MOST_DAYS:
            raise ValueError(f"campaigns run for 1 to {MOST_DAYS} days, not {days}")
        self.days = days
        self._world = grow(ResponseConfig(people=people), seed)
        self._shelves = [build_shelf(self._world, platform) for platform in range(len(PLATFORMS))]
        features = self._world.features()
        topics = range(self._world.config.topics)
        self._taste = np.column_stack([features[f"taste_{topic}"].to_numpy() for topic in topics])
        self._own_platform = np.arange(people) % 2
        self._daily_events = features["events_90d"].to_numpy() / 90.0
        self._daily_visits = features["other_side_visits_90d"].to_numpy() / 90.0
        self._next_day = 0
        self._coming: dict[int, list[pa.Table]] = {}
        self._left = np.zeros(people, dtype=bool)

    def opening(self) -> dict[str, bytes]:
        """Accounts, links, catalogues, campaigns and the consents of the first day: landing files by their path."""
        tables = opening_tables(self._world, self._shelves, self.days)
        return {path: encode(table, path.rsplit(".", 1)[1]) for path, table in tables.items()}

    def history(self, days: int = HISTORY_DAYS) -> Iterator[dict[str, bytes]]:
        """What people did before day 0: landing files by their path, up to `DAYS_A_FILE` days at a time.

        Args:
            days: Number of days, >= 1; the last is the eve of day 0.
        """
        for first in range(-days, 0, DAYS_A_FILE):
            last = min(first + DAYS_A_FILE, 0) - 1
            yield self._event_files(first, last, [])

    def live(self, day: int, contacts: pa.Table) -> DayRecord:
        """Lets a day pass.

        Args:
            day: The day, 0 first, one after the other.
            contacts: The day's contacts in `CONTACT_COLUMNS`, each pair of person and campaign at most once. Rows of arm `control`
                are answered as well (people buy by themselves) and give no exposure.

        Returns:
            The day's files and what the world knows of it. Conversions and satisfaction come on the day on which they happen.

        Raises:
            ValueError: If days are skipped, or a contact names an account, campaign or item that the world does not know, or a time
                outside of the day.
        """
        if day != self._next_day:
            raise ValueError(f"day {self._next_day} comes next, not day {day}")
        world, rows = self._world, self._numbered(contacts)
        treated = np.array(rows.table["arm"].to_pylist(), dtype=object) == "treatment"
        # Who takes consent back on the very day is dropped by the channel, and goes on as without a contact.
        delivered = treated & world.consent(day)[rows.person]
        exposures = Exposures(rows.person, rows.campaign, rows.item, delivered)
        rng = random_stream(world.seed, f"landing answers {day}")
        shown_at = _shown_at(rng, day, rows.table)
        chances, true_value = world.chances(exposures, day), world.true_value(exposures, day)
        self._keep(world.answer(exposures, day), rows, shown_at, delivered)
        self._next_day += 1

        happened = pa.concat_tables(self._coming.pop(day, [_NOTHING]))
        happened = happened.append_column("at", pa.array(_times(rng, day, happened), pa.int64()))
        files = self._event_files(day, day, self._led_to(happened))
        for table, content in (
            ("marketing/exposures", _exposures(rows.table, shown_at, delivered)),
            ("marketing/responses", _responses(happened)),
            ("privacy/consents", self._changed_consents(day)),
        ):
            if content.num_rows:
                files[_path(table, day)] = encode(content, "parquet")
        self._left[happened.filter(pc.equal(happened["type"], "unsubscribe"))["person"].to_numpy()] = True
        return DayRecord(
            files=files,
            delivered=int(delivered.sum()),
            undelivered=int((treated & ~delivered).sum()),
            held_out=int((~treated).sum()),
            cost=float(world.costs()[rows.campaign[delivered]].sum()),
            true_conversions=float((chances.contacted - chances.without)[delivered].sum()),
            true_value=true_value,
            sleepers=int((world.tempers()[rows.person[delivered]] == SLEEPER).sum()),
            conversions=int(pc.sum(pc.equal(happened["type"], "conversion")).as_py() or 0),
        )

    def _numbered(self, contacts: pa.Table) -> _Numbered:
        """Contacts by numbers, in an order of their own: that of the table does not matter."""
        table = contacts.select(CONTACT_COLUMNS.names).cast(CONTACT_COLUMNS).combine_chunks()
        person = _numbers(table["user_id"], "sim-[fk]", "accounts")
        campaign = _numbers(table["campaign_id"], "sim-loop-", "campaigns") - 1
        count = self._world.config.campaigns
        if campaign.size and not 0 <= campaign.min() <= campaign.max() < count:
            raise ValueError(
                f"contacts name campaigns that the world does not know: it has sim-loop-1 to sim-loop-{count}"
            )
        # A campaign that shows no item in particular is about its first.
        first = np.array([self._world.items_of(number)[0] for number in range(count)])
        named = _numbers(table["item_id"].fill_null("sim-i0"), "sim-i", "items")
        item = np.where(table["item_id"].is_null().to_numpy(), first[campaign], named)
        order = np.lexsort((campaign, person))
        return _Numbered(table.take(pa.array(order)), person[order], campaign[order], item[order])

    def _keep(self, answers: pa.Table, rows: _Numbered, shown_at: Ints, delivered: np.ndarray) -> None:
        """Keeps answers until the days on which they happen."""
        count = self._world.config.campaigns
        pair = answers["person"].to_numpy() * count + answers["campaign"].to_numpy()
        place = np.searchsorted(rows.person * count + rows.campaign, pair)
        answers = (
            answers.append_column("exposure_id", rows.table["exposure_id"].take(pa.array(place)))
            .append_column("shown_at", pa.array(shown_at[place], pa.int64()))
            .append_column("delivered", pa.array(delivered[place], pa.bool_()))
        )
        for day in np.unique(answers["day"].to_numpy()).tolist():
            self._coming.setdefault(day, []).append(answers.filter(pc.equal(answers["day"], day)))

    def _event_files(self, first: int, last: int, led_to: Sequence[_Events]) -> dict[str, bytes]:
        """Events of some days on both platforms: what people do anyway, and what contacts led to or not."""
        tables: list[list[pa.Table]] = [[] for _ in PLATFORMS]
        for day in range(first, last + 1):
            rng = random_stream(self._world.seed, f"landing events {day}")
            for platform in range(len(PLATFORMS)):
                parts = [self._anyway(rng, platform, day), *(part for part in led_to if part.platform == platform)]
                tables[platform].append(_event_table(parts, platform, day))
        return {
            _path(f"{name}/events", last): encode(pa.concat_tables(of_days), "parquet")
            for name, of_days in zip(PLATFORMS, tables, strict=True)
        }

    def _anyway(self, rng: np.random.Generator, platform: int, day: int) -> _Events:
        shelf = self._shelves[platform]
        rate = np.where(self._own_platform == platform, self._daily_events, self._daily_visits)
        # Somebody always looks at something shortly before midnight, so that a day that has ended is known to have ended.
        person = np.append(np.repeat(np.arange(rate.size), rng.poisson(rate)), day % rate.size)
        pull = _TASTE_PULL * self._taste[person] @ shelf.topics.T
        place = gumbel_top(rng, pull + shelf.appeal, 1)[:, 0]
        shares = np.where(shelf.is_of_campaign[place][:, None], _SHARES_OF_CAMPAIGN_ITEMS, _SHARES)
        which = (shares.cumsum(axis=1)[:, :-1] < rng.random(person.size)[:, None]).sum(axis=1)
        which[-1] = 0
        at = at_usual_hours(rng, np.full(person.size, float(_midnight(day))))
        at[-1] = _midnight(day) + _LAST_EVENT
        kind = _EVENT_TYPES[which]
        liking = 3.4 + 0.5 * pull[np.arange(person.size), place] + rng.normal(0.0, 0.7, person.size)
        stars = np.clip(np.round(2.0 * liking) / 2.0, 1.0, 5.0)
        share = np.round(rng.random(person.size), 2)
        return _Events(
            platform=platform,
            person=person,
            item=shelf.number[place],
            event_type=kind,
            at=at,
            value=np.where(kind == "rating", stars, np.where(kind == "progress", share, np.nan)),
            amount=np.where(kind == "purchase", shelf.price[place], np.nan),
            campaign=np.full(person.size, -1),
        )

    def _led_to(self, happened: pa.Table) -> list[_Events]:
        """Views by clicks and purchases by conversions, on the platform that each campaign brings people to."""
        parts = []
        for answer, event_type, wait in (("click", "view", 5), ("conversion", "purchase", 0)):
            rows = happened.filter(pc.equal(happened["type"], answer))
            target = target_of(rows["campaign"].to_numpy())
            for platform in range(len(PLATFORMS)):
                part = rows.filter(pa.array(target == platform))
                campaign, delivered = part["campaign"].to_numpy(), part["delivered"].to_numpy()
                parts.append(
                    _Events(
                        platform=platform,
                        person=part["person"].to_numpy(),
                        item=part["item"].to_numpy(),
                        event_type=np.full(part.num_rows, event_type, dtype=object),
                        at=part["at"].to_numpy() + wait,
                        value=np.full(part.num_rows, np.nan),
                        amount=part["amount"].to_numpy()
                        if event_type == "purchase"
                        else np.full(part.num_rows, np.nan),
                        # Whoever was not contacted comes without a campaign.
                        campaign=np.where(delivered, campaign, -1),
                    )
                )
        return parts

    def _changed_consents(self, day: int) -> pa.Table:
        """Consents that turn over on a day. That somebody has unsubscribed is told by the response, and stays so."""
        now, before = self._world.consent(day), self._world.consent(max(day - 1, 0))
        changed = np.flatnonzero((now != before) & ~self._left)
        return consents(changed, now[changed], np.full(changed.size, _midnight(day) + 60))


@dataclasses.dataclass(frozen=True)
class _Numbered:
    """A day's contacts in order of person and campaign, and their numbers in the world, shape (contacts,)."""

    table: pa.Table
    person: Ints
    campaign: Ints
    item: Ints


@dataclasses.dataclass(frozen=True)
class _Events:
    """Events on one platform, arrays of shape (events,); campaign is -1 for none."""

    platform: int
    person: Ints
    item: Ints
    event_type: np.ndarray
    at: Ints
    value: Floats
    amount: Floats
    campaign: Ints


_NOTHING = pa.schema(
    [
        ("person", pa.int64()),
        ("campaign", pa.int64()),
        ("item", pa.int64()),
        ("arm", pa.string()),
        ("exposed_on", pa.int64()),
        ("day", pa.int64()),
        ("type", pa.string()),
        ("value", pa.float64()),
        ("amount", pa.float64()),
        ("exposure_id", pa.string()),
        ("shown_at", pa.int64()),
        ("delivered", pa.bool_()),
    ]
).empty_table()


def date_of(day: int) -> dt.date:
    """Date of a day of the world."""
    return FIRST_DAY + dt.timedelta(days=day)


def _midnight(day: int) -> int:
    return midnight(date_of(day))


def _path(table: str, day: int) -> str:
    return f"{table}/day={date_of(day)}/part-0.parquet"


def _numbers(identifiers: pa.ChunkedArray, prefix: str, what: str) -> Ints:
    """The number in each identifier of the world."""
    found = pc.struct_field(pc.extract_regex(identifiers, f"^{prefix}(?P<number>[0-9]+)$"), "number")
    if found.null_count:
        raise ValueError(f"{found.null_count} contacts name {what} that are not of this world")
    return np.asarray(found.cast(pa.int64()).to_numpy(), dtype=np.int64)


def _seconds(times: pa.ChunkedArray) -> Ints:
    return np.asarray(times.cast(pa.int64()).to_numpy() // 1_000_000)


def _shown_at(rng: np.random.Generator, day: int, contacts: pa.Table) -> Ints:
    """A moment of the day in UTC within the window of each contact."""
    begin = np.maximum(_seconds(contacts["not_before"]), _midnight(day))
    end = np.minimum(_seconds(contacts["not_after"]), _midnight(day + 1)) - _QUIET_SECONDS
    if outside := int((end <= begin).sum()):
        raise ValueError(f"{outside} contacts may not be shown on {date_of(day)}: they are of another day")
    return np.asarray(begin + np.floor(rng.random(begin.size) * (end - begin)).astype(np.int64))


def _times(rng: np.random.Generator, day: int, happened: pa.Table) -> Ints:
    """When on a day each answer comes: after what was shown, if that was today, else at a usual hour."""
    shown_at = happened["shown_at"].to_numpy()
    kind = np.array(happened["type"].to_pylist(), dtype=object)
    rest = _midnight(day + 1) - shown_at - 240
    soon = shown_at + 120 + np.floor(rng.random(kind.size) * rest).astype(np.int64)
    usual = at_usual_hours(rng, np.full(kind.size, float(_midnight(day))))
    at = np.where(happened["exposed_on"].to_numpy() == day, soon, usual)
    for name, wait in _WAITS.items():
        at = np.where(kind == name, shown_at + wait, at)
    return np.asarray(at, dtype=np.int64)


def _exposures(contacts: pa.Table, shown_at: Ints, delivered: np.ndarray) -> pa.Table:
    """What the channel returns: the rows that it was given and has shown, with the time."""
    told = contacts.drop_columns(["not_before", "not_after"]).append_column("shown_at", as_timestamps(shown_at))
    return told.filter(pa.array(delivered)).sort_by([("shown_at", "ascending"), ("exposure_id", "ascending")])


def _responses(happened: pa.Table) -> pa.Table:
    """Answers to exposures that were shown; that somebody else bought as well tells no response."""
    rows = happened.filter(happened["delivered"])
    return pa.table(
        {
            "response_id": pc.binary_join_element_wise(rows["exposure_id"], rows["type"], "-"),
            "exposure_id": rows["exposure_id"],
            "response_type": rows["type"],
            "value": rows["value"],
            "amount": rows["amount"],
            "occurred_at": as_timestamps(rows["at"].to_numpy()),
        }
    ).sort_by([("occurred_at", "ascending"), ("response_id", "ascending")])


def _event_table(parts: Sequence[_Events], platform: int, day: int) -> pa.Table:
    """Events in the columns of `film/events` or `knowledge/events`, in order of time."""

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    order = np.lexsort((joined("item"), joined("person"), joined("at")))
    amount = joined("amount")[order]
    stem = f"sim-{PLATFORMS[platform][0]}-{date_of(day):%Y%m%d}"
    return pa.table(
        {
            "event_id": pa.array([f"{stem}-{number:06d}" for number in range(order.size)]),
            "user_id": user_ids(platform, joined("person")[order]),
            ITEM_COLUMNS[platform]: item_ids(joined("item")[order]),
            "event_type": pa.array(joined("event_type")[order], pa.string()),
            "occurred_at": as_timestamps(joined("at")[order]),
            "value": pa.array(joined("value")[order], pa.float64(), from_pandas=True),
            "amount": pa.array(amount, pa.float64(), from_pandas=True),
            "currency": pa.array(np.full(order.size, "USD", dtype=object), pa.string(), mask=np.isnan(amount)),
            "campaign_id": campaign_ids(joined("campaign")[order]),
        }
    )

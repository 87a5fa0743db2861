"""What people do on the knowledge platform, drawn from their film tastes.

The rule, in three steps (docs/demo.md tells it with numbers):

1. Attraction of a person to an item = how much more than others the person likes the film genres of the item's subject, plus how
   many films of the item's audience the person loved, each standardised over people.
2. A person takes as many items as their film activity suggests, drawn without replacement with log-odds `TASTE_PULL` x attraction
   plus the item's own appeal.
3. What happens with a taken item (trial, purchase, progress, completion, rating, refund) is a chain of coin flips whose odds rise
   with attraction.

Files, faults and campaigns are made elsewhere.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from simulation.catalogue import KINDS, Catalogue, subject_genre_weights
from simulation.clock import DAY_SECONDS, WORLD_END, WORLD_START, as_timestamps, at_usual_hours
from simulation.people import DEVICES, FilmTaste, KnowledgeAccounts
from simulation.seeding import Floats, Ints, random_stream

GENRE_SHARE = 0.8
"""Part of attraction that comes from genres; the rest comes from single films."""

TASTE_PULL = 1.4
"""Log-odds of taking an item per standard deviation of attraction."""

EVENT_TYPES = (
    "view",
    "trial",
    "favourite",
    "share",
    "purchase",
    "refund",
    "subscribe",
    "progress",
    "complete",
    "rating",
)

_COLUMN = KINDS.index("column")
_ARTICLE = KINDS.index("article")
_LIVE = KINDS.index("live")
_MAXIMUM_STEPS = 5


@dataclasses.dataclass(frozen=True)
class Events:
    """Events of the knowledge platform as parallel arrays of shape (events,).

    Attributes:
        account: Number of the account.
        item: Number of the item.
        event_type: Number in `EVENT_TYPES`.
        at: Unix seconds.
        value: Rating or fraction seen, NaN where there is none.
        amount: US dollars, NaN where no money moved.
        campaign: Number of the campaign that led there, -1 for none.
    """

    account: Ints
    item: Ints
    event_type: Ints
    at: Ints
    value: Floats
    amount: Floats
    campaign: Ints

    def __len__(self) -> int:
        return int(self.account.size)


@dataclasses.dataclass(frozen=True)
class TakenItems:
    """Which account takes up which item, and when: arrays of shape (pairs,).

    Attributes:
        account: Number of the account.
        item: Number of the item.
        attraction: Standardised attraction of the account's owner to the item.
        at: Unix seconds of the first visit.
    """

    account: Ints
    item: Ints
    attraction: Floats
    at: Ints


def measure_attraction(taste: FilmTaste, catalogue: Catalogue) -> Floats:
    """Step 1 of the rule.

    Args:
        taste: Tastes of the film platform's people.
        catalogue: The knowledge catalogue.

    Returns:
        Attraction of every person to every item, mean 0 and deviation 1 over people for each subject, shape (people, items).
    """
    by_genre = _standardise(taste.genre_lift @ subject_genre_weights(taste.genres).T)[:, catalogue.subject]
    items, films = catalogue.audience.shape[0], taste.film_id.size
    audience = np.zeros((films, items))
    audience[catalogue.audience, np.arange(items)[:, None]] = 1.0
    loved = np.asarray(taste.liked @ audience)
    loved_films = np.asarray(taste.liked.sum(axis=1)).reshape(-1, 1)
    by_film = _standardise(loved / np.sqrt(loved_films + 5.0))
    by_film -= by_film.mean(axis=1, keepdims=True)
    mixed = GENRE_SHARE * by_genre + (1.0 - GENRE_SHARE) * by_film
    return np.asarray(mixed / np.sqrt(GENRE_SHARE**2 + (1.0 - GENRE_SHARE) ** 2))


def take_items(
    seed: int, taste: FilmTaste, accounts: KnowledgeAccounts, catalogue: Catalogue, attraction: Floats
) -> TakenItems:
    """Step 2 of the rule.

    Args:
        seed: Seed of the world.
        taste: Tastes of the film platform's people.
        accounts: Accounts of the knowledge platform.
        catalogue: The knowledge catalogue.
        attraction: As `measure_attraction` gives it, shape (people, items).

    Returns:
        The pairs of account and item, each pair once.
    """
    rng = random_stream(seed, "taken items")
    count = accounts.person.size
    activity = 1.0 * np.sqrt(taste.rating_count[accounts.person])
    how_many = np.clip(np.round(rng.lognormal(np.log(5.0 + activity), 0.6)), 2, 60).astype(np.int64)
    log_odds = TASTE_PULL * attraction[accounts.person] + catalogue.appeal
    log_odds[catalogue.published_at[None, :] > accounts.active_to[:, None] - 2 * DAY_SECONDS] = -np.inf
    noisy = log_odds + rng.gumbel(size=log_odds.shape)
    order = np.argsort(-noisy, axis=1, kind="stable")[:, : int(how_many.max())]
    account = np.repeat(np.arange(count), how_many)
    item = order[np.arange(order.shape[1])[None, :] < how_many[:, None]]
    earliest = np.maximum(accounts.active_from[account], catalogue.published_at[item] + 3600)
    moment = earliest + rng.random(account.size) * np.maximum(accounts.active_to[account] - earliest, 3600)
    at = np.clip(at_usual_hours(rng, moment), earliest, WORLD_END - 1)
    return TakenItems(account=account, item=item, attraction=attraction[accounts.person[account], item], at=at)


def follow_through(seed: int, taken: TakenItems, catalogue: Catalogue) -> Events:
    """Step 3 of the rule.

    Args:
        seed: Seed of the world.
        taken: Pairs of account and item.
        catalogue: The knowledge catalogue.

    Returns:
        All events until the end of the world, in no order.
    """
    rng = random_stream(seed, "follow through")
    pairs = taken.account.size
    kind = catalogue.kind[taken.item]
    price = catalogue.price[taken.item]
    eager = 1.0 / (1.0 + np.exp(-taken.attraction))
    blocks: list[Events] = []

    def chance(probability: Floats | float) -> npt.NDArray[np.bool_]:
        return np.asarray(rng.random(pairs) < probability)

    def later(days: float) -> Ints:
        return np.asarray(60 + rng.exponential(days * DAY_SECONDS, pairs), dtype=np.int64)

    def add(name: str, which: npt.NDArray[np.bool_], at: Ints, value: Floats | None = None, paid: bool = False) -> None:
        size = int(which.sum())
        blocks.append(
            Events(
                account=taken.account[which],
                item=taken.item[which],
                event_type=np.full(size, EVENT_TYPES.index(name), dtype=np.int64),
                at=at[which],
                value=np.full(size, np.nan) if value is None else value[which],
                amount=price[which] if paid else np.full(size, np.nan),
                campaign=np.full(size, -1, dtype=np.int64),
            )
        )

    add("view", chance(1.0), taken.at)
    add("view", chance(0.35), taken.at + later(1.5))
    add("favourite", chance(0.08 + 0.22 * eager), taken.at + later(0.02))
    add("share", chance(0.03), taken.at + later(0.5))

    tries = chance(0.3) & np.isin(kind, [KINDS.index("course"), KINDS.index("audiobook"), _COLUMN])
    tried_at = taken.at + later(0.05)
    add("trial", tries, tried_at)

    bought_at = np.where(tries, tried_at, taken.at) + later(0.8)
    wants = chance(0.15 + 0.6 * eager)
    subscribes = wants & (kind == _COLUMN)
    buys = wants & (kind != _COLUMN) & (price > 0)
    add("subscribe", subscribes, bought_at, paid=True)
    add("purchase", buys, bought_at, paid=True)
    refunds = buys & chance(0.01 + 0.07 * (1.0 - eager))
    add("refund", refunds, bought_at + later(2.0), paid=True)

    uses = (subscribes | buys | (wants & (price == 0))) & ~refunds
    step_at = np.where(price == 0, taken.at, bought_at)
    steps = np.where(np.isin(kind, [_ARTICLE, _LIVE]), 1, rng.integers(1, _MAXIMUM_STEPS + 1, pairs))
    reach = rng.beta(0.7 + 2.2 * eager, 1.0)
    for step in range(1, _MAXIMUM_STEPS + 1):
        step_at = step_at + later(1.7)
        add("progress", uses & (step <= steps), step_at, value=np.round(reach * np.minimum(step / steps, 1.0), 2))
        finishes = uses & (step == steps) & (reach > 0.75)
        add("complete", finishes, step_at + 60)
        opinion = uses & (step == steps) & chance(np.where(reach > 0.75, 0.6, 0.2))
        stars = np.clip(np.round(2 * (3.5 + 0.65 * taken.attraction + rng.normal(0, 0.7, pairs))) / 2, 1.0, 5.0)
        add("rating", opinion, step_at + later(0.2), value=stars)
    return join_events(blocks)


def join_events(blocks: list[Events]) -> Events:
    """Puts blocks of events one after the other and drops what lies outside the world's time."""
    columns = {
        field.name: np.concatenate([getattr(block, field.name) for block in blocks])
        for field in dataclasses.fields(Events)
    }
    inside = (columns["at"] >= WORLD_START) & (columns["at"] < WORLD_END)
    return Events(**{name: column[inside] for name, column in columns.items()})


def events_table(
    seed: int, events: Events, accounts: KnowledgeAccounts, catalogue: Catalogue, campaign_ids: list[str]
) -> pa.Table:
    """The events in order of time, in the columns of `knowledge/events`.

    Args:
        seed: Seed of the world.
        events: The events.
        accounts: Accounts of the knowledge platform.
        catalogue: The knowledge catalogue.
        campaign_ids: Identifiers of the campaigns by number.

    Returns:
        One row per event.
    """
    rng = random_stream(seed, "events")
    order = np.lexsort((events.event_type, events.item, events.account, events.at))
    account, at = events.account[order], events.at[order]
    usual = accounts.device[account]
    device = np.where(rng.random(order.size) < 0.85, usual, rng.integers(0, len(DEVICES), order.size))
    campaign = events.campaign[order]
    visit_day = (at - WORLD_START) // DAY_SECONDS
    amount = pa.array(events.amount[order], from_pandas=True)
    content_ids = np.array(catalogue.table["content_id"].to_pylist(), dtype=object)
    return pa.table(
        {
            "event_id": pa.array([f"sim-e{number:06d}" for number in range(1, order.size + 1)]),
            "user_id": pa.array(accounts.user_id[account], pa.string()),
            "content_id": pa.array(content_ids[events.item[order]], pa.string()),
            "event_type": pa.array(np.array(EVENT_TYPES, dtype=object)[events.event_type[order]], pa.string()),
            "occurred_at": as_timestamps(at),
            "value": pa.array(events.value[order], from_pandas=True),
            "amount": amount,
            "currency": pa.array(
                np.array([None, "USD"], dtype=object)[(~np.isnan(events.amount[order])).astype(int)], pa.string()
            ),
            "device": pa.array(np.array(DEVICES, dtype=object)[device], pa.string()),
            "region": pa.array(accounts.region[account], pa.string()),
            "session_id": pa.array(
                [f"sim-s{a}-{d}" for a, d in zip(account.tolist(), visit_day.tolist(), strict=True)]
            ),
            "campaign_id": pa.array(np.array([*campaign_ids, None], dtype=object)[campaign], pa.string()),
        }
    )


def _standardise(values: Floats) -> Floats:
    """Mean 0 and deviation 1 in every column."""
    deviation = values.std(axis=0, keepdims=True)
    return np.asarray((values - values.mean(axis=0, keepdims=True)) / np.where(deviation > 0, deviation, 1.0))

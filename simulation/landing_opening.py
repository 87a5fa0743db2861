"""What a simulated world delivers before anything happens: accounts, links, catalogues, campaigns and consents.

The people, campaigns and items are those of `response`; here they get names, places and prices. A platform also sells items that no
campaign is about. What people do, day after day, is `landing_world`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from simulation.clock import DAY_SECONDS, as_timestamps, midnight
from simulation.response import World
from simulation.seeding import Floats, Ints, random_stream

FIRST_DAY = dt.date(2025, 1, 1)
"""Day 0 of the world: the first on which anybody is contacted. Fixed, and far enough back that nothing lies in the future."""

HISTORY_DAYS = 60
"""Days before it on which people did something."""

FILM, KNOWLEDGE = 0, 1

PLATFORMS = ("film", "knowledge")

ITEM_COLUMNS = ("film_id", "content_id")

_HISTORY_START = midnight(FIRST_DAY) - HISTORY_DAYS * DAY_SECONDS
# Items of each platform that no campaign is about, numbered from here: what people do besides.
_OTHER_ITEMS, _FIRST_OTHER = 40, 1_000
_TOPICS = ("History", "Science", "Crime", "Comedy", "Nature", "Music")
_KINDS = ("joint_promotion", "cross_ad", "special_programme", "interactive")
_CHANNELS = ("email", "app_banner", "push")
_COUNTRIES = ("US", "CN", "IN", "DE", "BR", "NZ")
_LANGUAGES = ("en", "zh", "en", "de", "pt", "en")
_COUNTRY_SHARES = (0.3, 0.25, 0.15, 0.12, 0.1, 0.08)
_DEVICES = ("phone", "computer", "tv")
# Contacts that the budget of a campaign pays a day, as a share of people.
_REACH = 0.02
_HOLDOUT = 0.2


@dataclasses.dataclass(frozen=True)
class Shelf:
    """Items of a platform: those of campaigns that bring people to it, then others.

    Attributes:
        number: Number of each item, from 1,000 for those that no campaign is about, shape (items,).
        topics: Directions over topics, unit vectors, shape (items, topics).
        price: US dollars, shape (items,).
        appeal: Log-odds of being looked at that are no matter of taste, shape (items,).
        is_of_campaign: Whether a campaign is about it, shape (items,).
    """

    number: Ints
    topics: Floats
    price: Floats
    appeal: Floats
    is_of_campaign: np.ndarray


def target_of(campaign: Ints) -> Ints:
    """Platform that campaigns bring people to: knowledge for even numbers, film for odd ones; shape (campaigns,)."""
    return np.where(campaign % 2 == 0, KNOWLEDGE, FILM)


def build_shelf(world: World, platform: int) -> Shelf:
    """The items of a platform.

    Args:
        world: The world.
        platform: `FILM` or `KNOWLEDGE`.
    """
    config = world.config
    numbers = np.arange(config.items)
    own = numbers[target_of(numbers % config.campaigns) == platform]
    rng = random_stream(world.seed, f"landing items {PLATFORMS[platform]}")
    topics = rng.normal(size=(_OTHER_ITEMS, config.topics))
    topics /= np.linalg.norm(topics, axis=1, keepdims=True)
    price = np.round(np.exp(rng.normal(np.log(10.0), 0.4, _OTHER_ITEMS)), 2)
    return Shelf(
        number=np.concatenate([own, _FIRST_OTHER + np.arange(_OTHER_ITEMS)]),
        topics=np.concatenate([world.topics_of(own), topics]),
        price=np.concatenate([world.prices()[own], price]),
        appeal=rng.normal(0.0, 0.7, own.size + _OTHER_ITEMS),
        is_of_campaign=np.arange(own.size + _OTHER_ITEMS) < own.size,
    )


def opening_tables(world: World, shelves: Sequence[Shelf], days: int) -> dict[str, pa.Table]:
    """Everything that is delivered once.

    Args:
        world: The world.
        shelves: Items of each platform in the order of `PLATFORMS`.
        days: Number of days that the campaigns run for.

    Returns:
        Landing tables by the path of their file.
    """
    everyone, agrees = np.arange(world.config.people), world.consent(0)
    since = np.full(everyone.size, _HISTORY_START)
    links = pa.table(
        {
            "knowledge_user_id": user_ids(KNOWLEDGE, everyone),
            "film_user_id": user_ids(FILM, everyone),
            "method": pa.array(["sso"] * everyone.size),
            "linked_at": as_timestamps(since),
        }
    )
    return {
        "film/users/accounts.parquet": _accounts(world, FILM, agrees),
        "knowledge/users/accounts.parquet": _accounts(world, KNOWLEDGE, agrees),
        "film/films/films.parquet": _catalogue(shelves[FILM], FILM),
        "knowledge/contents/contents.parquet": _catalogue(shelves[KNOWLEDGE], KNOWLEDGE),
        "identity/account_links/links.parquet": links,
        "marketing/campaigns/campaigns.ndjson": _campaigns(world, days),
        "privacy/consents/initial.parquet": consents(everyone, agrees, since),
    }


def consents(person: Ints, granted: np.ndarray, at: Ints) -> pa.Table:
    """Consents to marketing on both platforms, in the columns of `privacy/consents`.

    Args:
        person: Number of each person.
        granted: Whether each agrees.
        at: Unix seconds of each.
    """
    size = person.size
    return pa.concat_tables(
        pa.table(
            {
                "platform": pa.array([name] * size, pa.string()),
                "user_id": user_ids(platform, person),
                "purpose": pa.array(["marketing"] * size, pa.string()),
                "granted": pa.array(granted, pa.bool_()),
                "changed_at": as_timestamps(at),
            }
        )
        for platform, name in enumerate(PLATFORMS)
    )


def user_ids(platform: int, person: Ints) -> pa.Array:
    """Identifiers of people's accounts on a platform."""
    return pa.array([f"sim-{PLATFORMS[platform][0]}{number:07d}" for number in person.tolist()], pa.string())


def item_ids(item: Ints) -> pa.Array:
    """Identifiers of items on the platform that sells them."""
    return pa.array([f"sim-i{number:04d}" for number in item.tolist()], pa.string())


def campaign_ids(campaign: Ints) -> pa.Array:
    """Identifiers of campaigns; null for -1."""
    return pa.array([None if n < 0 else f"sim-loop-{n + 1}" for n in campaign.tolist()], pa.string())


def _accounts(world: World, platform: int, agrees: np.ndarray) -> pa.Table:
    people = world.config.people
    # The same for both platforms: the accounts are of the same people.
    rng = random_stream(world.seed, "landing people")
    country = rng.choice(len(_COUNTRIES), people, p=_COUNTRY_SHARES)
    signup = as_timestamps(_HISTORY_START - (world.features()["tenure_days"].to_numpy() + 1) * DAY_SECONDS)
    return pa.table(
        {
            "user_id": user_ids(platform, np.arange(people)),
            "signup_at": signup,
            "birth_year": rng.integers(1950, 2006, people),
            "gender": _words(("female", "male"), rng.choice(2, people)),
            "country": _words(_COUNTRIES, country),
            "language": _words(_LANGUAGES, country),
            "device": _words(_DEVICES, rng.choice(len(_DEVICES), people)),
            "marketing_consent": agrees,
            "updated_at": signup,
        }
    )


def _catalogue(shelf: Shelf, platform: int) -> pa.Table:
    size = shelf.number.size
    topics = [[_topic(number) for number in row] for row in np.argsort(-shelf.topics, axis=1, kind="stable")[:, :2]]
    titles = [f"{' and '.join(pair)}, no. {number}" for pair, number in zip(topics, shelf.number.tolist(), strict=True)]
    since = as_timestamps(np.full(size, _HISTORY_START - 400 * DAY_SECONDS))
    common = {
        ITEM_COLUMNS[platform]: item_ids(shelf.number),
        "title": pa.array(titles),
        "kind": pa.array(["movie" if platform == FILM else "course"] * size),
        "language": pa.array(["en"] * size),
        "price": pa.array(shelf.price),
        "currency": pa.array(["USD"] * size),
        "updated_at": since,
    }
    listed = pa.array(topics, pa.list_(pa.string()))
    if platform == FILM:
        return pa.table(common | {"genres": listed, "release_year": pa.array(np.full(size, 2020))})
    return pa.table(common | {"topics": listed, "published_at": since})


def _topic(number: int) -> str:
    return _TOPICS[number] if number < len(_TOPICS) else f"Topic {number + 1}"


def _campaigns(world: World, days: int) -> pa.Table:
    start = midnight(FIRST_DAY)
    count, people = world.config.campaigns, world.config.people
    numbers = np.arange(count)
    costs = world.costs()
    items = [world.items_of(number) for number in numbers.tolist()]
    target = target_of(numbers)
    contacts = max(1.0, people * _REACH) * days
    return pa.table(
        {
            "campaign_id": campaign_ids(numbers),
            "name": pa.array([f"Simulated campaign {number + 1}" for number in numbers.tolist()]),
            "kind": _words(_KINDS, numbers % len(_KINDS)),
            "objective": pa.array(["Simulated: see docs/simulation.md."] * count),
            "source_platform": _words(PLATFORMS, 1 - target),
            "target_platform": _words(PLATFORMS, target),
            "channel": _words(_CHANNELS, numbers % len(_CHANNELS)),
            "starts_at": as_timestamps(np.full(count, start)),
            "ends_at": as_timestamps(np.full(count, start + days * DAY_SECONDS - 1)),
            "budget": pa.array(np.round(costs * contacts, 2)),
            "currency": pa.array(["USD"] * count),
            "cost_per_exposure": pa.array(costs),
            "value_per_conversion": pa.array([round(float(world.prices()[of].mean()), 2) for of in items]),
            "frequency_cap": pa.array(np.full(count, 1)),
            "frequency_window_days": pa.array(np.full(count, 7)),
            "holdout_share": pa.array(np.full(count, _HOLDOUT)),
            "item_ids": pa.array([item_ids(of).to_pylist() for of in items], pa.list_(pa.string())),
            "status": pa.array(["approved"] * count),
            "updated_at": as_timestamps(np.full(count, start - 5 * DAY_SECONDS)),
        }
    )


def _words(words: Sequence[str], number: Ints) -> pa.Array:
    return pa.array(np.array(words, dtype=object)[number], pa.string())

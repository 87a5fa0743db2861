"""The people: real raters of MovieTweetings with what their ratings say of their taste, and who has which account.

Tastes come from real ratings; everything else about a person (name, place, age, consent, accounts on the knowledge platform) is
simulated. What people do with it is decided in `behaviour`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from simulation.clock import DAY_SECONDS, LAST_DAY, WORLD_END, WORLD_START, as_timestamps, midnight
from simulation.seeding import Floats, Ints, random_stream

LINKED_SHARE = 0.6
"""Share of the film platform's people whose knowledge account is known to be theirs."""

KNOWLEDGE_ONLY = 640
"""Knowledge accounts without a known film account; each has the taste of a film person drawn at random."""

HOUSEHOLDS = 8
"""Knowledge accounts that are linked to a film account which another knowledge account is linked to as well."""

_SHRINKAGE_FILMS = 2.0

# (country, region, city, language, weight)
_PLACES = (
    ("US", "California", "San Diego", "en", 10),
    ("US", "New York", "Albany", "en", 9),
    ("US", "Texas", "Austin", "en", 8),
    ("US", "Illinois", "Springfield", "en", 6),
    ("GB", "England", "Leeds", "en", 9),
    ("GB", "Scotland", "Dundee", "en", 4),
    ("CA", "Ontario", "Kingston", "en", 6),
    ("AU", "Victoria", "Geelong", "en", 5),
    ("IN", "Karnataka", "Mysuru", "en", 6),
    ("BR", "Minas Gerais", "Uberlandia", "pt", 6),
    ("ES", "Andalusia", "Granada", "es", 5),
    ("MX", "Jalisco", "Guadalajara", "es", 5),
    ("NL", "Utrecht", "Utrecht", "nl", 4),
    ("DE", "Saxony", "Leipzig", "de", 5),
    ("TR", "Izmir", "Izmir", "tr", 4),
    ("FR", "Brittany", "Rennes", "fr", 4),
)
DEVICES = ("phone", "tablet", "computer", "tv")


@dataclasses.dataclass(frozen=True)
class FilmTaste:
    """What real ratings say about people.

    Attributes:
        person_id: MovieTweetings' number of each person, ascending, shape (people,).
        film_id: IMDb number of each film, in the order of the films' file, shape (films,).
        genres: Names of the genres.
        film_genres: Share of each genre in each film, shape (films, genres).
        film_popularity: Number of ratings of each film, shape (films,).
        genre_lift: Log of the person's share of a genre over everybody's, shape (people, genres).
        liked: 1 where the person gave the film 8 or more of 10, CSR, shape (people, films).
        rating_count: Number of ratings of each person, shape (people,).
        first_at: Unix seconds of the first rating, shape (people,).
        last_at: Unix seconds of the last rating, shape (people,).
    """

    person_id: Ints
    film_id: npt.NDArray[np.object_]
    genres: tuple[str, ...]
    film_genres: Floats
    film_popularity: Floats
    genre_lift: Floats
    liked: sparse.csr_matrix
    rating_count: Ints
    first_at: Ints
    last_at: Ints


@dataclasses.dataclass(frozen=True)
class KnowledgeAccounts:
    """The accounts of the knowledge platform.

    Attributes:
        user_id: Identifiers, shape (accounts,).
        person: Number of the film person whose taste the account has, shape (accounts,).
        is_linked: Whether the account is linked to that person's film account, shape (accounts,).
        active_from: Unix seconds from which the account is used, shape (accounts,).
        active_to: Unix seconds until which it is used, shape (accounts,).
        device: Number of the usual device in `DEVICES`, shape (accounts,).
        region: Region of the account's owner, shape (accounts,).
    """

    user_id: npt.NDArray[np.object_]
    person: Ints
    is_linked: npt.NDArray[np.bool_]
    active_from: Ints
    active_to: Ints
    device: Ints
    region: npt.NDArray[np.object_]


@dataclasses.dataclass(frozen=True)
class People:
    """Accounts of both platforms with the tables that describe them.

    Attributes:
        knowledge: The accounts of the knowledge platform.
        film_user_id: Identifier of each film person's account, shape (people,).
        film_consent: Whether the person agreed to marketing on the film platform, shape (people,).
        knowledge_consent: The same for knowledge accounts, shape (accounts,).
        tables: Landing tables by path: knowledge/users, film/users, identity/account_links, privacy/consents,
            privacy/erasure_requests, social/follows.
    """

    knowledge: KnowledgeAccounts
    film_user_id: npt.NDArray[np.object_]
    film_consent: npt.NDArray[np.bool_]
    knowledge_consent: npt.NDArray[np.bool_]
    tables: dict[str, pa.Table]


def measure_taste(ratings: pa.Table, films: pa.Table) -> FilmTaste:
    """Turns ratings into tastes by the documented rule.

    A rating r of 10 counts (r - 4) / 6, never below 0, spread evenly over the genres of the film. A person's share of a genre is
    drawn towards everybody's by two films' worth of ratings; the lift is the logarithm of the one over the other.

    Args:
        ratings: As `movietweetings.read_ratings` gives them.
        films: As `movietweetings.read_films` gives them.

    Returns:
        The tastes of all people who rate.
    """
    film_id = np.array(films["film_id"].to_pylist(), dtype=object)
    film_number = {identifier: number for number, identifier in enumerate(film_id)}
    names = films["genres"].to_pylist()
    genres = tuple(sorted({genre for of_film in names for genre in of_film or ()}))
    column = {genre: number for number, genre in enumerate(genres)}
    film_genres = np.zeros((len(film_id), len(genres)))
    for row, of_film in enumerate(names):
        for genre in of_film or ():
            film_genres[row, column[genre]] = 1.0 / len(of_film)

    person_id, person = np.unique(ratings["person_id"].to_numpy(), return_inverse=True)
    encoded = ratings["film_id"].combine_chunks().dictionary_encode()
    to_number = np.array([film_number[identifier] for identifier in encoded.dictionary.to_pylist()])
    film = to_number[encoded.indices.to_numpy()]
    rating = ratings["rating"].to_numpy().astype(np.float64)
    rated_at = ratings["rated_at"].to_numpy()

    shape = (person_id.size, film_id.size)
    weight = sparse.csr_matrix((np.maximum(rating - 4.0, 0.0) / 6.0, (person, film)), shape=shape)
    genre_sum = np.asarray(weight @ film_genres)
    everybody = genre_sum.sum(axis=0) / genre_sum.sum()
    share = (genre_sum + _SHRINKAGE_FILMS * everybody) / (genre_sum.sum(axis=1, keepdims=True) + _SHRINKAGE_FILMS)
    first_at = np.full(person_id.size, np.iinfo(np.int64).max)
    last_at = np.zeros(person_id.size, dtype=np.int64)
    np.minimum.at(first_at, person, rated_at)
    np.maximum.at(last_at, person, rated_at)
    loved = rating >= 8
    return FilmTaste(
        person_id=person_id.astype(np.int64),
        film_id=film_id,
        genres=genres,
        film_genres=film_genres,
        film_popularity=np.bincount(film, minlength=film_id.size).astype(np.float64),
        genre_lift=np.log(share / everybody),
        liked=sparse.csr_matrix((np.ones(int(loved.sum())), (person[loved], film[loved])), shape=shape),
        rating_count=np.bincount(person).astype(np.int64),
        first_at=first_at,
        last_at=last_at,
    )


def build_people(seed: int, taste: FilmTaste) -> People:
    """Gives the raters accounts, attributes, links, consents and acquaintances.

    Args:
        seed: Seed of the world.
        taste: Tastes of the film platform's people.

    Returns:
        The people of both platforms.
    """
    rng = random_stream(seed, "people")
    people = taste.person_id.size
    film_user_id = _labels("mt-", taste.person_id)

    linked = np.flatnonzero(rng.random(people) < LINKED_SHARE)
    twin = rng.choice(people, size=KNOWLEDGE_ONLY, replace=False)
    person = np.concatenate([linked, twin])
    is_linked = np.arange(person.size) < linked.size
    order = rng.permutation(person.size)
    person, is_linked = person[order], is_linked[order]
    accounts = person.size
    user_id = np.array([f"sim-u{number:05d}" for number in range(1, accounts + 1)], dtype=object)

    start = np.maximum(taste.first_at[person] - rng.integers(0, 25, accounts) * DAY_SECONDS, WORLD_START)
    end = np.minimum(taste.last_at[person] + rng.integers(5, 45, accounts) * DAY_SECONDS, WORLD_END)
    active_from = np.maximum(np.minimum(start, end - 21 * DAY_SECONDS), WORLD_START)
    active_to = np.minimum(np.maximum(end, active_from + 21 * DAY_SECONDS), WORLD_END)

    attributes = _attributes(rng, people)
    own = _attributes(rng, accounts)
    # A linked account describes the same human being as the film account; an unlinked one somebody else.
    described = {
        name: np.where(is_linked, attributes[name][person], own[name]) if name != "device" else own[name]
        for name in own
    }
    film_signup = (
        taste.first_at
        - rng.exponential(200.0, people).astype(np.int64) * DAY_SECONDS
        - rng.integers(60, DAY_SECONDS, people)
    )
    knowledge_signup = (
        active_from
        - rng.exponential(150.0, accounts).astype(np.int64) * DAY_SECONDS
        - rng.integers(60, DAY_SECONDS, accounts)
    )
    film_signup = np.minimum(film_signup, midnight(LAST_DAY))
    knowledge_signup = np.minimum(knowledge_signup, midnight(LAST_DAY))
    film_consent, film_changes = _consents(rng, "film", film_user_id, film_signup)
    knowledge_consent, knowledge_changes = _consents(rng, "knowledge", user_id, knowledge_signup)

    tables = {
        "film/users": _users(film_user_id, attributes, film_signup, film_consent, "viewer"),
        "knowledge/users": _users(user_id, described, knowledge_signup, knowledge_consent, "reader"),
        "privacy/consents": pa.concat_tables([knowledge_changes, film_changes]),
        "identity/account_links": _links(rng, user_id, person, is_linked, film_user_id, knowledge_signup, film_signup),
        "social/follows": pa.concat_tables(
            [
                _follows(rng, "film", film_user_id, taste.genre_lift, film_signup),
                _follows(rng, "knowledge", user_id, taste.genre_lift[person], knowledge_signup),
            ]
        ),
        "privacy/erasure_requests": pa.table(
            {
                "platform": ["knowledge", "film"],
                "user_id": [str(user_id[np.flatnonzero(~is_linked)[0]]), str(film_user_id[-1])],
                "requested_at": as_timestamps(np.array([midnight(LAST_DAY) - 900_000, midnight(LAST_DAY) - 200_000])),
            }
        ),
    }
    knowledge = KnowledgeAccounts(
        user_id=user_id,
        person=person,
        is_linked=is_linked,
        active_from=active_from,
        active_to=active_to,
        device=np.array([DEVICES.index(device) for device in described["device"]]),
        region=described["region"],
    )
    return People(
        knowledge=knowledge,
        film_user_id=film_user_id,
        film_consent=film_consent,
        knowledge_consent=knowledge_consent,
        tables=tables,
    )


def _labels(prefix: str, numbers: Ints) -> npt.NDArray[np.object_]:
    return np.array([f"{prefix}{number}" for number in numbers], dtype=object)


def _blank(values: npt.NDArray[np.object_], where: npt.NDArray[np.bool_]) -> npt.NDArray[np.object_]:
    """The values with None where the mask says so."""
    blanked = values.copy()
    blanked[where] = None
    return blanked


def _attributes(rng: np.random.Generator, count: int) -> dict[str, npt.NDArray[np.object_]]:
    weights = np.array([place[4] for place in _PLACES], dtype=np.float64)
    place = rng.choice(len(_PLACES), size=count, p=weights / weights.sum())
    born = np.clip(np.round(rng.normal(1982, 11, count)), 1935, 1998).astype(int)
    gender = rng.choice(np.array(["male", "female", "other", None], dtype=object), size=count, p=[0.5, 0.38, 0.02, 0.1])
    known = rng.random(count) < 0.9
    return {
        "birth_year": _blank(born.astype(object), ~known),
        "gender": gender,
        "country": np.array([_PLACES[n][0] for n in place], dtype=object),
        "region": np.array([_PLACES[n][1] for n in place], dtype=object),
        "city": np.array([_PLACES[n][2] for n in place], dtype=object),
        "language": np.array([_PLACES[n][3] for n in place], dtype=object),
        "device": np.array(DEVICES, dtype=object)[rng.choice(4, size=count, p=[0.45, 0.15, 0.32, 0.08])],
    }


def _users(
    user_id: npt.NDArray[np.object_],
    attributes: dict[str, npt.NDArray[np.object_]],
    signup_at: Ints,
    consent: npt.NDArray[np.bool_],
    mailbox: str,
) -> pa.Table:
    numbers = np.arange(1, user_id.size + 1)
    return pa.table(
        {
            "user_id": pa.array(user_id, pa.string()),
            "signup_at": as_timestamps(signup_at),
            "birth_year": pa.array(attributes["birth_year"], pa.int32()),
            **{
                name: pa.array(attributes[name], pa.string())
                for name in ("gender", "country", "region", "city", "language", "device")
            },
            "marketing_consent": pa.array(consent),
            "email": pa.array([f"{mailbox}{number}@example.com" for number in numbers]),
            "phone": pa.array([f"+1 555 01{number % 100:02d}" for number in numbers]),
            "updated_at": as_timestamps(signup_at),
        }
    )


def _consents(
    rng: np.random.Generator, platform: str, user_id: npt.NDArray[np.object_], signup_at: Ints
) -> tuple[npt.NDArray[np.bool_], pa.Table]:
    """Answers given at sign-up, and marketing consents taken back later; and who agrees to marketing in the end."""
    count = user_id.size
    agreed = {purpose: rng.random(count) < share for purpose, share in (("marketing", 0.75), ("personalisation", 0.9))}
    taken_back = np.flatnonzero(agreed["marketing"] & (rng.random(count) < 0.03))
    latest = agreed["marketing"].copy()
    latest[taken_back] = False
    blocks = [
        (user_id, np.full(count, purpose, dtype=object), granted, signup_at) for purpose, granted in agreed.items()
    ]
    moment = rng.integers(WORLD_START, midnight(LAST_DAY), size=taken_back.size)
    blocks.append(
        (
            user_id[taken_back],
            np.full(taken_back.size, "marketing", dtype=object),
            np.zeros(taken_back.size, dtype=bool),
            np.maximum(moment, signup_at[taken_back] + 60),
        )
    )
    users, purposes, granted, changed_at = (np.concatenate(column) for column in zip(*blocks, strict=True))
    table = pa.table(
        {
            "platform": pa.array([platform] * users.size),
            "user_id": pa.array(users, pa.string()),
            "purpose": pa.array(purposes, pa.string()),
            "granted": pa.array(granted),
            "changed_at": as_timestamps(changed_at),
        }
    )
    return latest, table


def _links(
    rng: np.random.Generator,
    user_id: npt.NDArray[np.object_],
    person: Ints,
    is_linked: npt.NDArray[np.bool_],
    film_user_id: npt.NDArray[np.object_],
    knowledge_signup: Ints,
    film_signup: Ints,
) -> pa.Table:
    account = np.flatnonzero(is_linked)
    partner = person[account]
    # A household: a second knowledge account linked to a film account that already has one.
    second = np.flatnonzero(~is_linked)[1 : HOUSEHOLDS + 1]
    account = np.concatenate([account, second])
    partner = np.concatenate([partner, partner[:HOUSEHOLDS]])
    both = np.maximum(knowledge_signup[account], film_signup[partner])
    early = both + 60
    late = np.maximum(early + 60, WORLD_START + (rng.random(account.size) * (WORLD_END - WORLD_START)).astype(np.int64))
    linked_at = np.minimum(np.where(rng.random(account.size) < 0.5, early, late), WORLD_END - 60)
    order = np.lexsort((account, linked_at))
    method = np.where(rng.random(account.size) < 0.7, "sso", "declared")
    return pa.table(
        {
            "knowledge_user_id": pa.array(user_id[account][order], pa.string()),
            "film_user_id": pa.array(film_user_id[partner][order], pa.string()),
            "method": pa.array(method[order]),
            "linked_at": as_timestamps(linked_at[order]),
        }
    )


def _follows(
    rng: np.random.Generator, platform: str, user_id: npt.NDArray[np.object_], lift: Floats, signup_at: Ints
) -> pa.Table:
    """People follow those of 24 random others whose taste is closest to theirs, on average one."""
    count = user_id.size
    others = rng.integers(0, count, size=(count, 24))
    direction = lift / np.linalg.norm(lift, axis=1, keepdims=True)
    closeness = np.einsum("pg,pog->po", direction, direction[others])
    closeness[others == np.arange(count)[:, None]] = -np.inf
    best = np.take_along_axis(others, np.argsort(-closeness, axis=1)[:, :4], axis=1)
    how_many = np.minimum(rng.geometric(0.5, size=count) - 1, 4)
    taken = np.arange(4)[None, :] < how_many[:, None]
    follower = np.repeat(np.arange(count), how_many)
    followed = best[taken]
    pairs = np.unique(np.stack([follower, followed], axis=1), axis=0)
    earliest = np.maximum(np.maximum(signup_at[pairs[:, 0]], signup_at[pairs[:, 1]]), WORLD_START)
    since = earliest + (rng.random(len(pairs)) * np.maximum(midnight(LAST_DAY) - earliest, 60)).astype(np.int64)
    return pa.table(
        {
            "platform": pa.array([platform] * len(pairs)),
            "user_id": pa.array(user_id[pairs[:, 0]], pa.string()),
            "follows_user_id": pa.array(user_id[pairs[:, 1]], pa.string()),
            "since": as_timestamps(since),
        }
    )

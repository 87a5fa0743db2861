"""The demo world put together: every table of both platforms over the whole time of the world.

Cutting it into days, files and faults is the work of `demo`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulation import movietweetings
from simulation.behaviour import events_table, follow_through, join_events, measure_attraction, take_items
from simulation.campaigns import campaign_ids, run_campaigns
from simulation.catalogue import Catalogue, build_catalogue
from simulation.clock import as_timestamps
from simulation.people import FilmTaste, People, build_people, measure_taste

_FILM_KINDS = (("Short", "short"), ("Documentary", "documentary"), ("Animation", "animation"))


@dataclasses.dataclass(frozen=True)
class World:
    """Both platforms, from the first to the last moment of the world.

    Attributes:
        seed: Seed it was made with.
        taste: Tastes measured on real ratings.
        people: Accounts of both platforms.
        catalogue: The invented catalogue.
        tables: Every landing table by its path (`<source>/<table>`); tables of events are in order of time.
    """

    seed: int
    taste: FilmTaste
    people: People
    catalogue: Catalogue
    tables: Mapping[str, pa.Table]


@functools.lru_cache(maxsize=1)
def build_world(seed: int) -> World:
    """Makes the world of a seed; the last one made is kept.

    Args:
        seed: Seed, >= 0. The real film side is the same for every seed.

    Returns:
        The world.

    Raises:
        ValueError: If the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"the seed of the demo world must be 0 or more, got {seed}")
    ratings, films = movietweetings.read_ratings(), movietweetings.read_films()
    taste = measure_taste(ratings, films)
    people = build_people(seed, taste)
    catalogue = build_catalogue(seed, taste.film_genres, taste.film_popularity, taste.genres)
    attraction = measure_attraction(taste, catalogue)
    taken = take_items(seed, taste, people.knowledge, catalogue, attraction)
    marketing = run_campaigns(seed, taste, people, catalogue, attraction, taken)
    events = join_events([follow_through(seed, taken, catalogue), marketing.events])
    return World(
        seed=seed,
        taste=taste,
        people=people,
        catalogue=catalogue,
        tables={
            **people.tables,
            "film/films": _films_table(films),
            "film/events": _ratings_table(ratings),
            "knowledge/contents": catalogue.table,
            "knowledge/events": events_table(seed, events, people.knowledge, catalogue, campaign_ids()),
            "marketing/campaigns": marketing.campaigns,
            "marketing/exposures": marketing.exposures,
            "marketing/responses": marketing.responses,
        },
    )


def _films_table(films: pa.Table) -> pa.Table:
    """Real films in the columns of `film/films`."""

    def kind(genres: list[str] | None) -> str:
        return next((kind for genre, kind in _FILM_KINDS if genre in (genres or ())), "movie")

    return pa.table(
        {
            "film_id": films["film_id"],
            "title": films["title"],
            "kind": pa.array([kind(genres) for genres in films["genres"].to_pylist()]),
            "genres": films["genres"],
            "release_year": films["release_year"],
            "imdb_id": pc.binary_join_element_wise("tt", films["film_id"], ""),
        }
    )


def _ratings_table(ratings: pa.Table) -> pa.Table:
    """Real ratings in the columns of `film/events`."""
    person = ratings["person_id"].cast(pa.string())
    return pa.table(
        {
            "event_id": pc.binary_join_element_wise("mt", person, ratings["film_id"], "-"),
            "user_id": pc.binary_join_element_wise("mt", person, "-"),
            "film_id": ratings["film_id"],
            "event_type": pa.array(np.full(len(ratings), "rating", dtype=object), pa.string()),
            "occurred_at": as_timestamps(ratings["rated_at"].to_numpy()),
            "value": pa.array(movietweetings.rescale_rating(ratings["rating"].to_numpy())),
        }
    )

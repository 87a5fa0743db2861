"""The invented catalogue of the knowledge platform: about 600 items from hand-written works.

The works and their subjects are files in `catalogue_data/`: a person reads and edits them there. This module adds what a shop
adds (teachers, prices, levels, dates, a few companion items) and says for which films' audience an item is made. Who then takes
it is decided in `behaviour`.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import yaml

from simulation.clock import DAY_SECONDS, WORLD_END, WORLD_START, as_timestamps, midnight
from simulation.seeding import Floats, Ints, gumbel_top, random_stream

DATA_FOLDER = Path(__file__).parent / "catalogue_data"
ITEM_COUNT = 600
AUDIENCE_FILMS = 10
SIMULATED_MARK = "Simulated item of the Zhiying demo catalogue."

KINDS = ("course", "column", "audiobook", "ebook", "live", "article")
_KIND_OF_LETTER = {"course": 0, "column": 1, "audiobook": 2, "ebook": 3, "live": 4, "article": 5}

# Lowest and highest length in minutes, and the price points in US dollars, by kind.
_MINUTES = {
    "course": (240, 1500),
    "column": (120, 540),
    "audiobook": (210, 840),
    "ebook": (90, 420),
    "live": (60, 120),
    "article": (6, 24),
}
_PRICES = {
    "course": (29.0, 39.0, 49.0, 59.0, 79.0, 99.0, 129.0),
    "column": (4.99, 5.99, 7.99, 9.99),
    "audiobook": (8.99, 11.99, 14.99, 17.99, 21.99),
    "ebook": (4.99, 6.99, 8.99, 11.99),
    "live": (9.0, 12.0, 15.0, 19.0),
    "article": (0.0, 0.0, 0.0, 1.49),
}
_LEVELS = ("beginner", "intermediate", "advanced", "all levels")

# What a companion of a work is: (kind of the work, kind of the companion, its title).
_COMPANIONS = (
    ("course", "ebook", "{title}: The Course Reader"),
    ("course", "live", "{title}: Live Seminar"),
    ("audiobook", "ebook", "{title}: The Illustrated Edition"),
    ("audiobook", "article", "The Making of {title}"),
    ("column", "ebook", "{title}: The Collected Columns"),
    ("column", "live", "{title}: An Evening With the Author"),
)

_OPENINGS = {
    "course": (
        "{Count} lessons: {about}.",
        "A course in {count} parts: {about}.",
        "{Count} evenings with {teacher}: {about}.",
    ),
    "column": ("A weekly column: {about}.", "New every week: {about}.", "A subscription column: {about}."),
    "audiobook": ("{About}: an unabridged audiobook.", "Unabridged and read by the author: {about}."),
    "ebook": ("{About}.", "A compact book: {about}."),
    "live": ("A live evening: {about}.", "Live with questions from the audience: {about}."),
    "article": ("A long read: {about}.", "An essay: {about}."),
}
_CLOSINGS = {
    "course": (
        "Each lesson ends with a short exercise and a reading list.",
        "With transcripts, slides and a discussion group.",
        "{teacher} answers questions every second week.",
        "Made from ten years of evening classes.",
    ),
    "column": ("{teacher} replies to readers on Sundays.", "Short enough for one cup of coffee.", "Archive included."),
    "audiobook": ("With a closing conversation with {teacher}.", "Chapters of about half an hour.", "Notes included."),
    "ebook": ("With an index and notes.", "Reads well on a small screen.", "Drawings by the author."),
    "live": ("The recording stays available for a month.", "Places are limited.", "Hosted by {teacher}."),
    "article": ("By {teacher}.", "With sources.", "First of an occasional series by {teacher}."),
}
_COMPANION_OPENINGS = {
    "The Course Reader": "The texts, maps and exercises that go with the course: {about}.",
    "Live Seminar": "{teacher} meets the people of the course: {about}.",
    "The Illustrated Edition": "The book behind the audiobook, with pictures: {about}.",
    "The Making of": "{teacher} on the work behind the audiobook: {about}.",
    "The Collected Columns": "The best of the column in one volume: {about}.",
    "An Evening With the Author": "{teacher} on a year of the column: {about}.",
}


@dataclasses.dataclass(frozen=True)
class Subject:
    """A field of the catalogue and the film genres whose viewers are drawn to it.

    Attributes:
        name: Short name, unique.
        topic: First topic of every item of the subject.
        genres: Relative weight of each related film genre, > 0.
        teachers: Names of the invented teachers.
    """

    name: str
    topic: str
    genres: dict[str, float]
    teachers: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Work:
    """A hand-written work: what it is called, what it is about and what form it has."""

    subject: str
    kind: str
    title: str
    about: str
    topic: str
    companion_of: str | None = None


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The catalogue with what the simulation knows about it.

    Attributes:
        table: The items in the columns of `knowledge/contents`.
        subject: Number of each item's subject in `load_subjects()`, shape (items,).
        kind: Number of each item's kind in `KINDS`, shape (items,).
        price: Prices in US dollars, shape (items,).
        published_at: Unix seconds, shape (items,).
        appeal: Log popularity that has nothing to do with taste, shape (items,).
        audience: Numbers of the films for whose audience the item is made, shape (items, AUDIENCE_FILMS).
    """

    table: pa.Table
    subject: Ints
    kind: Ints
    price: Floats
    published_at: Ints
    appeal: Floats
    audience: Ints


@functools.cache
def load_subjects() -> tuple[Subject, ...]:
    """The subjects, in the order of the file."""
    entries = yaml.safe_load((DATA_FOLDER / "subjects.yaml").read_text(encoding="utf-8"))
    return tuple(
        Subject(
            name=name,
            topic=entry["topic"],
            genres={genre: float(weight) for genre, weight in entry["genres"].items()},
            teachers=tuple(entry["teachers"]),
        )
        for name, entry in entries.items()
    )


@functools.cache
def load_works() -> tuple[Work, ...]:
    """The hand-written works, in the order of the file."""
    with (DATA_FOLDER / "works.psv").open(encoding="utf-8", newline="") as lines:
        return tuple(Work(**row) for row in csv.DictReader(lines, delimiter="|", quoting=csv.QUOTE_NONE))


def subject_genre_weights(genres: Sequence[str]) -> Floats:
    """The taste rule as a matrix.

    Args:
        genres: Names of the film genres, one per column.

    Returns:
        Weight of each genre for each subject, shape (subjects, genres); every row sums to 1.
    """
    column = {genre: number for number, genre in enumerate(genres)}
    weights = np.zeros((len(load_subjects()), len(genres)))
    for row, subject in enumerate(load_subjects()):
        for genre, weight in subject.genres.items():
            if genre in column:
                weights[row, column[genre]] = weight
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12))


def build_catalogue(seed: int, film_genres: Floats, film_popularity: Floats, genres: Sequence[str]) -> Catalogue:
    """Makes the catalogue.

    Args:
        seed: Seed of the world.
        film_genres: Share of each genre in each film, shape (films, genres); rows sum to 1 or are 0.
        film_popularity: Number of ratings of each film, shape (films,).
        genres: Names of the genres, one per column of `film_genres`.

    Returns:
        The catalogue of `ITEM_COUNT` items.
    """
    rng = random_stream(seed, "catalogue")
    works = _with_companions(rng, load_works())
    subject_number = {subject.name: number for number, subject in enumerate(load_subjects())}
    subject = np.array([subject_number[work.subject] for work in works], dtype=np.int64)
    kind = np.array([_KIND_OF_LETTER[work.kind] for work in works], dtype=np.int64)

    fit = subject_genre_weights(genres) @ film_genres.T
    with np.errstate(divide="ignore"):
        log_weight = 2.0 * np.log(fit)[subject] + 0.5 * np.log(film_popularity)[None, :]
    audience = gumbel_top(rng, log_weight, AUDIENCE_FILMS)

    items = len(works)
    published_at = _publication_times(rng, items)
    changed_at = np.minimum(published_at + rng.integers(0, 200, size=items) * DAY_SECONDS, WORLD_START - DAY_SECONDS)
    price = np.array([rng.choice(_PRICES[work.kind]) for work in works])
    teachers = [_teachers_of(rng, work) for work in works]
    table = pa.table(
        {
            "content_id": [f"sim-c{number:04d}" for number in range(1, items + 1)],
            "title": [work.title for work in works],
            "kind": [work.kind for work in works],
            "summary": [_summary(rng, work, names[0]) for work, names in zip(works, teachers, strict=True)],
            "topics": [[load_subjects()[s].topic, work.topic] for s, work in zip(subject, works, strict=True)],
            "authors": teachers,
            "series": pa.array(_series_of(works), pa.string()),
            "language": ["en"] * items,
            "level": [_LEVELS[n] for n in rng.choice(4, size=items, p=[0.35, 0.3, 0.1, 0.25])],
            "duration_minutes": [float(rng.integers(*_MINUTES[work.kind])) for work in works],
            "price": price,
            "currency": ["USD"] * items,
            "published_at": as_timestamps(published_at),
            "updated_at": as_timestamps(np.maximum(published_at, changed_at)),
        }
    )
    return Catalogue(
        table=table,
        subject=subject,
        kind=kind,
        price=price,
        published_at=published_at,
        appeal=np.asarray(rng.normal(0.0, 0.7, size=items)),
        audience=audience,
    )


def _with_companions(rng: np.random.Generator, works: Sequence[Work]) -> list[Work]:
    """Fills the catalogue up to `ITEM_COUNT` with companions of works whose titles take one well."""
    eligible = [w for w in works if w.kind in ("course", "audiobook", "column") and not set(w.title) & set(":?,")]
    chosen = rng.permutation(len(eligible))[: ITEM_COUNT - len(works)]
    companions = []
    for number in sorted(chosen.tolist()):
        work = eligible[number]
        options = [(kind, title) for of_kind, kind, title in _COMPANIONS if of_kind == work.kind]
        kind, title = options[int(rng.integers(len(options)))]
        companions.append(
            dataclasses.replace(work, kind=kind, title=title.format(title=work.title), companion_of=work.title)
        )
    return [*works, *companions]


def _series_of(works: Sequence[Work]) -> list[str | None]:
    """A work and its companions are a series that is called by the work; whatever stands alone is in none."""
    called = {work.companion_of for work in works if work.companion_of is not None}
    return [work.companion_of or (work.title if work.title in called else None) for work in works]


def _publication_times(rng: np.random.Generator, items: int) -> npt.NDArray[np.int64]:
    """Nine of ten items are older than the world, the others appear while it runs."""
    old = rng.integers(midnight(dt.date(2010, 1, 4)), WORLD_START, size=items)
    new = rng.integers(WORLD_START, WORLD_END - 21 * DAY_SECONDS, size=items)
    return np.where(rng.random(items) < 0.9, old, new) // 3600 * 3600


def _teachers_of(rng: np.random.Generator, work: Work) -> list[str]:
    """The teacher of a work, now and then two; a companion is by the same people as the work."""
    subject = next(s for s in load_subjects() if s.name == work.subject)
    original = work.companion_of or work.title
    titles = [w.title for w in load_works() if w.subject == work.subject]
    first = titles.index(original) % len(subject.teachers)
    together = work.kind in ("course", "live") and work.companion_of is None and rng.random() < 0.12
    names = [subject.teachers[first]]
    if together:
        names.append(subject.teachers[(first + 1) % len(subject.teachers)])
    return names


def _summary(rng: np.random.Generator, work: Work, teacher: str) -> str:
    """Two sentences about the work and the mark that it is simulated."""
    count = str(rng.choice(["eight", "ten", "twelve", "sixteen", "twenty"]))
    words = {
        "about": work.about,
        "About": work.about[0].upper() + work.about[1:],
        "teacher": teacher,
        "count": count,
        "Count": count.capitalize(),
    }
    if work.companion_of is None:
        opening = str(rng.choice(_OPENINGS[work.kind]))
    else:
        opening = next(text for mark, text in _COMPANION_OPENINGS.items() if mark in work.title)
    closing = str(rng.choice(_CLOSINGS[work.kind]))
    return f"{opening.format(**words)} {closing.format(**words)} {SIMULATED_MARK}".replace("?.", "?")

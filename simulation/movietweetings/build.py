"""Makes the packaged subset of MovieTweetings from the published 100K snapshot.

    python -m simulation.movietweetings.build FOLDER_WITH_MOVIES_AND_RATINGS_DAT

Keeps the largest set in which every person has rated at least `MIN_RATINGS_PER_PERSON` kept films and every film was rated by at
least `MIN_RATINGS_PER_FILM` kept people: what is left is dense enough to learn from. Run by hand, once; reading what it made is
the package's work.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from simulation.movietweetings import FOLDER

MIN_RATINGS_PER_PERSON = 8
MIN_RATINGS_PER_FILM = 5

_LINES = "select column0 as line from read_csv($path, header = false, delim = '\x1f', quote = '', escape = '', columns = {'column0': 'varchar'})"  # noqa: E501


def build_subset(source: Path, target: Path = FOLDER) -> tuple[int, int, int]:
    """Writes `ratings.parquet` and `films.parquet`.

    Args:
        source: Folder with the snapshot's `movies.dat` and `ratings.dat`.
        target: Folder to write to.

    Returns:
        Number of ratings, people and films kept.

    Raises:
        FileNotFoundError: If one of the two source files is missing.
    """
    for name in ("movies.dat", "ratings.dat"):
        if not (source / name).is_file():
            raise FileNotFoundError(f"{source / name} is missing: expected a MovieTweetings snapshot")
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.execute(
            f"""
            create table rating as
            select
                split_part(line, '::', 1)::integer as person_id,
                split_part(line, '::', 2) as film_id,
                split_part(line, '::', 3)::utinyint as rating,
                split_part(line, '::', 4)::bigint as rated_at,
            from ({_LINES})
            """,
            {"path": str(source / "ratings.dat")},
        )
        connection.execute(
            f"""
            create table film as
            select
                regexp_extract(line, '^(\\d+)::(.*)::([^:]*)$', ['film_id', 'title', 'genres']) as part,
            from ({_LINES})
            """,
            {"path": str(source / "movies.dat")},
        )
        kept = -1
        while (now := _count(connection, "select count(*) from rating")) != kept:
            kept = now
            for key, floor in (("person_id", MIN_RATINGS_PER_PERSON), ("film_id", MIN_RATINGS_PER_FILM)):
                connection.execute(
                    f"""
                    delete from rating
                    where {key} in (select {key} from rating group by {key} having count(*) < {floor})
                    """
                )
        connection.execute(
            f"""
            copy (select * from rating order by rated_at, person_id, film_id)
            to '{target / "ratings.parquet"}' (format parquet, compression zstd, compression_level 19)
            """
        )
        connection.execute(
            f"""
            copy (
                select
                    part.film_id as film_id,
                    regexp_replace(part.title, '\\s*\\(\\d{{4}}\\)$', '') as title,
                    try_cast(regexp_extract(part.title, '\\((\\d{{4}})\\)$', 1) as integer) as release_year,
                    nullif(string_split(part.genres, '|'), ['']) as genres,
                from film
                where part.film_id in (select film_id from rating)
                order by film_id
            )
            to '{target / "films.parquet"}' (format parquet, compression zstd, compression_level 19)
            """
        )
        return (
            kept,
            _count(connection, "select count(distinct person_id) from rating"),
            _count(connection, "select count(distinct film_id) from rating"),
        )


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


if __name__ == "__main__":
    ratings, people, films = build_subset(Path(sys.argv[1]))
    sys.stdout.write(f"{ratings:,} ratings of {films:,} films by {people:,} people\n")

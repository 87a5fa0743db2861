"""The real film side of the demo: a dense subset of MovieTweetings, shipped as Parquet.

Reads the two packaged files and rescales the ratings. How the subset was chosen is in `build.py` and in the README beside it;
nothing in here is simulated.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent
RATINGS_FILE = FOLDER / "ratings.parquet"
FILMS_FILE = FOLDER / "films.parquet"


def read_ratings() -> pa.Table:
    """The subset's ratings, in order of time.

    Returns:
        Columns person_id (int32), film_id (string, the IMDb number), rating (uint8, as tweeted, 0 to 10) and rated_at (int64,
        unix seconds), one row per person and film.
    """
    return pq.read_table(RATINGS_FILE)


def read_films() -> pa.Table:
    """The subset's films, in order of film_id.

    Returns:
        Columns film_id (string), title (string, without the year), release_year (int32) and genres (list of string, NULL where
        the source names none).
    """
    return pq.read_table(FILMS_FILE)


def rescale_rating(rating: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Ratings 0 to 10 as 1 to 5 in halves: half of the rating, and 1 where that is less.

    So 10 becomes 5, 7 becomes 3.5, 3 becomes 1.5, and 2, 1 and 0 become 1.

    Args:
        rating: Ratings from 0 to 10, shape (ratings,).

    Returns:
        Ratings from 1 to 5 in steps of one half, shape (ratings,).

    Raises:
        ValueError: If a rating is outside 0 to 10.
    """
    halves = np.asarray(rating, dtype=np.float64) / 2.0
    if halves.size and (halves.min() < 0 or halves.max() > 5):
        raise ValueError(f"a MovieTweetings rating is 0 to 10, found {2 * halves.min():g} to {2 * halves.max():g}")
    return np.maximum(halves, 1.0)

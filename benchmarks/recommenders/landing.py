"""Ratings of a landing folder as one table of preferences, without the warehouse.

Holds what the recommender benchmarks need and no more: ratings of both platforms, with linked accounts as one person and the
latest rating of each pair, in the preference units of the main job (5 for the best rating, 0 for the worst).
"""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

_RATINGS = """
with ratings as (
    select 'film' as domain, user_id, film_id as item_id, value, occurred_at, file_row_number
    from read_parquet($film, file_row_number = true)
    where event_type = 'rating'
    union all
    select 'knowledge', user_id, content_id, value, occurred_at, file_row_number
    from read_parquet($knowledge, file_row_number = true)
    where event_type = 'rating'
)

select
    coalesce(accounts.user_key, ratings.domain || ':' || ratings.user_id) as user_key,
    ratings.domain || ':' || ratings.item_id as item_key,
    any_value(ratings.domain) as domain,
    arg_max(5.0 * (ratings.value - 1) / 4, (ratings.occurred_at, ratings.file_row_number)) as weight,
    weight as strength,
    true as is_consumed,
    max(ratings.occurred_at) as last_at
from ratings
left join accounts on accounts.account = ratings.domain || ':' || ratings.user_id
group by all
order by user_key, item_key
"""


def read_ratings(landing: Path) -> pa.Table:
    """Latest rating of each person x item.

    Args:
        landing: Folder with film/events, knowledge/events and identity/account_links as Parquet files; ratings from 1 to 5.

    Returns:
        Columns user_key, item_key, domain, weight, strength (equal: nothing decays), is_consumed (true), last_at; ordered by
        the keys. A person is the connected set of accounts and is called like the smallest of them.
    """
    with duckdb.connect() as connection:
        links = connection.execute(
            "select 'film:' || film_user_id as film, 'knowledge:' || knowledge_user_id as knowledge from read_parquet($links)",
            {"links": str(landing / "identity/account_links/*.parquet")},
        ).to_arrow_table()
        accounts = _people(links)  # noqa: F841, read by name in the query
        return connection.execute(
            _RATINGS,
            {
                "film": str(landing / "film/events/*.parquet"),
                "knowledge": str(landing / "knowledge/events/*.parquet"),
            },
        ).to_arrow_table()


def _people(links: pa.Table) -> pa.Table:
    """The smallest account (user_key) that each linked account is connected with."""
    ends = pa.concat_arrays([links.column(name).combine_chunks() for name in ("film", "knowledge")])
    accounts, position = np.unique(ends.to_numpy(zero_copy_only=False), return_inverse=True)
    film, knowledge = position[: links.num_rows], position[links.num_rows :]
    edges = coo_matrix((np.ones(len(film), dtype=np.int8), (film, knowledge)), shape=(len(accounts),) * 2)
    _, person = connected_components(edges, directed=False)
    _, first = np.unique(person, return_index=True)
    return pa.table({"account": pa.array(accounts.tolist(), pa.string()), "user_key": accounts[first][person].tolist()})

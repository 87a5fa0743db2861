"""The reader behind the recommender benchmarks."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.recommenders.landing import read_ratings


def day(number: int) -> datetime:
    return datetime(2024, 1, number, tzinfo=UTC)


def write(folder, columns):
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "part.parquet")


def test_linked_accounts_are_one_person_and_the_latest_rating_of_a_pair_counts(tmp_path):
    write(
        tmp_path / "film/events",
        {
            "user_id": ["b", "a", "a", "c", "a"],
            "film_id": ["x", "x", "x", "y", "x"],
            "event_type": ["rating", "rating", "rating", "rating", "view"],
            "value": [5, 4, 2, 1, None],
            "occurred_at": [day(1), day(2), day(2), day(3), day(9)],
        },
    )
    write(
        tmp_path / "knowledge/events",
        {"user_id": ["k"], "content_id": ["x"], "event_type": ["rating"], "value": [3], "occurred_at": [day(4)]},
    )
    # The film accounts a and b are one person, because both are linked to the knowledge account k.
    write(tmp_path / "identity/account_links", {"knowledge_user_id": ["k", "k"], "film_user_id": ["b", "a"]})
    rows = read_ratings(tmp_path).to_pylist()
    assert [(row["user_key"], row["item_key"], row["domain"], row["weight"], row["last_at"]) for row in rows] == [
        ("film:a", "film:x", "film", 1.25, day(2)),
        ("film:a", "knowledge:x", "knowledge", 2.5, day(4)),
        ("film:c", "film:y", "film", 0.0, day(3)),
    ]
    assert all(row["strength"] == row["weight"] and row["is_consumed"] for row in rows)

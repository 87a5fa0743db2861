"""What the SQL of several stations is written with."""

import duckdb


def has_relation(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether there is a table or a view of this name, `schema.name`, in the file that is open."""
    found = connection.execute(
        "select 1 from information_schema.tables "
        "where table_catalog = current_database() and table_schema || '.' || table_name = ?",
        [name],
    ).fetchone()
    return found is not None


def exact_sum(value: str, where: str = "true") -> str:
    """SQL that adds numbers up to a double that does not depend on the order in which threads meet them.

    Args:
        value: SQL of what is added, to nine places after the point.
        where: SQL of which rows count.
    """
    return f"cast(sum(cast({value} as decimal(38, 9))) filter (where {where}) as double)"

"""What the SQL of several stations is written with."""

from fractions import Fraction
from pathlib import Path

import duckdb
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.resources.warehouse import registered
from orchestration.sql import exact_sum, has_relation

AMOUNTS = st.lists(st.integers(-(10**9), 10**9).map(lambda cents: cents / 100), min_size=1, max_size=40)


@settings(deadline=None)
@given(AMOUNTS.flatmap(lambda amounts: st.tuples(st.just(amounts), st.permutations(amounts))))
def test_an_exact_sum_does_not_depend_on_the_order(both: tuple[list[float], list[float]]) -> None:
    one, other = both
    assert _sum(one) == _sum(other) == float(sum(Fraction(round(amount * 100), 100) for amount in one))


def test_an_exact_sum_is_of_the_rows_that_count() -> None:
    assert _sum([0.25, 0.5, 4.0], "value < 1") == 0.75
    assert _sum([0.25], "value < 0") is None


def _sum(values: list[float], where: str = "true") -> float | None:
    with duckdb.connect() as connection, registered(connection, numbers=pa.table({"value": values})):
        found: float | None = connection.execute(f"select {exact_sum('value', where)} from numbers").fetchall()[0][0]
    return found


def test_a_table_or_a_view_is_there_by_its_schema_in_the_open_file_only(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute("create schema one; create table one.rows (n int); create view one.seen as from one.rows")
        connection.execute(f"attach '{tmp_path / 'other.duckdb'}'; create table other.main.rows (n int)")
        assert has_relation(connection, "one.rows")
        assert has_relation(connection, "one.seen")
        assert not has_relation(connection, "main.rows")
        assert not has_relation(connection, "one.other")

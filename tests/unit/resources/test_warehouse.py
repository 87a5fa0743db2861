"""What the build file's SQL is written with."""

from fractions import Fraction

import duckdb
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from orchestration.resources.warehouse import exact_sum, registered

AMOUNTS = st.lists(st.integers(-(10**9), 10**9).map(lambda cents: cents / 100), min_size=1, max_size=40)


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

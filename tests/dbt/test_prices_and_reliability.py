"""Small marts over what Python has written: prices of limits, and whether predictions come true."""

from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from orchestration.marketing.planning import LIMIT_SCHEMA
from orchestration.marketing.reliabilities import RELIABILITY_SCHEMA
from tests.dbt.invocation import Dbt, DbtRun
from tests.dbt.raw_schema import RawSchema

BIN = {
    "reliability_key": "decided/click/1",
    "model": "decided",
    "answer": "click",
    "bin": 1,
    "contacts": 40,
    "predicted": 0.2,
    "observed": 0.25,
    "observed_low": 0.14,
    "observed_high": 0.4,
}
CAP = {
    "limit_key": "contact_cap/three_a_week",
    "limit_kind": "contact_cap",
    "channel": None,
    "window_days": 7,
    "allowed": 3.0,
    "used": 40.0,
    "shadow_price": 0.5,
    "bound_people": 4.0,
    "total_price": 2.0,
    "plan_id": "plan-1",
}


@pytest.fixture(scope="module")
def published(dbt: Dbt, fresh_raw: Callable[[], RawSchema]) -> Callable[..., DbtRun]:
    """Builds both marts from tables of the schemas that Python writes, and tests reliability."""
    raw = fresh_raw()
    raw.run(as_of="2026-01-31", batch=1)

    def build(measured: dict[str, Any], decided: dict[str, Any]) -> DbtRun:
        with raw.connect() as connection:
            connection.execute("create schema if not exists marketing")
            for table, schema, rows in (
                ("measured_reliability", RELIABILITY_SCHEMA, [measured]),
                ("decided_reliability", RELIABILITY_SCHEMA, [decided]),
                ("decided_limit", LIMIT_SCHEMA, [CAP]),
            ):
                connection.register("given", schema.empty_table().from_pylist(rows, schema))
                connection.execute(f"create or replace table marketing.{table} as from given")
                connection.unregister("given")
        ran = dbt("run", "--select", "limit_price")
        assert ran.succeeded, ran.output
        return dbt("build", "--select", "reliability")

    return build


def test_bins_of_both_kinds_and_prices_of_caps_are_published_as_they_were_written(
    published: Callable[..., DbtRun], dbt: Dbt
) -> None:
    present = BIN | {"reliability_key": "present/conversion/1", "model": "present", "answer": "conversion"}
    ran = published(BIN, present)
    assert ran.succeeded, ran.output
    with duckdb.connect(str(dbt.build_file)) as connection:
        rows = connection.execute("from marketing.reliability order by model").to_arrow_table().to_pylist()
        prices = connection.execute("from marketing.limit_price").to_arrow_table().to_pylist()
    assert [{key: row[key] for key in BIN} for row in rows] == [BIN, present]
    assert [{key: row[key] for key in CAP} for row in prices] == [CAP]


def test_a_bin_told_twice_stops_the_publication(published: Callable[..., DbtRun]) -> None:
    ran = published(BIN, BIN)
    assert not ran.succeeded
    assert "unique_key" in ran.output

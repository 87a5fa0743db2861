"""What is published of policies: whatever the ledger could say, an empty one included, and nothing that contradicts itself."""

from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from tests.dbt.invocation import Dbt, DbtRun
from tests.dbt.raw_schema import RawSchema, make_scored_tables

VALUED = {
    "policy": "contact_nobody",
    "estimator": "doubly_robust",
    "currency": "USD",
    "value": 1.0,
    "ci_low": 0.5,
    "ci_high": 1.5,
    "logged_value": 1.25,
    "difference": -0.25,
    "difference_low": -0.5,
    "difference_high": 0.0,
    "contacted_share": 0.0,
    "effective_sample": 120.0,
    "decisions": 300,
}
REFUSED = {
    "policy": "contact_everybody",
    "estimator": "ips",
    "currency": "USD",
    "effective_sample": 0.0,
    "decisions": 0,
    "refused": "none of 3 decisions has been followed",
}
CHECK = "a_policy_has_a_value_or_a_reason"


@pytest.fixture(scope="module")
def published(dbt: Dbt, fresh_raw: Callable[[], RawSchema]) -> Callable[..., DbtRun]:
    """Builds the mart from given rows, with its tests."""
    raw = fresh_raw()
    raw.run(as_of="2026-01-31", batch=1)

    def build(*rows: dict[str, Any]) -> DbtRun:
        with raw.connect() as connection:
            make_scored_tables(connection, {"measured_policy": rows})
        return dbt("build", "--select", "policy_value")

    return build


def test_an_empty_ledger_publishes_an_empty_table(published: Callable[..., DbtRun], dbt: Dbt) -> None:
    ran = published()
    assert ran.succeeded, ran.output
    assert f"{CHECK}" in ran.named("pass")
    with duckdb.connect(str(dbt.build_file)) as connection:
        assert connection.execute("select count(*) from marketing.policy_value").fetchall() == [(0,)]


def test_values_and_refusals_are_published_as_of_the_run(published: Callable[..., DbtRun], dbt: Dbt) -> None:
    ran = published(VALUED, REFUSED)
    assert ran.succeeded, ran.output
    with duckdb.connect(str(dbt.build_file)) as connection:
        rows = connection.execute(
            "select policy, value, refused, measured_at::date::varchar from marketing.policy_value order by policy"
        ).fetchall()
    assert rows == [
        ("contact_everybody", None, REFUSED["refused"], "2026-01-31"),
        ("contact_nobody", 1.0, None, "2026-01-31"),
    ]


def test_figures_that_contradict_themselves_are_not_published(published: Callable[..., DbtRun], dbt: Dbt) -> None:
    faulty = (
        {**VALUED, "refused": "both"},
        {**VALUED, "estimator": "ips", "value": None},
        {**VALUED, "estimator": "snips", "value": 2.0},
        {**VALUED, "estimator": "direct_method", "difference": 0.1},
    )
    ran = published(*faulty, VALUED | {"policy": "contact_everybody"})
    assert not ran.succeeded
    assert ran.named("fail") == {CHECK}
    assert "Got 4 results" in ran.output

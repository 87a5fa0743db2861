import errno

import duckdb
import pytest
from dagster import RetryRequested

from orchestration.resources.transient import is_transient, retried_when_transient


class DagsterDbtCliRuntimeError(Exception):
    """Stands in for the class of the same name, of which only name and text are looked at."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (duckdb.IOException("Could not set lock on file"), True),
        (duckdb.IOException("No such file"), False),
        (OSError(errno.EBUSY, "busy"), True),
        (OSError(errno.ENOSPC, "disk full"), False),
        (DagsterDbtCliRuntimeError("IO Error: Could not set lock on file"), True),
        (DagsterDbtCliRuntimeError("Failure in test unique_dim_user"), False),
        (ValueError("Could not set lock"), False),
    ],
)
def test_only_what_passes_by_itself_is_transient(error: Exception, expected: bool) -> None:
    assert is_transient(error) is expected


def test_a_passing_failure_asks_for_another_try() -> None:
    with pytest.raises(RetryRequested), retried_when_transient():
        raise OSError(errno.EAGAIN, "again")


def test_every_other_failure_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError), retried_when_transient():
        raise ZeroDivisionError

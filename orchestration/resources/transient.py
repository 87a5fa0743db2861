"""Which failures are worth a second try.

A file that somebody holds for a moment is; a wrong row, a broken contract or a bug is not, and failing fast shows it sooner.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
from dagster import RetryRequested

_PASSING_ERRNO = frozenset({errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT})
_LOCK_HELD = "Could not set lock"


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a little later without anybody changing anything."""
    if isinstance(error, duckdb.IOException):
        return _LOCK_HELD in str(error)
    if isinstance(error, OSError):
        return error.errno in _PASSING_ERRNO
    # dbt runs in a process of its own: of its errors only the text arrives here.
    return type(error).__name__ == "DagsterDbtCliRuntimeError" and _LOCK_HELD in str(error)


@contextmanager
def retried_when_transient(*, tries: int = 3, seconds: float = 5) -> Iterator[None]:
    """Turns a passing failure of a step into a request to run the step again; every other failure stays one."""
    try:
        yield
    except Exception as error:
        if is_transient(error):
            raise RetryRequested(max_retries=tries, seconds_to_wait=seconds) from error
        raise

"""What a run takes as given: the moment that counts as now, and the time zone of its days."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import duckdb

from orchestration.landing.errors import LandingError


class RunContextError(LandingError):
    """The point in time or the time zone of a run cannot be used."""

    exit_status = 2


def write_run_context(
    connection: duckdb.DuckDBPyConnection, as_of: datetime | None = None, time_zone: str = "UTC"
) -> datetime:
    """Fill raw.run, the one row from which all models take their time.

    Args:
        connection: A read-write connection to the build file, whose raw schema is loaded.
        as_of: The moment that counts as now, without zone in UTC; by default the time of the latest event.
        time_zone: IANA name of the time zone whose calendar days are counted.

    Returns:
        The moment, in UTC without zone.

    Raises:
        RunContextError: If the time zone is unknown, there is no event to take the time from, or none up to it.
    """
    try:
        ZoneInfo(time_zone)
    except (OSError, ValueError, KeyError) as error:  # an unknown name raises ZoneInfoNotFoundError, a KeyError
        raise RunContextError(
            f"time zone {time_zone!r} is unknown; expected an IANA name such as UTC or Asia/Shanghai"
        ) from error
    first, latest = connection.execute(
        "select min(occurred_at), max(occurred_at) from (select occurred_at from raw.knowledge__events where _is_current "
        "union all select occurred_at from raw.film__events where _is_current)"
    ).fetchall()[0]
    if as_of is None:
        as_of = latest
        if as_of is None:
            raise RunContextError("there is no event to take the time from: load events, or give the time (--as-of)")
    elif as_of.tzinfo is not None:
        as_of = as_of.astimezone(UTC).replace(tzinfo=None)
    if first is not None and as_of < first:
        raise RunContextError(f"as of {as_of} nothing had happened yet: the first event is of {first}")
    connection.execute("begin transaction")
    try:
        connection.execute("delete from raw.run")
        connection.execute(
            "insert into raw.run select ?, ?, coalesce(max(batch), 0) from raw.delivery", [as_of, time_zone]
        )
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise
    return as_of

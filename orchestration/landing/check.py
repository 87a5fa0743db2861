"""Checking a landing folder without loading it: the same reading and the same checks, into a warehouse that is thrown away."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import duckdb

from orchestration.landing.contract import Contract
from orchestration.landing.errors import NoEventsError
from orchestration.landing.loading import (
    DEFAULT_MAX_QUARANTINE_SHARE,
    EVENT_TABLES,
    LoadProgress,
    load_landing,
)
from orchestration.landing.report import LoadReport

_SHOWN = 20


def check_landing(
    landing_dir: Path,
    now: datetime | None = None,
    *,
    contract: Contract | None = None,
    max_quarantine_share: float = DEFAULT_MAX_QUARANTINE_SHARE,
    progress: Callable[[LoadProgress], None] | None = None,
) -> LoadReport:
    """Make all checks of a load on a landing folder, and keep nothing.

    Args:
        landing_dir: The landing folder.
        now: The wall clock; a time without zone is UTC.
        contract: The landing contract; by default the one of the project.
        max_quarantine_share: Share of a table's rows, 0 to 1, from which the report calls it over the limit.
        progress: Called after each file.

    Returns:
        What a load into an empty warehouse would do. `has_events` is false where such a load would fail.

    Raises:
        MissingLandingError: If there is no such folder.
    """
    with tempfile.TemporaryDirectory(prefix="zhiying-check-") as folder:
        connection = duckdb.connect(":memory:", config={"temp_directory": folder})
        try:
            connection.execute("set enable_progress_bar = false")  # the engine's own would go to standard output
            return load_landing(
                connection,
                landing_dir,
                contract=contract,
                secret=b"not kept",
                now=now,
                max_quarantine_share=max_quarantine_share,
                progress=progress,
            )
        except NoEventsError as error:
            return error.report
        finally:
            connection.close()


def render_report(report: LoadReport) -> str:
    """What a check found, for people: the tables, what is at fault, and what is not read."""
    return "\n".join(_lines(report))


def _lines(report: LoadReport) -> Iterator[str]:
    yield f"{'table':<26}{'files':>7}{'rows':>12}{'loaded':>12}{'duplicate':>11}{'refused':>9}  refused files"
    for table in report.tables:
        if table.files or table.files_refused:
            name = f"{table.source}/{table.table_name}"
            yield (
                f"{name:<26}{table.files:>7}{table.rows_read:>12,}{table.rows_loaded:>12,}{table.rows_duplicate:>11,}"
                f"{table.rows_quarantined:>9,}  {table.files_refused}"
            )
    total = sum(table.rows_quarantined + table.files_refused for table in report.tables)
    if total:
        yield ""
        yield "At fault" + (f" (the first {_SHOWN} of {total:,}):" if total > _SHOWN else ":")
        yield from (f"  {refusal}" for refusal in report.refusals[:_SHOWN])
    drift = [*_unknown_columns(report), *_not_read(report)]
    if drift:
        yield ""
        yield "Not in the contract, and not read:"
        yield from (f"  {line}" for line in drift)
    yield ""
    if not report.has_events:
        yield f"A load would fail: at least one of {' and '.join(EVENT_TABLES)} must hold a valid row."
    for table in report.tables_over_limit:
        yield (
            f"A run would stop before publishing: {table.quarantine_share:.1%} of {table.source}/{table.table_name} is refused."
        )
    yield (
        "Everything fits the contract."
        if report.is_clean
        else "Correct what is at fault; docs/landing.md says what is expected."
    )


def _unknown_columns(report: LoadReport) -> Iterator[str]:
    for file in report.files:
        if file.unknown_columns:
            yield f"{file.file}: column{'s' * (len(file.unknown_columns) > 1)} {', '.join(file.unknown_columns)}"


def _not_read(report: LoadReport) -> Iterator[str]:
    yield from (f"{folder}/: unknown folder" for folder in report.unknown_folders)
    yield from (f"{file}: unknown kind of file" for file in report.unread_files)

"""What goes wrong in deliveries: rows that come late, files that come twice, files and rows that are broken.

Every function takes deliveries (path to content) and adds to them in place. Faults are few enough (below 1 % of the rows of every
table) that a run goes through, and various enough that quarantine and load audit have something to show.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
from collections.abc import MutableMapping, Sequence

import numpy as np
import pyarrow as pa

from simulation.files import encode
from simulation.seeding import random_stream

Deliveries = MutableMapping[str, bytes]

# Rows that break one rule each: (what is wrong, the column, the text in its place).
_EVENT_FAULTS = (
    ("rating of zero", "value", "0"),
    ("rating above five", "value", "11"),
    ("unknown event type", "event_type", "veiw"),
    ("time before 1990", "occurred_at", "1970-01-01T00:00:00Z"),
    ("time in the far future", "occurred_at", "2100-01-01T00:00:00Z"),
    ("time that is none", "occurred_at", "yesterday evening"),
    ("no user", "user_id", ""),
    ("full-width digits", "value", "４.５"),
)
_MONEY_FAULTS = (
    ("amount in words", "amount", "nine dollars"),
    ("unknown currency", "currency", "DOLLARS"),
)


def day_path(table: str, day: dt.date, name: str) -> str:
    """Path of a file of a day's folder, relative to the landing folder."""
    return f"{table}/dt={day.isoformat()}/{name}"


def split_late_rows(seed: int, table: str, day: dt.date, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Parts a day's rows into those that come in time and those that come late, about one in eight.

    Args:
        seed: Seed of the world.
        table: Path of the table.
        day: Day of the rows.
        rows: The day's rows.

    Returns:
        The rows in time and the late ones, both in the order they had.
    """
    late = random_stream(seed, f"late {table} {day}").random(len(rows)) < 0.125
    return rows.filter(pa.array(~late)), rows.filter(pa.array(late))


def repeat_file(deliveries: Deliveries, path: str, again: str) -> None:
    """Delivers the bytes of one file under another name as well."""
    deliveries[again] = deliveries[path]


def add_truncated_file(deliveries: Deliveries, path: str, rows: pa.Table) -> None:
    """A Parquet file of which only the first part arrived."""
    whole = encode(rows, "parquet")
    deliveries[path] = whole[: len(whole) // 2]


def add_file_without_column(deliveries: Deliveries, path: str, rows: pa.Table, column: str) -> None:
    """A CSV file that lacks a column."""
    deliveries[path] = encode(rows.drop_columns([column]), "csv")


def add_empty_file(deliveries: Deliveries, path: str) -> None:
    """A file without a single byte."""
    deliveries[path] = b""


def add_file_in_wrong_encoding(deliveries: Deliveries, path: str, rows: pa.Table) -> None:
    """A CSV file in UTF-16 instead of UTF-8."""
    deliveries[path] = encode(rows, "csv").decode().encode("utf-16")


def bad_event_lines(table: str, template: pa.Table, with_money: bool) -> list[dict[str, str]]:
    """Rows of an event table that break one rule each.

    Args:
        table: Path of the table; goes into the identifiers of the events.
        template: One or more good rows; every bad row is the first of them with one column changed. It should be a rating, so
            that the changed value is judged as one.
        with_money: Whether the table's rows carry amounts, so that amounts can be wrong too.

    Returns:
        The rows as texts by column.
    """
    good = _as_text(template)
    prefix = table.split("/")[0]
    faults = _EVENT_FAULTS + (_MONEY_FAULTS if with_money else ())
    return [
        {**good, "event_id": f"sim-bad-{prefix}-{number}", column: text}
        for number, (_, column, text) in enumerate(faults, start=1)
    ]


def bad_line(template: pa.Table, **changes: str) -> dict[str, str]:
    """The first row of a table as texts by column, with changes."""
    return {**_as_text(template), **changes}


def append_csv_rows(deliveries: Deliveries, path: str, rows: Sequence[dict[str, str]]) -> None:
    """Appends rows to a plain CSV file that is delivered; its header gives the order of the columns."""
    content = deliveries[path].decode()
    header = next(csv.reader([content.split("\n", 1)[0]]))
    lines = [",".join(_quoted(row.get(name, "")) for name in header) for row in rows]
    deliveries[path] = (content + "\n".join(lines) + "\n").encode()


def append_ndjson_rows(deliveries: Deliveries, path: str, rows: Sequence[dict[str, str]]) -> None:
    """Appends rows to a plain NDJSON file that is delivered; empty texts are left out, plain numbers written as such."""

    def cell(name: str, text: str) -> str | float:
        return float(text) if name in ("value", "amount") and re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else text

    lines = [
        json.dumps({name: cell(name, text) for name, text in row.items() if text}, ensure_ascii=False) for row in rows
    ]
    deliveries[path] += "".join(f"{line}\n" for line in lines).encode()


def with_unknown_column(rows: pa.Table) -> pa.Table:
    """The rows with a column that the landing contract does not know."""
    versions = np.array(["3.1.0", "3.1.1", "3.2.0"], dtype=object)
    return rows.append_column("app_version", pa.array(versions[np.arange(len(rows)) % 3], pa.string()))


def _as_text(template: pa.Table) -> dict[str, str]:
    header, first = csv.reader(io.StringIO(encode(template.slice(0, 1), "csv").decode()))
    return dict(zip(header, first, strict=True))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text

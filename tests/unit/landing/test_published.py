"""What the audit and the quarantine tell of a delivery holds no account, address or phone number that strayed into it."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.landing.generate import render_docs
from tests.unit.landing.folder import Landing, Warehouse

FILE = "film/events/a.csv"
HEADER = "event_id,user_id,film_id,event_type,occurred_at"
PHONE = "+44 (0)7700 900-123"


def reason_of(warehouse: Warehouse, landing: Landing) -> str:
    warehouse.load(landing)
    ((_, _, _, reason),) = warehouse.quarantine()
    return str(reason)


def refused_event(warehouse: Warehouse, landing: Landing, row: str, columns: str) -> tuple[str, dict[str, str]]:
    """Reason and row in quarantine of the one row of a CSV of events."""
    landing.write(FILE, f"{columns}\n{row}\n")
    warehouse.load(landing)
    ((reason, raw),) = warehouse.rows("select reason, raw from raw.quarantine")
    return reason, json.loads(raw)


# Column names


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("u1,alice@example.com,+447700900123,zoë,2026-01-01", "u1 and 4 that are no names"),
        ("event_id,user 123456", "event_id and 1 that is no name"),
        ("447700900123,,alice@example.com", "3 that are no names"),
        ("event_id,Film Id,_x1234," + "x" * 42, "event_id, Film Id, _x1234 and 1 that is no name"),
    ],
)
def test_a_value_where_a_column_name_belongs_is_counted_and_not_shown(
    warehouse: Warehouse, landing: Landing, header: str, found: str
) -> None:
    landing.write(FILE, f"{header}\n")
    assert reason_of(warehouse, landing).partition("; ")[2] == f"columns found: {found}"


@pytest.mark.parametrize("extension", ["ndjson", "parquet"])
def test_a_key_that_is_no_name_is_not_shown_in_other_formats(
    warehouse: Warehouse, landing: Landing, extension: str
) -> None:
    file = f"film/events/a.{extension}"
    row = {"event_id": "e1", "alice@example.com": "x"}
    if extension == "ndjson":
        landing.ndjson(file, [row])
    else:
        landing.parquet(file, {name: [value] for name, value in row.items()})
    reason = reason_of(warehouse, landing)
    assert "columns found: " in reason
    assert reason.endswith("event_id and 1 that is no name")


def test_a_value_twice_in_the_header_is_not_shown(warehouse: Warehouse, landing: Landing) -> None:
    landing.write(FILE, "u1,alice@example.com,alice@example.com\n")
    warehouse.load(landing)
    assert warehouse.quarantine() == [(FILE, None, None, "the header holds 1 that is no name more than once")]


def test_an_unknown_column_that_is_no_name_is_stored_as_hidden(warehouse: Warehouse, landing: Landing) -> None:
    landing.write(FILE, f"{HEADER},mood,alice@example.com,+447700900123\ne1,u1,f1,view,2026-01-01,,,\n")
    report = warehouse.load(landing)
    assert report.files[0].unknown_columns == ("mood", "(hidden)", "(hidden)")
    assert warehouse.value("select unknown_columns from raw.delivery") == ["mood", "(hidden)", "(hidden)"]
    assert warehouse.winners() == ["e1"]


def test_a_value_that_the_engine_quotes_is_not_shown(warehouse: Warehouse, landing: Landing) -> None:
    path = landing.path("film/events/a.parquet")
    names = HEADER.split(",")
    rows = [pa.array([b"alice@example.com \xff\xfe"]) for _ in names]
    pq.write_table(pa.table(dict(zip(names, rows, strict=True))), path)
    reason = reason_of(warehouse, landing)
    assert reason.startswith("cannot be read as Parquet: ")
    assert "(hidden)" in reason
    assert "alice" not in reason


# Values


@pytest.mark.parametrize(
    ("value", "is_hidden"),
    [
        (PHONE, True),
        ("+447700900123", True),
        ("07700900123", True),
        ("0044 7700.900.123", True),
        ("(020) 7946-0123", True),
        ("0770-090", True),
        ("0770-09", False),
        ("12345 67x", False),
    ],
)
@pytest.mark.parametrize("column", ["event_type", "occurred_at"])
def test_what_looks_like_a_phone_number_is_hidden_in_reason_and_row(
    warehouse: Warehouse, landing: Landing, value: str, is_hidden: bool, column: str
) -> None:
    good = dict(zip(HEADER.split(","), ["e1", "u1", "f1", "view", "2026-01-01"], strict=True))
    reason, raw = refused_event(warehouse, landing, ",".join(({**good, column: value}).values()), HEADER)
    shown = "a value like a phone number (hidden)" if is_hidden else f'"{value}"'
    assert reason.startswith(f"{column}: found {shown}, expected")
    assert raw[column] == ("***" if is_hidden else value)


def test_a_row_that_slipped_by_a_column_shows_no_contact_data(warehouse: Warehouse, landing: Landing) -> None:
    landing.write(
        "film/users/u.csv",
        "user_id,birth_year,gender,country,region,language,device,signup_at,email,phone\n"
        f"u1,1980,GB,{PHONE},ann@example.org,447700900123,f,01234 567890,en,x\n",
    )
    warehouse.load(landing)
    ((reason, raw),) = warehouse.rows("select reason, raw from raw.quarantine")
    assert reason.startswith("signup_at: found a value like a phone number (hidden), expected a time")
    assert "country: found a value like a phone number (hidden), expected one of ISO" in reason
    shown = {name: value for name, value in json.loads(raw).items() if value != "***"}
    assert shown == {"gender": "GB", "device": "f"}


@pytest.mark.parametrize("value", ["447700900123", PHONE])
def test_a_phone_number_in_a_number_at_fault_is_hidden(warehouse: Warehouse, landing: Landing, value: str) -> None:
    reason, raw = refused_event(warehouse, landing, f"e1,u1,f1,rating,2026-01-01,{value}", f"{HEADER},value")
    assert "value: found a value like a phone number (hidden), expected" in reason
    assert raw["value"] == "***"


def test_identifiers_and_well_formed_numbers_and_times_are_shown(warehouse: Warehouse, landing: Landing) -> None:
    row = "1234567,u1,20260101,seen,1970-01-01,12345678.5"
    reason, raw = refused_event(warehouse, landing, row, f"{HEADER},amount")
    assert 'occurred_at: found "1970-01-01", expected a time from 1990 on' in reason
    assert raw == {
        "event_id": "1234567",
        "user_id": "***",
        "film_id": "20260101",
        "event_type": "seen",
        "occurred_at": "1970-01-01",
        "amount": "12345678.5",
    }


# The page


def test_the_page_says_that_paths_and_event_ids_are_published() -> None:
    page = " ".join(render_docs().split())
    assert "**File paths and event ids are published** and must not contain account ids or contact data." in page
    assert "hash without a key" in page

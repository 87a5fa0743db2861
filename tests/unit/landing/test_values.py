"""What each format may hold for each type, and what it becomes."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.landing.folder import Landing, Warehouse

EVENT = {"event_id": "e1", "user_id": "u1", "film_id": "f1", "event_type": "view", "occurred_at": "2026-01-01"}


def loaded(warehouse: Warehouse, landing: Landing, extension: str, column: str, value: Any) -> Any:
    """The stored value of one column of a film event, or 'refused'."""
    row = {**EVENT, column: value}
    file = f"film/events/a.{extension}"
    if extension == "parquet":
        landing.parquet(file, {name: value if isinstance(value, pa.Array) else [value] for name, value in row.items()})
    elif extension == "ndjson":
        landing.ndjson(file, [row])
    else:
        landing.write(file, ",".join(row) + "\n" + ",".join(row.values()) + "\n")
    warehouse.load(landing)
    rows = warehouse.rows(f"select {column} from raw.film__events")
    return rows[0][0] if rows else "refused"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2026-01-31", datetime(2026, 1, 31)),
        ("2026-01-31T18:30", datetime(2026, 1, 31, 18, 30)),
        ("2026-01-31 18:30:05", datetime(2026, 1, 31, 18, 30, 5)),
        ("2026-01-31T18:30:05.25Z", datetime(2026, 1, 31, 18, 30, 5, 250000)),
        ("2026-01-31T18:30:05+08:00", datetime(2026, 1, 31, 10, 30, 5)),
        ("2026-01-31T18:30:05-0330", datetime(2026, 1, 31, 22, 0, 5)),
        ("2026-01-31T18:30+02", datetime(2026, 1, 31, 16, 30)),
        ("2026-02-30", "refused"),
        ("31.01.2026", "refused"),
        ("1767225600", "refused"),
        ("infinity", "refused"),
        ("epoch", "refused"),
        ("2026-01-31T18:30:05+02:99", "refused"),
    ],
)
@pytest.mark.parametrize("extension", ["csv", "ndjson", "parquet"])
def test_a_text_time_is_iso_8601_and_an_offset_is_honoured(
    warehouse: Warehouse, landing: Landing, extension: str, text: str, stored: Any
) -> None:
    warehouse.connection.execute("set TimeZone = 'Asia/Shanghai'")  # must not matter
    assert loaded(warehouse, landing, extension, "occurred_at", text) == stored


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        (pa.array([datetime(2026, 1, 31, 18, 30)]), datetime(2026, 1, 31, 18, 30)),
        (pa.array([datetime(2026, 1, 31, 18, 30)], pa.timestamp("ns")), datetime(2026, 1, 31, 18, 30)),
        (pa.array([datetime(2026, 1, 31, 18, 30)], pa.timestamp("ms")), datetime(2026, 1, 31, 18, 30)),
        (
            pa.array([datetime(2026, 1, 31, 18, 30, tzinfo=timezone(timedelta(hours=8)))], pa.timestamp("us", "UTC")),
            datetime(2026, 1, 31, 10, 30),
        ),
        (pa.array([date(2026, 1, 31)]), datetime(2026, 1, 31)),
        (pa.array([1767225600]), "refused"),
    ],
)
def test_a_native_time_is_read_as_utc(warehouse: Warehouse, landing: Landing, values: pa.Array, stored: Any) -> None:
    warehouse.connection.execute("set TimeZone = 'Asia/Shanghai'")
    assert loaded(warehouse, landing, "parquet", "occurred_at", values) == stored


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        (pa.array([7]), "7"),
        (pa.array([7], pa.uint64()), "7"),
        (pa.array([7.0]), "7"),
        (pa.array([2.0**53 - 1]), "9007199254740991"),
        (pa.array([2.0**53]), "refused"),
        (pa.array([Decimal("7.00")]), "7"),
        (pa.array(["7.0"]), "7.0"),
        (pa.array([b"b7"]), "b7"),
        (pa.array([{"id": 7}]), "refused"),
        (pa.array([[7]]), "refused"),
    ],
)
def test_a_numeric_identifier_in_parquet_is_text(
    warehouse: Warehouse, landing: Landing, values: pa.Array, stored: str
) -> None:
    assert loaded(warehouse, landing, "parquet", "user_id", values) == stored


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (7, "7"),
        (7.0, "7"),
        (12345678901234567890123, "12345678901234567890123"),
        ({"id": 7}, "refused"),
        ([7], "refused"),
    ],
)
def test_a_numeric_identifier_in_ndjson_is_text(
    warehouse: Warehouse, landing: Landing, value: Any, stored: str
) -> None:
    assert loaded(warehouse, landing, "ndjson", "user_id", value) == stored


def test_identifiers_in_csv_are_kept_as_they_are_written(warehouse: Warehouse, landing: Landing) -> None:
    assert loaded(warehouse, landing, "csv", "user_id", "007.0") == "007.0"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("5", 5.0),
        ("-2.5", -2.5),
        (" 1e2 ", 100.0),
        (".5", 0.5),
        ("nan", "refused"),
        ("inf", "refused"),
        ("1e999", "refused"),
        ("1_000", "refused"),
        ("0x10", "refused"),
        ("1,5", "refused"),
    ],
)
@pytest.mark.parametrize("extension", ["ndjson", "parquet"])
def test_a_number_is_finite_and_decimal(
    warehouse: Warehouse, landing: Landing, extension: str, text: str, stored: Any
) -> None:
    assert loaded(warehouse, landing, extension, "value", text) == stored


def test_a_number_that_is_none_is_refused_in_parquet(warehouse: Warehouse, landing: Landing) -> None:
    assert loaded(warehouse, landing, "parquet", "value", pa.array([float("nan")])) == "refused"


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (19.99, Decimal("19.99")),
        (0.1 + 0.2, Decimal("0.3")),
        (0.00123, "refused"),
        (10**14, "refused"),
        (5, Decimal(5)),
    ],
)
@pytest.mark.parametrize("extension", ["ndjson", "parquet"])
def test_money_keeps_four_decimals_and_is_never_rounded(
    warehouse: Warehouse, landing: Landing, extension: str, value: Any, stored: Any
) -> None:
    assert loaded(warehouse, landing, extension, "amount", value) == stored


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("1990", 1990),
        (1990.0, 1990),
        ("1990.0", 1990),
        ("1990.5", "refused"),
        (1990.5, "refused"),
        ("99999999999", "refused"),
    ],
)
def test_a_whole_number_has_no_fraction(warehouse: Warehouse, landing: Landing, value: Any, stored: Any) -> None:
    landing.ndjson("film/users/a.ndjson", [{"user_id": "u", "birth_year": value}])
    warehouse.load(landing)
    rows = warehouse.rows("select birth_year from raw.film__users")
    assert (rows[0][0] if rows else "refused") == stored


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("true", True),
        ("FALSE", False),
        ("1", True),
        ("0", False),
        ("yes", True),
        ("on", "refused"),
        ("2", "refused"),
        (True, True),
        (1, True),
        (5, "refused"),
    ],
)
def test_a_bool_is_written_in_known_ways(warehouse: Warehouse, landing: Landing, value: Any, stored: Any) -> None:
    landing.ndjson("film/users/a.ndjson", [{"user_id": "u", "marketing_consent": value}])
    warehouse.load(landing)
    rows = warehouse.rows("select marketing_consent from raw.film__users")
    assert (rows[0][0] if rows else "refused") == stored


@pytest.mark.parametrize(
    ("country", "fits"), [("DE", True), ("de", True), ("XX", False), ("Germany", False), ("NO", True)]
)
def test_a_country_is_an_iso_code_in_any_case_kept_as_delivered(
    warehouse: Warehouse, landing: Landing, country: str, fits: bool
) -> None:
    landing.write("film/users/a.csv", f"user_id,country\nu,{country}\n")
    warehouse.load(landing)
    assert warehouse.winners("film__users", "country") == ([country] if fits else [])


def test_lists_are_native_or_separated_by_bars(warehouse: Warehouse, landing: Landing) -> None:
    landing.write("film/films/a.csv", 'film_id,title,kind,genres\ncsv,A,movie,"War|Film, noir||"\nnone,A,movie,\n')
    film = {"title": "A", "kind": "movie"}
    landing.ndjson(
        "film/films/b.ndjson",
        [
            {"film_id": "array", **film, "genres": ["War", "Film|noir", None, 7]},
            {"film_id": "text", **film, "genres": "War|Noir"},
            {"film_id": "empty", **film, "genres": []},
            {"film_id": "object", **film, "genres": {"a": 1}},
        ],
    )
    landing.parquet(
        "film/films/c.parquet",
        {"film_id": ["parquet"], "title": ["A"], "kind": ["movie"], "genres": pa.array([["War", ""]])},
    )
    warehouse.load(landing)
    assert dict(warehouse.rows("select film_id, genres from raw.film__films")) == {
        "csv": ["War", "Film, noir"],
        "none": None,
        "array": ["War", "Film|noir", "7"],
        "text": ["War", "Noir"],
        "empty": [],
        "parquet": ["War"],
    }
    assert [row[1:3] for row in warehouse.quarantine()] == [(4, "genres")]


def test_column_order_is_free_and_unknown_columns_are_reported(warehouse: Warehouse, landing: Landing) -> None:
    landing.write(
        "film/events/a.csv", "mood,occurred_at,event_type,film_id,user_id,event_id\nx,2026-01-01,view,f1,u1,e1\n"
    )
    report = warehouse.load(landing)
    assert warehouse.rows("select event_id, user_id, film_id from raw.film__events") == [("e1", "u1", "f1")]
    (outcome,) = report.files
    assert outcome.unknown_columns == ("mood",)
    assert outcome.missing_columns == ("value", "amount", "currency", "device", "region", "session_id", "campaign_id")
    assert warehouse.rows("select unknown_columns from raw.delivery") == [(["mood"],)]


@pytest.mark.parametrize("extension", ["csv", "csv.gz", "ndjson", "ndjson.gz"])
def test_a_byte_order_mark_and_windows_line_ends_are_tolerated(
    warehouse: Warehouse, landing: Landing, extension: str
) -> None:
    if extension.startswith("csv"):
        text = ",".join(EVENT) + "\r\n" + ",".join(EVENT.values()) + "\r\n"
    else:
        text = '{"event_id":"e1","user_id":"u1","film_id":"f1","event_type":"view","occurred_at":"2026-01-01"}\r\n'
    landing.write(f"film/events/a.{extension}", "\ufeff" + text)
    warehouse.load(landing)
    assert warehouse.rows("select event_id, occurred_at from raw.film__events") == [("e1", datetime(2026, 1, 1))]
    assert warehouse.quarantine() == []


@pytest.mark.parametrize("name", ["a[1]*?.parquet", "user_id=7/a.parquet", "it's.parquet", "Ü.PARQUET"])
def test_names_of_files_and_folders_are_only_names(warehouse: Warehouse, landing: Landing, name: str) -> None:
    landing.parquet(f"film/events/{name}", {key: [value] for key, value in EVENT.items()})
    warehouse.load(landing)
    assert warehouse.winners(column="user_id") == ["u1"]
    assert list(warehouse.audit()) == [f"film/events/{name}"]


def test_now_may_have_a_time_zone(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", "e1,u1,f1,view,2026-01-02T11:00:00Z,", "e2,u1,f1,view,2026-01-02T13:00:00Z,")
    warehouse.load(landing, now=datetime(2026, 1, 1, 20, tzinfo=timezone(timedelta(hours=8))))
    assert warehouse.winners() == ["e1"]
    assert warehouse.value("select loaded_at from raw.delivery") == datetime(2026, 1, 1, 12, tzinfo=UTC).replace(
        tzinfo=None
    )

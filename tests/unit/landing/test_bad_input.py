"""What arrives and does not fit ends in quarantine with file, row, column and reason; the rest loads."""

import gzip
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.landing.errors import MissingLandingError, NoEventsError
from orchestration.landing.loading import load_landing
from tests.unit.landing.folder import NOW, SECRET, Landing, Warehouse

GOOD = "good,u1,f1,view,2026-01-01T10:00:00Z,"
FILE = "film/events/a.csv"


def refused_row(warehouse: Warehouse, landing: Landing, *rows: str) -> tuple[int, str, str]:
    """Row, column and reason of the one refused row among CSV events."""
    landing.events(FILE, *rows)
    report = warehouse.load(landing)
    ((file, row_number, column, reason),) = warehouse.quarantine()
    assert file == FILE
    assert [str(refusal) for refusal in report.refusals] == [f"{FILE}, row {row_number}: {reason}"]
    return row_number, column, reason


def refused_file(warehouse: Warehouse, landing: Landing, file: str) -> str:
    """The reason why a file beside a good one is refused as a whole."""
    landing.events("film/events/good.csv", GOOD)
    report = warehouse.load(landing)
    ((found, row_number, _, reason),) = warehouse.quarantine()
    assert (found, row_number) == (file, None)
    assert warehouse.winners() == ["good"], "the other file must load"
    assert {outcome.file: outcome.status for outcome in report.files}[file] == "refused"
    assert warehouse.value(f"select rows_read from raw.delivery where file = '{file}'") == 0
    return str(reason)


# Rows


def test_a_rating_of_0_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    refused = refused_row(warehouse, landing, GOOD, "e2,u1,f1,rating,2026-01-01,0")
    assert refused == (2, "value", 'value: found "0", expected 1 to 5 in steps of 0.5 where event_type is rating')
    assert warehouse.winners() == ["good"]


@pytest.mark.parametrize(
    ("rating", "fits"), [("1", True), ("4.5", True), ("5", True), ("5.5", False), ("4.25", False), ("", False)]
)
def test_a_rating_is_1_to_5_in_halves(warehouse: Warehouse, landing: Landing, rating: str, fits: bool) -> None:
    landing.events(FILE, f"e1,u1,f1,rating,2026-01-01,{rating}")
    warehouse.load(landing)
    assert warehouse.winners() == (["e1"] if fits else [])


@pytest.mark.parametrize(
    ("progress", "fits"), [("0", True), ("1", True), ("0.37", True), ("1.01", False), ("-0.1", False), ("", True)]
)
def test_a_progress_is_a_fraction(warehouse: Warehouse, landing: Landing, progress: str, fits: bool) -> None:
    landing.events(FILE, f"e1,u1,f1,progress,2026-01-01,{progress}")
    warehouse.load(landing)
    assert warehouse.winners() == (["e1"] if fits else [])


def test_a_rating_in_a_file_without_values_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    landing.write(
        FILE, "event_id,user_id,film_id,event_type,occurred_at\ne1,u,f,rating,2026-01-01\ne2,u,f,view,2026-01-01\n"
    )
    warehouse.load(landing)
    assert warehouse.winners() == ["e2"]
    assert warehouse.quarantine()[0][1:3] == (1, "value")


def test_a_value_of_the_wrong_type_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    refused = refused_row(warehouse, landing, "e1,u1,f1,view,2026-01-01,many", GOOD)
    assert refused == (1, "value", 'value: found "many", expected a number')


def test_an_unknown_code_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    row_number, column, reason = refused_row(warehouse, landing, GOOD, GOOD.replace("view", "watched"))
    assert (row_number, column) == (2, "event_type")
    assert reason.startswith('event_type: found "watched", expected one of impression, view, search')


def test_a_missing_required_value_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    assert refused_row(warehouse, landing, GOOD, "e2,u1,  ,view,2026-01-01,") == (
        2,
        "film_id",
        "film_id: missing, expected text without NUL characters",
    )


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        ("1970-01-01T00:00:00Z", 'occurred_at: found "1970-01-01T00:00:00Z", expected a time from 1990 on'),
        (
            "2100-01-01T00:00:00Z",
            'occurred_at: found "2100-01-01T00:00:00Z", expected a time not more than a day ahead of now (2026-03-01T12:00Z)',
        ),
    ],
)
def test_a_time_before_1990_or_after_tomorrow_is_refused(
    warehouse: Warehouse, landing: Landing, moment: str, reason: str
) -> None:
    assert refused_row(warehouse, landing, GOOD, f"e2,u1,f1,view,{moment},") == (2, "occurred_at", reason)


def test_a_time_up_to_a_day_ahead_is_accepted(warehouse: Warehouse, landing: Landing) -> None:
    landing.events(
        FILE, f"e1,u1,f1,view,{NOW + timedelta(days=1)},", f"e2,u1,f1,view,{NOW + timedelta(days=1, seconds=1)},"
    )
    warehouse.load(landing)
    assert warehouse.winners() == ["e1"]


def test_a_campaign_may_end_in_the_future(warehouse: Warehouse, landing: Landing) -> None:
    landing.ndjson(
        "marketing/campaigns/c.ndjson",
        [
            {
                "campaign_id": "c1",
                "name": "Spring",
                "kind": "cross_ad",
                "source_platform": "film",
                "target_platform": "knowledge",
                "starts_at": "2026-05-01",
                "ends_at": "2026-06-01",
            }
        ],
    )
    warehouse.load(landing)
    assert warehouse.winners("marketing__campaigns", "campaign_id") == ["c1"]


@pytest.mark.parametrize("value", ["４", "٤", "１.5"])
def test_digits_of_another_script_are_not_converted(warehouse: Warehouse, landing: Landing, value: str) -> None:
    refused = refused_row(warehouse, landing, GOOD, f"e2,u1,f1,rating,2026-01-01,{value}")
    assert refused[:2] == (2, "value")
    assert f'value: found "{value}", expected a number' in refused[2]


def test_a_full_width_date_is_not_converted(warehouse: Warehouse, landing: Landing) -> None:
    assert refused_row(warehouse, landing, GOOD, "e2,u1,f1,view,２０２６-01-01,")[:2] == (2, "occurred_at")


def test_a_nul_byte_in_csv_refuses_its_row_only(warehouse: Warehouse, landing: Landing) -> None:
    refused = refused_row(warehouse, landing, GOOD, "e2,u1,f\x001,view,2026-01-01,", "e3,u1,f1,view,2026-01-01,")
    assert refused == (2, "film_id", 'film_id: found "f␀1", expected text without NUL characters')
    assert warehouse.winners() == ["e3", "good"]


def test_a_nul_byte_in_ndjson_and_parquet_refuses_its_row_only(warehouse: Warehouse, landing: Landing) -> None:
    rows = [
        {"event_id": f"j{n}", "user_id": "u", "film_id": item, "event_type": "view", "occurred_at": "2026-01-01"}
        for n, item in enumerate(["f", "f\0"])
    ]
    landing.ndjson("film/events/a.ndjson", rows)
    landing.parquet("film/events/b.parquet", {key: [row[key].replace("j", "p") for row in rows] for key in rows[0]})
    warehouse.load(landing)
    assert warehouse.winners() == ["j0", "p0"]
    assert [row[:3] for row in warehouse.quarantine()] == [
        ("film/events/a.ndjson", 2, "film_id"),
        ("film/events/b.parquet", 2, "film_id"),
    ]


def test_all_columns_at_fault_are_named_and_the_first_one_leads(warehouse: Warehouse, landing: Landing) -> None:
    _, column, reason = refused_row(warehouse, landing, "e1,,f1,seen,yesterday,x")
    assert column == "user_id"
    assert [part.split(":")[0] for part in reason.split("; ")] == ["user_id", "event_type", "occurred_at", "value"]


def test_personal_values_are_masked_in_the_quarantine(warehouse: Warehouse, landing: Landing) -> None:
    landing.ndjson(
        "film/users/u.ndjson",
        [
            {
                "user_id": "u-secret",
                "email": "ann@example.org",
                "phone": "+1 555",
                "country": "ann@example.org",
                "birth_year": "abc",
            }
        ],
    )
    warehouse.load(landing)
    ((column, reason, raw),) = warehouse.rows("select column_name, reason, raw from raw.quarantine")
    assert column == "birth_year"
    assert reason == (
        "birth_year: found a personal value (hidden), expected a whole number; "
        "country: found a value with @ (hidden), expected one of ISO 3166-1 alpha-2 countries"
    )
    assert raw == '{"user_id":"***","birth_year":"***","country":"***","email":"***","phone":"***"}'


def test_a_row_of_the_wrong_width_is_refused_with_its_shape(warehouse: Warehouse, landing: Landing) -> None:
    refused = refused_row(warehouse, landing, GOOD, "e2,Ann Ö. 12,f1", GOOD.replace("good", "e3"))
    assert refused == (2, None, "found 3 values, expected 6 as in the header")
    assert warehouse.value("select raw from raw.quarantine") == "x9,xxx x. 99,x9"


def test_a_line_that_is_no_json_is_refused_with_its_shape(warehouse: Warehouse, landing: Landing) -> None:
    good = '{"event_id":"e1","user_id":"u","film_id":"f","event_type":"view","occurred_at":"2026-01-01"}'
    landing.write("film/events/a.ndjson", f'{good}\n{{"event_id":"e2", broken\n\n{good.replace("e1", "e3")}\n[1]\n')
    warehouse.load(landing)
    assert warehouse.rows("select row_number, column_name, reason, raw from raw.quarantine order by 1") == [
        (2, None, "not a JSON object on one line", '{"xxxxx_xx":"x9", xxxxxx'),
        (4, None, "not a JSON object on one line", "[9]"),
    ]
    assert warehouse.audit() == {"film/events/a.ndjson": (4, 2, 2, 0)}


def test_a_json_object_with_a_key_twice_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    landing.write(
        "film/events/a.ndjson",
        '{"event_id":"e1","user_id":"u","film_id":"f","event_type":"view","occurred_at":"2026-01-01","film_id":"g"}\n',
    )
    warehouse.load(landing)
    assert warehouse.quarantine() == [("film/events/a.ndjson", 1, None, "a key is there twice")]


def test_10000_bad_rows_are_all_quarantined(warehouse: Warehouse, landing: Landing) -> None:
    bad = [f"b{n},u,f,rating,2026-01-01,9" if n % 2 else f'b{n},"u"x,f' for n in range(10_000)]
    landing.events(FILE, GOOD, *bad, GOOD.replace("good", "last"))
    report = warehouse.load(landing)
    assert warehouse.audit() == {FILE: (10_002, 2, 10_000, 0)}
    assert warehouse.rows(
        "select min(row_number), max(row_number), count(distinct row_number) from raw.quarantine"
    ) == [(2, 10_001, 10_000)]
    assert [table.table_name for table in report.tables_over_limit] == ["events"]
    assert len(report.refusals) == 100


def test_row_numbers_hold_after_refused_and_quoted_rows(warehouse: Warehouse, landing: Landing) -> None:
    landing.events(
        FILE,
        "short,row",
        'e2,"u\n\n1",f1,view,2026-01-01,',
        "",
        'e3,"u"x,f1,view,2026-01-01,',
        "e4,u1,f1,view,2026-01-01,x",
        "e5,u1,f1,view,2026-01-01,",
    )
    warehouse.load(landing)
    assert [row[1] for row in warehouse.quarantine()] == [1, 3, 4]
    assert warehouse.rows("select event_id, user_id, _row_number from raw.film__events order by 3") == [
        ("e2", "u\n\n1", 2),
        ("e5", "u1", 5),
    ]


# Legal, though it looks odd


def test_the_same_user_id_on_both_sides_of_a_link_loads(warehouse: Warehouse, landing: Landing) -> None:
    landing.write(
        "identity/account_links/l.csv", "knowledge_user_id,film_user_id,method,linked_at\n7,7,sso,2026-01-01\n"
    )
    warehouse.load(landing)
    assert warehouse.rows("select knowledge_user_id, film_user_id from raw.identity__account_links") == [("7", "7")]


def test_two_accounts_linked_to_one_load(warehouse: Warehouse, landing: Landing) -> None:
    landing.write(
        "identity/account_links/l.csv",
        "knowledge_user_id,film_user_id,method,linked_at\nk1,f1,sso,2026-01-01\nk2,f1,declared,2026-01-02\n",
    )
    warehouse.load(landing)
    assert warehouse.winners("identity__account_links", "knowledge_user_id") == ["k1", "k2"]
    assert warehouse.quarantine() == []


# Whole files


def test_a_truncated_parquet_file_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    path = landing.parquet("film/events/a.parquet", {"event_id": [f"e{n}" for n in range(1000)]})
    path.write_bytes(path.read_bytes()[:-100])
    assert refused_file(warehouse, landing, "film/events/a.parquet").startswith("cannot be read as Parquet: ")


def test_a_parquet_file_with_a_damaged_page_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    rows = 5000
    path = landing.path("film/events/a.parquet")
    columns = {
        "event_id": [f"e{n}" for n in range(rows)],
        "user_id": ["u"] * rows,
        "film_id": ["f"] * rows,
        "event_type": ["view"] * rows,
        "occurred_at": ["2026-01-01"] * rows,
    }
    pq.write_table(pa.table(columns), path, compression="gzip", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[2000:2400] = bytes(400)
    path.write_bytes(content)
    assert refused_file(warehouse, landing, "film/events/a.parquet").startswith("cannot be read as Parquet: ")


def test_a_text_file_named_parquet_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    landing.write("film/events/a.parquet", "event_id,user_id\n1,2\n")
    assert "Parquet" in refused_file(warehouse, landing, "film/events/a.parquet")


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_a_truncated_gzip_file_is_refused(warehouse: Warehouse, landing: Landing, kept: float) -> None:
    path = landing.events("film/events/a.csv.gz", *(f"e{n},u1,f1,view,2026-01-01,{n}" for n in range(5000)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert (
        refused_file(warehouse, landing, "film/events/a.csv.gz") == "truncated gzip file: it ends before its end mark"
    )


def test_a_damaged_gzip_file_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    path = landing.events("film/events/a.csv.gz", *(f"e{n},u1,f1,view,2026-01-01,{n}" for n in range(5000)))
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)
    assert refused_file(warehouse, landing, "film/events/a.csv.gz").startswith("damaged gzip file: ")


def test_a_csv_without_a_required_column_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    landing.write(FILE, "event_id,film_id,occurred_at\ne1,f1,2026-01-01\n")
    reason = refused_file(warehouse, landing, FILE)
    assert reason == "lacks the required columns user_id, event_type; columns found: event_id, film_id, occurred_at"
    assert warehouse.quarantine()[0][2] == "user_id"


@pytest.mark.parametrize("extension", ["parquet", "ndjson"])
def test_a_file_of_another_format_without_a_required_column_is_refused(
    warehouse: Warehouse, landing: Landing, extension: str
) -> None:
    file = f"film/events/a.{extension}"
    row = {"event_id": "e1", "film_id": "f1", "event_type": "view", "occurred_at": "2026-01-01"}
    if extension == "parquet":
        landing.parquet(file, {key: [value] for key, value in row.items()})
    else:
        landing.ndjson(file, [row])
    assert refused_file(warehouse, landing, file).startswith("lacks the required column user_id; ")


@pytest.mark.parametrize("extension", ["parquet", "csv", "csv.gz", "ndjson", "ndjson.gz"])
def test_an_empty_file_is_refused(warehouse: Warehouse, landing: Landing, extension: str) -> None:
    landing.path(f"film/events/a.{extension}").write_bytes(b"")
    assert refused_file(warehouse, landing, f"film/events/a.{extension}").startswith("the file is empty, expected ")


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_a_compressed_csv_without_a_header_is_refused(warehouse: Warehouse, landing: Landing, content: str) -> None:
    landing.write("film/events/a.csv.gz", content)
    assert refused_file(warehouse, landing, "film/events/a.csv.gz") == "the file is empty, expected a header"


def test_a_csv_with_only_a_header_loads_no_rows(warehouse: Warehouse, landing: Landing) -> None:
    landing.events(FILE)
    warehouse.load(landing)
    assert warehouse.audit() == {FILE: (0, 0, 0, 0)}


def test_a_column_twice_in_the_header_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    landing.write(FILE, "event_id,user_id,film_id,event_type,occurred_at,user_id\n")
    assert refused_file(warehouse, landing, FILE) == "the header holds user_id more than once"


def test_a_file_that_is_not_utf8_is_refused_with_line_and_byte(warehouse: Warehouse, landing: Landing) -> None:
    header = b"event_id,user_id,film_id,event_type,occurred_at\n"
    landing.write(FILE, header + b"e1,u,f,view,2026-01-01\ne2,u,caf\xe9,view,2026-01-01\n")
    expected = "wrong encoding: line 3 holds the byte 0xe9, which is not UTF-8; expected UTF-8"
    assert refused_file(warehouse, landing, FILE) == expected


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_utf16_file_is_refused(warehouse: Warehouse, landing: Landing, encoding: str) -> None:
    landing.write(FILE, "event_id,user_id,film_id,event_type,occurred_at\n".encode(encoding))
    assert refused_file(warehouse, landing, FILE).startswith("wrong encoding: ")


def test_a_link_to_nowhere_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    landing.path(FILE).symlink_to("nowhere.csv")
    assert refused_file(warehouse, landing, FILE) == "cannot be opened: No such file or directory"


def test_a_pipe_is_refused_and_not_waited_for(warehouse: Warehouse, landing: Landing) -> None:
    os.mkfifo(landing.path(FILE))
    assert refused_file(warehouse, landing, FILE) == "cannot be opened: not a regular file"


def test_a_file_without_read_permission_is_refused(
    warehouse: Warehouse, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = landing.events(FILE, GOOD)
    path_open = Path.open

    def refuse(self: Path, *arguments: Any, **named: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return path_open(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    assert refused_file(warehouse, landing, FILE) == "cannot be opened: Permission denied"


@pytest.mark.parametrize("extension", ["parquet", "csv", "csv.gz", "ndjson"])
@pytest.mark.parametrize("keeps_time", [True, False])
def test_a_file_that_changes_while_it_is_read_is_refused_and_tried_again(
    warehouse: Warehouse, landing: Landing, extension: str, keeps_time: bool
) -> None:
    file = f"film/events/a.{extension}"
    row = {"event_id": "e1", "user_id": "u", "film_id": "f", "event_type": "view", "occurred_at": "2026-01-01"}

    def write(event_id: str) -> Path:
        if extension == "parquet":
            return landing.parquet(file, {key: [value] for key, value in {**row, "event_id": event_id}.items()})
        if extension == "ndjson":
            return landing.ndjson(file, [{**row, "event_id": event_id}])
        return landing.events(file, f"{event_id},u,f,view,2026-01-01,")

    path = write("e1")

    def rewrite(_: Path) -> None:
        stat = path.stat()
        write("e2")
        if keeps_time:
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    report = warehouse.load(landing, after_reading=rewrite)
    assert warehouse.winners() == []
    assert warehouse.quarantine() == [
        (file, None, None, "the file changed while it was read; it is tried again with the next load")
    ]
    assert [outcome.status for outcome in report.files] == ["refused"]

    warehouse.load(landing)
    assert warehouse.winners() == ["e2"]
    assert warehouse.rows("select status from raw.delivery where is_current") == [("loaded",)]


def test_a_file_that_changes_and_is_put_back_is_tried_again(warehouse: Warehouse, landing: Landing) -> None:
    path = landing.events(FILE, GOOD)
    content = path.read_bytes()
    warehouse.load(landing, after_reading=lambda _: path.write_bytes(b"half writ"))
    path.write_bytes(content)
    warehouse.load(landing)
    assert warehouse.winners() == ["good"]


def test_a_file_that_vanishes_while_it_is_read_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    path = landing.events(FILE, GOOD)
    warehouse.load(landing, after_reading=lambda _: path.unlink())
    assert warehouse.winners() == []
    assert "the file changed while it was read" in warehouse.quarantine()[0][3]


@pytest.mark.parametrize("extension", ["csv", "ndjson", "parquet"])
def test_a_file_that_changes_before_its_turn_is_refused_and_tried_again(
    warehouse: Warehouse, landing: Landing, extension: str
) -> None:
    row = {"event_id": "e1", "user_id": "u", "film_id": "f", "event_type": "view", "occurred_at": "2026-01-01"}
    landing.events(FILE, GOOD)

    def write(event_id: str) -> None:
        changed = {**row, "event_id": event_id}
        match extension:
            case "csv":
                landing.events("film/events/b.csv", ",".join(changed.values()) + ",")
            case "ndjson":
                landing.ndjson("film/events/b.ndjson", [changed])
            case _:
                landing.parquet("film/events/b.parquet", {key: [value] for key, value in changed.items()})

    write("e1")
    warehouse.load(landing, progress=lambda progress: write("e2") if progress.done == 1 else None)
    assert warehouse.winners() == ["good"]
    warehouse.load(landing)
    assert warehouse.winners() == ["e2", "good"]


def test_a_parquet_file_with_a_column_name_that_is_not_utf8_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    path = landing.parquet("film/events/a.parquet", {"event_id": ["e1"], "namename": ["x"]})
    path.write_bytes(path.read_bytes().replace(b"namename", b"name\xff\xffme"))
    assert refused_file(warehouse, landing, "film/events/a.parquet").startswith("cannot be read as Parquet: ")


def test_a_header_that_cannot_be_split_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    landing.write(FILE, 'event_id,"user_id"x\n')
    expected = "the header cannot be read: a quote is not closed, or text follows a closing quote"
    assert refused_file(warehouse, landing, FILE) == expected


def test_a_compressed_ndjson_of_blank_lines_is_refused(warehouse: Warehouse, landing: Landing) -> None:
    landing.write("film/events/a.ndjson.gz", "\n\n")
    assert refused_file(warehouse, landing, "film/events/a.ndjson.gz") == "the file is empty, expected rows"


def test_a_refused_file_is_not_read_again_until_it_changes(warehouse: Warehouse, landing: Landing) -> None:
    landing.write(FILE, "event_id\n1\n")
    landing.events("film/events/good.csv", GOOD)
    warehouse.load(landing)
    report = warehouse.load(landing)
    assert not report.has_news
    assert [(outcome.status, outcome.is_news) for outcome in report.files] == [("refused", False), ("unchanged", False)]
    assert report.files[0].reason is not None
    assert report.files[0].reason.startswith("lacks the required columns")


# The folder


def test_a_missing_landing_folder_is_the_fault_of_the_call(warehouse: Warehouse, landing: Landing) -> None:
    nowhere = Landing(landing.root / "nowhere")
    with pytest.raises(
        MissingLandingError, match="nowhere: there is no such folder; expected <landing>/<source>"
    ) as caught:
        warehouse.load(nowhere)
    assert caught.value.exit_status == 2


def test_a_file_as_landing_folder_is_the_fault_of_the_call(warehouse: Warehouse, landing: Landing) -> None:
    with pytest.raises(MissingLandingError, match="it is not a folder"):
        warehouse.load(Landing(landing.write("file", "")))


def test_a_landing_folder_without_events_is_the_fault_of_the_data(warehouse: Warehouse, landing: Landing) -> None:
    landing.events(FILE, "e1,u1,f1,view,1970-01-01,")
    with pytest.raises(NoEventsError, match=r"no event to load.*film/events/a.csv, row 1: occurred_at") as caught:
        load_landing(warehouse.connection, landing.root, secret=SECRET, now=NOW)
    assert caught.value.exit_status == 1
    assert len(warehouse.quarantine()) == 1, "what was read is kept for a look"


def test_gzip_of_several_members_is_read_whole(warehouse: Warehouse, landing: Landing) -> None:
    header = "event_id,user_id,film_id,event_type,occurred_at\n"
    parts = [header + "e1,u,f,view,2026-01-01\n", "e2,u,f,view,2026-01-01\n"]
    landing.path("film/events/a.csv.gz").write_bytes(b"".join(gzip.compress(part.encode()) for part in parts))
    warehouse.load(landing)
    assert warehouse.winners() == ["e1", "e2"]

"""Checking without loading, and the progress and report of a load."""

import json

from orchestration.landing.check import check_landing, render_report
from tests.unit.landing.folder import NOW, Landing, Warehouse

GOOD = "e1,u1,f1,view,2026-01-01,"


def test_a_clean_folder_is_clean(landing: Landing) -> None:
    landing.events("film/events/a.csv", GOOD)
    report = check_landing(landing.root, NOW)
    assert report.is_clean
    assert report.rows_loaded == 1
    assert "Everything fits the contract." in render_report(report)
    assert "film/events" in render_report(report)


def test_what_is_at_fault_is_named_with_file_row_and_column(landing: Landing) -> None:
    landing.events("film/events/a.csv", GOOD, "e2,u1,f1,view,1970-01-01,")
    landing.write("film/events/b.csv", "event_id\n")
    landing.write("film/films/a.csv", "film_id,title,kind,mood\n1,A,movie,x\n")
    landing.write("film/books/a.csv", "")
    landing.write("film/films/notes.txt", "")
    report = check_landing(landing.root, NOW)
    text = render_report(report)
    assert not report.is_clean
    for line in (
        'film/events/a.csv, row 2: occurred_at: found "1970-01-01", expected a time from 1990 on',
        "film/events/b.csv: lacks the required columns user_id, film_id, event_type, occurred_at; columns found: event_id",
        "film/films/a.csv: column mood",
        "film/books/: unknown folder",
        "film/films/notes.txt: unknown kind of file",
        "A run would stop before publishing: 50.0% of film/events is refused.",
    ):
        assert line in text


def test_a_long_list_of_refusals_is_cut(landing: Landing) -> None:
    landing.events("film/events/a.csv", GOOD, *["x"] * 500)
    text = render_report(check_landing(landing.root, NOW))
    assert "At fault (the first 20 of 500):" in text
    assert text.count("film/events/a.csv, row") == 20


def test_a_folder_without_events_is_not_clean(landing: Landing) -> None:
    landing.write("film/users/a.csv", "user_id\nu1\n")
    report = check_landing(landing.root, NOW)
    assert not report.is_clean
    assert "at least one of knowledge/events and film/events must hold a valid row" in render_report(report)


def test_a_report_can_be_read_by_machines(landing: Landing) -> None:
    landing.events("film/events/a.csv", GOOD)
    document = json.loads(json.dumps(check_landing(landing.root, NOW).as_dict()))
    assert document["is_clean"] is True
    assert document["files"][0]["rows_loaded"] == 1


def test_progress_is_told_after_each_file(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", GOOD)
    landing.write("film/events/b.csv", "broken")
    told: list[str] = []
    warehouse.load(landing, progress=lambda progress: told.append(str(progress)))
    assert told == ["1 of 2 files read: film/events/a.csv", "2 of 2 files read: film/events/b.csv"]


def test_a_report_counts_what_this_load_read(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", GOOD, "e2,u1,f1,view,2026-01-01,")
    warehouse.load(landing)
    landing.events("film/events/b.csv", GOOD, "e3,u1,f1,view,2026-01-01,", "e3,u1,f1,view,2026-01-01,", "x")
    landing.write("film/events/c.csv", "broken")
    report = warehouse.load(landing, max_quarantine_share=0.5)
    assert (report.rows_read, report.rows_loaded, report.rows_quarantined, report.rows_duplicate) == (4, 2, 1, 1)
    assert [
        len(files) for files in (report.new_files, report.changed_files, report.unchanged_files, report.refused_files)
    ] == [1, 0, 1, 1]
    (events,) = [table for table in report.tables if table.rows_read]
    assert (events.files, events.files_refused, events.rows_read, events.rows_duplicate) == (2, 1, 6, 2)
    assert round(events.quarantine_share, 3) == 0.167
    assert report.tables_over_limit == ()

"""Files that come again: the same, corrected, late, or with keys that other files hold too."""

import os
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from orchestration.landing import loading
from orchestration.landing.contract import project_contract
from orchestration.landing.ledger import data_fingerprint, has_news, landing_state
from orchestration.landing.loading import load_landing
from orchestration.landing.raw_schema import RawSchemaError, ensure_raw_schema
from tests.unit.landing.folder import NOW, SECRET, Landing, Warehouse


def view(event_id: str, user_id: str = "u1", film_id: str = "f1") -> str:
    return f"{event_id},{user_id},{film_id},view,2026-01-01,"


def contents(warehouse: Warehouse) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all raw tables."""
    tables = warehouse.rows("select table_name from duckdb_tables() where schema_name = 'raw'")
    return {name: warehouse.rows(f"select * from raw.{name} order by all") for (name,) in tables}


def test_the_same_bytes_again_write_nothing(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", view("e1"), "bad")
    first = warehouse.load(landing)
    before = contents(warehouse)
    again = warehouse.load(landing, now=NOW + timedelta(days=1))
    assert (first.batch, again.batch) == (1, None)
    assert not again.has_news
    assert [outcome.status for outcome in again.files] == ["unchanged"]
    assert contents(warehouse) == before


def test_touching_a_file_is_no_news(warehouse: Warehouse, landing: Landing) -> None:
    path = landing.events("film/events/a.csv", view("e1"))
    warehouse.load(landing)
    path.write_bytes(path.read_bytes())
    assert not has_news(warehouse.connection, landing.root)


def test_a_file_that_disappears_changes_nothing(warehouse: Warehouse, landing: Landing) -> None:
    path = landing.events("film/events/a.csv", view("e1"))
    warehouse.load(landing)
    path.unlink()
    assert not warehouse.load(landing).has_news
    assert warehouse.winners() == ["e1"]


def test_a_corrected_file_replaces_what_it_had_delivered(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", view("kept"), view("changed"), view("gone", user_id="u9"))
    warehouse.load(landing)
    landing.events("film/events/a.csv", view("kept"), view("changed", film_id="f2"), view("new"))
    report = warehouse.load(landing)
    assert report.rows_removed == 1
    assert [outcome.status for outcome in report.files] == ["changed"]
    rows = warehouse.rows("select event_id, film_id, _batch, _is_current from raw.film__events order by event_id")
    assert rows == [("changed", "f2", 2, True), ("kept", "f1", 2, True), ("new", "f1", 2, True)]
    assert warehouse.rows("select * from raw.removed_row") == [("film", "events", "gone", "u9", 2)]
    assert warehouse.audit() == {"film/events/a.csv": (3, 3, 0, 0)}
    assert warehouse.rows("select delivery_id, is_current from raw.delivery order by 1") == [(1, False), (2, True)]


def test_a_removed_row_that_comes_back_is_no_removed_row(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", view("e1"), view("e2"))
    warehouse.load(landing)
    landing.events("film/events/a.csv", view("e1"))
    warehouse.load(landing)
    assert warehouse.value("select count(*) from raw.removed_row") == 1
    landing.events("film/events/b.csv", view("e2"))
    warehouse.load(landing)
    assert warehouse.value("select count(*) from raw.removed_row") == 0
    assert warehouse.winners() == ["e1", "e2"]


def test_of_an_event_in_two_files_the_newest_delivery_wins(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/b.csv", view("e1", film_id="old"), view("e2"))
    warehouse.load(landing)
    landing.events("film/events/a.csv", view("e1", film_id="new"))
    warehouse.load(landing)
    rows = warehouse.rows("select film_id, _batch, _is_current from raw.film__events where event_id = 'e1' order by 1")
    assert rows == [("new", 2, True), ("old", 2, False)]
    assert warehouse.audit() == {"film/events/a.csv": (1, 1, 0, 0), "film/events/b.csv": (2, 1, 0, 1)}


def test_of_an_event_in_two_files_of_one_load_the_later_path_wins(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/dt=2026-01-02/x.csv", view("e1", film_id="second"))
    landing.events("film/events/dt=2026-01-01/x.csv", view("e1", film_id="first"))
    warehouse.load(landing)
    assert warehouse.winners(column="film_id") == ["second"]


def test_within_a_file_the_later_row_wins(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", view("e1", film_id="first"), view("e1", film_id="later"), view("e2"))
    warehouse.load(landing)
    assert warehouse.winners(column="film_id") == ["f1", "later"]
    assert warehouse.audit() == {"film/events/a.csv": (3, 2, 0, 1)}


def test_a_duplicate_wins_again_when_the_winner_is_corrected_away(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", view("e1", film_id="old"))
    warehouse.load(landing)
    landing.events("film/events/b.csv", view("e1", film_id="new"), view("e2"))
    warehouse.load(landing)
    landing.events("film/events/b.csv", view("e2"))
    report = warehouse.load(landing)
    rows = warehouse.rows("select event_id, film_id, _batch, _is_current from raw.film__events order by 1")
    assert rows == [("e1", "old", 3, True), ("e2", "f1", 3, True)]
    assert report.rows_removed == 0
    assert warehouse.audit() == {"film/events/a.csv": (1, 1, 0, 0), "film/events/b.csv": (1, 1, 0, 0)}


def test_of_several_duplicates_the_newest_comes_back(warehouse: Warehouse, landing: Landing) -> None:
    for name, film in (("c", "first"), ("a", "second"), ("b", "third")):
        landing.events(f"film/events/{name}.csv", view("e1", film_id=film))
        warehouse.load(landing)
    landing.events("film/events/b.csv", view("e2"))
    warehouse.load(landing)
    assert warehouse.winners(column="film_id") == ["f1", "second"]
    assert warehouse.value("select count(*) from raw.film__events where not _is_current") == 1


def test_a_late_file_adds_to_what_is_there(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/dt=2026-02-01/a.csv", view("e1"))
    warehouse.load(landing)
    landing.events("film/events/dt=2026-01-01/late.csv", view("e0"))
    report = warehouse.load(landing)
    assert {outcome.file: outcome.status for outcome in report.files} == {
        "film/events/dt=2026-01-01/late.csv": "new",
        "film/events/dt=2026-02-01/a.csv": "unchanged",
    }
    assert warehouse.rows("select event_id, _batch from raw.film__events order by 1") == [("e0", 2), ("e1", 1)]


def test_a_broken_delivery_leaves_the_good_one_in_force(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", view("e1"))
    warehouse.load(landing)
    landing.write("film/events/a.csv", "event_id\ne2\n")
    assert warehouse.load(landing).has_news
    assert warehouse.winners() == ["e1"]
    in_force = warehouse.rows("select delivery_id, status from raw.delivery where is_current order by 1")
    assert in_force == [(1, "loaded"), (2, "refused")]

    landing.write("film/events/a.csv", "event_id\ne3\n")
    warehouse.load(landing)
    in_force = warehouse.rows("select delivery_id, status from raw.delivery where is_current order by 1")
    assert in_force == [(1, "loaded"), (3, "refused")]

    landing.events("film/events/a.csv", view("e4"))
    warehouse.load(landing)
    assert warehouse.winners() == ["e4"]
    assert warehouse.rows("select delivery_id, status from raw.delivery where is_current") == [(4, "loaded")]


def test_a_broken_file_restored_to_its_loaded_bytes_clears_the_refusal(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", view("e1"))
    warehouse.load(landing)
    landing.write("film/events/a.csv", "event_id\ne2\n")
    warehouse.load(landing)
    landing.events("film/events/a.csv", view("e1"))
    assert has_news(warehouse.connection, landing.root)
    report = warehouse.load(landing)
    assert [outcome.status for outcome in report.files] == ["restored"]
    assert warehouse.rows("select delivery_id, status from raw.delivery where is_current") == [(1, "loaded")]
    assert not has_news(warehouse.connection, landing.root)


def test_keys_of_several_columns_decide_together(warehouse: Warehouse, landing: Landing) -> None:
    header = "film_id,person_id,person_name,role\n"
    landing.write("film/credits/a.csv", header + "f1,p1,Ann,actor\nf1,p1,Ann,director\nf1,p2,Bo,actor\n")
    warehouse.load(landing)
    landing.write("film/credits/a.csv", header + "f1,p1,Anne,actor\nf1,p2,Bo,actor\n")
    warehouse.load(landing)
    assert warehouse.winners("film__credits", "person_name") == ["Anne", "Bo"]
    assert warehouse.rows("select row_key, user_id from raw.removed_row") == [("f1|p1|director", None)]


def test_a_load_that_fails_leaves_the_old_state(
    warehouse: Warehouse, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.events("film/events/a.csv", view("e1"), view("e2"))
    warehouse.load(landing)
    before = contents(warehouse)
    landing.events("film/events/a.csv", view("e2", film_id="f2"), "bad")

    def fail(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loading, "add_accounts", fail)
        with pytest.raises(KeyboardInterrupt):
            warehouse.load(landing)
    assert contents(warehouse) == before
    assert warehouse.load(landing).has_news, "the next load does what was left"
    assert warehouse.winners() == ["e2"]


def test_untouched_files_are_not_read_again(tmp_path: Path, landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    path = landing.events("film/events/a.csv", view("e1"))
    long_ago = datetime(2026, 1, 1).timestamp()
    os.utime(path, (long_ago, long_ago))
    connection = duckdb.connect(str(tmp_path / "build.duckdb"))
    load_landing(connection, landing.root, secret=SECRET, now=NOW)

    def read(_: Path) -> str:
        raise AssertionError("the file was read")

    monkeypatch.setattr("orchestration.landing.ledger.content_hash", read)
    assert not has_news(connection, landing.root)
    os.utime(path)
    with pytest.raises(AssertionError, match="was read"):
        has_news(connection, landing.root)
    connection.close()


def test_a_file_changed_just_before_it_was_read_is_read_again(warehouse: Warehouse, landing: Landing) -> None:
    path = landing.events("film/events/a.csv", view("e1"))
    warehouse.load(landing)
    stat = path.stat()
    landing.events("film/events/a.csv", view("e2"))  # as long as before
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert has_news(warehouse.connection, landing.root)


def test_news_are_known_without_a_warehouse(landing: Landing) -> None:
    landing.events("film/events/a.csv", view("e1"))
    state = landing_state(None, landing.root)
    assert state.has_news
    assert state.summary == "1 files: 1 new"


def test_the_fingerprint_follows_what_is_in_force(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", view("e1"))
    warehouse.load(landing)
    first = data_fingerprint(warehouse.connection)
    landing.write("film/events/b.csv", "broken\n")
    warehouse.load(landing)
    assert data_fingerprint(warehouse.connection) == first, "a refused file changes no data"
    landing.events("film/events/a.csv", view("e2"))
    warehouse.load(landing)
    second = data_fingerprint(warehouse.connection)
    assert second != first


def test_the_fingerprint_is_that_of_all_files(landing: Landing) -> None:
    def fingerprint() -> str:
        warehouse = Warehouse(duckdb.connect(":memory:"))
        warehouse.load(landing)
        return data_fingerprint(warehouse.connection)

    landing.events("film/events/a.csv", view("e1"))
    landing.events("film/events/b.csv", view("e2"))
    first = fingerprint()
    assert fingerprint() == first
    landing.events("film/events/a.csv", view("e3"))
    assert fingerprint() != first


def test_a_warehouse_of_another_contract_is_refused_with_advice(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", view("e1"))
    warehouse.load(landing)
    for change in ("drop column film_id", "add column more varchar", "alter column value type varchar"):
        column = change.split()[2]
        warehouse.connection.execute("begin")
        warehouse.connection.execute(f"alter table raw.film__events {change}")
        with pytest.raises(
            RawSchemaError, match=rf"raw.film__events was made for another contract \(differs in {column}\)"
        ):
            ensure_raw_schema(warehouse.connection, project_contract())
        warehouse.connection.execute("rollback")


def test_a_warehouse_from_before_an_optional_column_gains_it_and_keeps_its_rows(
    warehouse: Warehouse, landing: Landing
) -> None:
    films = landing.root / "film/films/all.csv"
    films.parent.mkdir(parents=True)
    films.write_text("film_id,title,kind,series,synopsis\nf1,Heat,movie,,Cops\nf2,Dune,movie,Dune,Sand\n")
    warehouse.load(landing)
    before = contents(warehouse)
    warehouse.connection.execute("alter table raw.film__films drop column series")
    warehouse.connection.execute("alter table raw.knowledge__contents drop column series")
    assert not warehouse.load(landing).has_news
    after = contents(warehouse)
    series = "select film_id, series from raw.film__films order by film_id"
    assert warehouse.rows(series) == [("f1", None), ("f2", None)]
    assert {name: rows for name, rows in after.items() if name != "film__films"} == {
        name: rows for name, rows in before.items() if name != "film__films"
    }, "also no table is left over"
    others = "select film_id, title, synopsis, _delivery_id, _batch, _row_number, _is_current from raw.film__films order by 1"
    assert warehouse.rows(others) == [("f1", "Heat", "Cops", 1, 1, 1, True), ("f2", "Dune", "Sand", 1, 1, 2, True)]

    films.write_text("film_id,title,kind,series,synopsis\nf1,Heat,movie,,Cops\nf2,Dune,movie,Dune,Sands\n")
    assert warehouse.load(landing).has_news
    assert warehouse.rows(series) == [("f1", None), ("f2", "Dune")]

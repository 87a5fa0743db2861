from pathlib import Path

import pytest

from orchestration.publication.store import PublicationStore, UnknownPublicationError


def put(store: PublicationStore, publication_id: str, *, keep: int = 5) -> None:
    scratch = store.scratch(publication_id)
    (scratch / "publication.duckdb").write_text(publication_id)
    (scratch / "parquet").mkdir()
    (scratch / "parquet" / "mirror").write_text(publication_id)
    store.put(scratch, {"publication_id": publication_id}, keep=keep)


def seen(root: Path) -> tuple[str, str]:
    return (root / "current.duckdb").read_text(), (root / "parquet" / "mirror").read_text()


def test_before_the_first_publication_there_is_none(tmp_path: Path) -> None:
    store = PublicationStore(tmp_path)
    assert store.current() is None
    assert store.all() == []


def test_the_file_and_its_mirror_change_together(tmp_path: Path) -> None:
    store = PublicationStore(tmp_path)
    for publication_id in ("1", "2"):
        put(store, publication_id)
        assert seen(tmp_path) == (publication_id, publication_id)


def test_a_reader_that_is_open_keeps_its_version_even_when_it_is_forgotten(tmp_path: Path) -> None:
    store = PublicationStore(tmp_path)
    put(store, "1", keep=1)
    with (tmp_path / "current.duckdb").open() as reader:
        put(store, "2", keep=1)
        assert reader.read() == "1"
    assert [p.publication_id for p in store.all()] == ["2"]


def test_only_as_many_publications_stay_as_are_kept(tmp_path: Path) -> None:
    store = PublicationStore(tmp_path)
    for number in range(5):
        put(store, str(number), keep=3)
    assert [(p.publication_id, p.is_current) for p in store.all()] == [("4", True), ("3", False), ("2", False)]


def test_a_rollback_shows_readers_the_earlier_publication(tmp_path: Path) -> None:
    store = PublicationStore(tmp_path)
    put(store, "1")
    put(store, "2")
    store.rollback("1")
    assert seen(tmp_path) == ("1", "1")
    current = store.current()
    assert current is not None
    assert current.publication_id == "1"


def test_the_publication_rolled_back_to_is_not_forgotten(tmp_path: Path) -> None:
    store = PublicationStore(tmp_path)
    for publication_id in ("1", "2", "3"):
        put(store, publication_id)
    store.rollback("1")
    put(store, "4", keep=2)
    store.rollback("3")
    assert seen(tmp_path) == ("3", "3")


def test_an_unknown_publication_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    store = PublicationStore(tmp_path)
    put(store, "1")
    with pytest.raises(UnknownPublicationError, match=r"'7'.*on disk are 1"):
        store.rollback("7")
    assert seen(tmp_path) == ("1", "1")


def test_what_a_killed_run_left_is_neither_listed_nor_kept(tmp_path: Path) -> None:
    store = PublicationStore(tmp_path)
    put(store, "1")
    (store.scratch("2") / "publication.duckdb").write_text("half")
    assert [p.publication_id for p in store.all()] == ["1"]
    put(store, "3")
    assert [path.name for path in (tmp_path / "archive").iterdir() if path.name.startswith(".")] == []

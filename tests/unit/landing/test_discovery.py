"""Which files are read, and what is reported of the others."""

from pathlib import Path

import pytest

from orchestration.landing.contract import project_contract
from orchestration.landing.discovery import Discovery, find_files
from tests.unit.landing.folder import Landing


def found(landing: Landing) -> Discovery:
    return find_files(landing.root, project_contract())


def test_known_extensions_are_read_in_the_order_of_paths(landing: Landing) -> None:
    names = ["b.csv", "a.ndjson.gz", "dt=2026-01-02/x.parquet", "c.CSV.GZ", "d.ndjson"]
    for name in names:
        landing.write(f"film/events/{name}", "")
    assert [file.file for file in found(landing).files] == [f"film/events/{name}" for name in sorted(names)]
    assert [file.extension for file in found(landing).files] == ["ndjson.gz", "csv", "csv.gz", "ndjson", "parquet"]


def test_hidden_and_underscored_names_are_not_read(landing: Landing) -> None:
    for name in (
        "film/events/.a.csv",
        "film/events/_a.csv",
        "film/events/_tmp/a.csv",
        "film/events/.git/a.csv",
        "_x/y/a.csv",
        ".x",
    ):
        landing.write(name, "")
    assert found(landing) == Discovery((), (), ())


def test_unknown_folders_and_other_files_are_reported(landing: Landing) -> None:
    for name in ("film/events/notes.txt", "film/books/a.csv", "shop/sales/a.csv", "readme.md", "film/a.csv"):
        landing.write(name, "")
    assert found(landing).unknown_folders == ("film/books", "shop")
    assert found(landing).unread_files == ("film/a.csv", "film/events/notes.txt", "readme.md")


def test_a_folder_with_the_name_of_a_file_is_a_folder(landing: Landing) -> None:
    landing.write("film/events/events.parquet/part-0.parquet", "")
    assert [file.file for file in found(landing).files] == ["film/events/events.parquet/part-0.parquet"]


def test_links_that_go_round_in_a_circle_end(landing: Landing) -> None:
    landing.write("film/events/2026/a.csv", "")
    landing.path("film/events/2026/again").symlink_to(landing.root / "film/events")
    assert [file.file for file in found(landing).files] == ["film/events/2026/a.csv"]


def test_a_name_that_is_not_utf8_is_shown_as_bytes(landing: Landing) -> None:
    folder = bytes(landing.path("film/events/x").parent)
    Path.touch(Path((folder + b"/caf\xe9.csv").decode(errors="surrogateescape")))
    assert [file.file for file in found(landing).files] == ["film/events/caf\\xe9.csv"]


def test_folders_that_cannot_be_listed_are_reported(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    landing.write("film/events/a.csv", "")
    iterdir = Path.iterdir

    def refuse(self: Path) -> object:
        if self.name == "film":
            raise PermissionError(13, "Permission denied", str(self))
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", refuse)  # root may list everything
    assert found(landing).unread_files == ("film/",)

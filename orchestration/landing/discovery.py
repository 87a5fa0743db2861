"""Which files of a landing folder are to be read, and what else lies there.

Names only: no file is opened here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestration.landing.contract import Contract, Table
from orchestration.landing.errors import MissingLandingError

EXTENSIONS = ("parquet", "csv", "csv.gz", "ndjson", "ndjson.gz")


@dataclass(frozen=True, slots=True)
class LandingFile:
    r"""A file that delivers rows of a landing table.

    Attributes:
        file: Path below the landing folder, with forward slashes; bytes that are not UTF-8 are written as `\xNN`.
        path: Where it is.
        table: The table that it delivers.
        extension: One of `EXTENSIONS`.
    """

    file: str
    path: Path
    table: Table
    extension: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What lies in a landing folder.

    Attributes:
        files: The files to read, in the order in which they count as delivered: by path.
        unknown_folders: Folders of the first two levels that the contract does not know.
        unread_files: Files with another extension or in no table's folder, and folders that cannot be listed.
    """

    files: tuple[LandingFile, ...]
    unknown_folders: tuple[str, ...]
    unread_files: tuple[str, ...]


def find_files(landing: Path, contract: Contract) -> Discovery:
    """List a landing folder.

    Hidden names and names that start with `_` are skipped, of folders too. A folder may have a name like a file.

    Args:
        landing: The landing folder.
        contract: The landing contract.

    Returns:
        What lies there.

    Raises:
        MissingLandingError: If there is no such folder.
    """
    if not landing.is_dir():
        found = "it is not a folder" if landing.exists() else "there is no such folder"
        raise MissingLandingError(
            f"landing folder {landing}: {found}; expected <landing>/<source>/<table>/<files>, see docs/landing.md"
        )
    tables = {table.path: table for table in contract.tables}
    files: list[LandingFile] = []
    unknown: list[str] = []
    unread: list[str] = []
    for source in _entries(landing, landing, unread):
        if source.name not in contract.sources:
            unknown.append(_relative(source, landing))
            continue
        for folder in _entries(source, landing, unread):
            table = tables.get(_relative(folder, landing))
            if table is None:
                unknown.append(_relative(folder, landing))
                continue
            for path in _walk(folder, landing, unread):
                extension = next((ext for ext in EXTENSIONS if path.name.lower().endswith("." + ext)), None)
                if extension is None:
                    unread.append(_relative(path, landing))
                else:
                    files.append(LandingFile(_relative(path, landing), path, table, extension))
    return Discovery(
        files=tuple(sorted(files, key=lambda found: found.file)),
        unknown_folders=tuple(sorted(unknown)),
        unread_files=tuple(sorted(unread)),
    )


def _is_skipped(name: str) -> bool:
    return name.startswith((".", "_"))


def _entries(parent: Path, landing: Path, unread: list[str]) -> Iterator[Path]:
    """The folders in a folder; files where only folders belong, and what cannot be listed, are noted as unread."""
    try:
        entries = sorted(entry for entry in parent.iterdir() if not _is_skipped(entry.name))
    except OSError:
        unread.append(_relative(parent, landing) + "/")
        return
    for entry in entries:
        if entry.is_dir():
            yield entry
        else:
            unread.append(_relative(entry, landing))


def _walk(folder: Path, landing: Path, unread: list[str]) -> Iterator[Path]:
    """The files below a folder; what cannot be listed is noted as unread."""

    def note(error: OSError) -> None:
        unread.append(_relative(Path(error.filename), landing) + "/")

    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=note):
        stat = Path(parent).stat()
        if (stat.st_dev, stat.st_ino) in seen:  # a link to a folder that was walked already
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if not _is_skipped(name))
        yield from (Path(parent, name) for name in sorted(names) if not _is_skipped(name))


def _relative(path: Path, landing: Path) -> str:
    relative = path.relative_to(landing).as_posix()
    return relative.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")

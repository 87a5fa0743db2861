"""Which publication readers see: one folder a publication, one link that says which is current.

    published/
      current            -> archive/<publication id>      replaced in one step
      current.duckdb     -> current/publication.duckdb
      parquet            -> current/parquet
      archive/<publication id>/{publication.duckdb, parquet/, publication.json}

Because the file and its mirror hang on the one link `current`, both change at the same instant, and going back is the same
step. A reader that has a file open keeps it: nothing is written to an archived file, and the system keeps a deleted one until it is
closed. What goes into a publication is the business of `publication.build`.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.resources.durable import sync

_DOCUMENT = "publication.json"


class UnknownPublicationError(LookupError):
    """The publication asked for is not on disk; the message lists those that are."""

    exit_status = 2


@dataclass(frozen=True)
class Publication:
    """One publication on disk."""

    publication_id: str
    folder: Path
    is_current: bool
    document: Mapping[str, Any]

    @property
    def database(self) -> Path:
        """Its DuckDB file."""
        return self.folder / "publication.duckdb"


class PublicationStore:
    """Lists, switches and forgets publications.

    Args:
        root: The `published` folder of a home.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._archive = root / "archive"

    @property
    def current_file(self) -> Path:
        """The file that people open."""
        return self._root / "current.duckdb"

    def current(self) -> Publication | None:
        """What readers see now, or None before the first publication."""
        link = self._root / "current"
        if not link.is_symlink():
            return None
        folder = self._archive / Path(os.readlink(link)).name
        return _read(folder, is_current=True) if (folder / _DOCUMENT).exists() else None

    def latest(self) -> Publication | None:
        """What was published last, whether readers see it or somebody has gone back to an earlier one; None before the first."""
        return next(iter(self.all()), None)

    def all(self) -> list[Publication]:
        """Every whole publication on disk, newest first."""
        current = self.current()
        folders = sorted(self._archive.glob("*/" + _DOCUMENT), reverse=True)
        return [
            _read(path.parent, is_current=current is not None and path.parent == current.folder) for path in folders
        ]

    def scratch(self, publication_id: str) -> Path:
        """An empty folder to build a publication in; what a killed run left in it is thrown away."""
        for left_over in self._archive.glob(".making-*"):
            shutil.rmtree(left_over)
        folder = self._archive / f".making-{publication_id}"
        folder.mkdir(parents=True)
        return folder

    def put(self, scratch: Path, document: Mapping[str, Any], *, keep: int) -> Publication:
        """Makes a built folder the current publication, and forgets the oldest beyond `keep`.

        Args:
            scratch: From `scratch`, filled.
            document: Description; needs `publication_id`.
            keep: How many publications stay, this one included.

        Returns:
            The publication that readers now see.
        """
        publication_id = str(document["publication_id"])
        (scratch / _DOCUMENT).write_text(json.dumps(document, indent=2, sort_keys=True, default=str))
        folder = self._archive / publication_id
        # On disk before it is in front of readers: after a power failure the link must not point at half a document.
        sync(scratch / _DOCUMENT)
        sync(scratch)
        os.replace(scratch, folder)
        sync(self._archive)
        self._switch(publication_id)
        for old in self.all()[keep:]:
            if not old.is_current:
                shutil.rmtree(old.folder)
        return _read(folder, is_current=True)

    def rollback(self, publication_id: str) -> Publication:
        """Makes an earlier publication the current one.

        Raises:
            UnknownPublicationError: If it is not on disk.
        """
        known = {publication.publication_id: publication for publication in self.all()}
        if publication_id not in known:
            raise UnknownPublicationError(
                f"No publication {publication_id!r}; on disk are {', '.join(known) or 'none'} (zhiying publications)"
            )
        self._switch(publication_id)
        return _read(known[publication_id].folder, is_current=True)

    def _switch(self, publication_id: str) -> None:
        for name, target in (("current.duckdb", "current/publication.duckdb"), ("parquet", "current/parquet")):
            link = self._root / name
            if not link.is_symlink():
                link.symlink_to(target)
        writing = self._root / ".current"
        writing.unlink(missing_ok=True)
        writing.symlink_to(Path("archive") / publication_id)
        os.replace(writing, self._root / "current")
        sync(self._root)


def _read(folder: Path, *, is_current: bool) -> Publication:
    return Publication(folder.name, folder, is_current, json.loads((folder / _DOCUMENT).read_text()))

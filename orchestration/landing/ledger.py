"""The ledger: which files are new or changed since they were last loaded.

A file is known by its path and the SHA-256 of its bytes. As git does, an untouched file (same size and time of change)
is not hashed again, unless it was changed so shortly before it was read that a second change could hide behind the same
time. Nothing is written here.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from orchestration.landing.contract import Contract, project_contract
from orchestration.landing.discovery import Discovery, LandingFile, find_files
from orchestration.landing.errors import FileRefusedError
from orchestration.landing.reading import content_hash
from orchestration.landing.report import FileStatus
from orchestration.settings import Settings
from orchestration.sql import has_relation

#: A file changed within this time before it was read is hashed again.
RACY_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of the landing folder beside what the ledger says of it.

    Attributes:
        landing_file: The file.
        status: What it is to the ledger; `refused` if it is a refusal that is known already.
        size_bytes: Its size, 0 if it cannot be looked at.
        modified_ns: When it was last changed, 0 if it cannot be looked at.
        content_hash: SHA-256 of its bytes, or None if they cannot be read.
        refusal: Why it cannot be read, or None.
        seen_ns: Wall clock just before it was looked at, in nanoseconds since 1970.
        delivery_id: The delivery in force, if it was loaded before.
        refused_id: The refused delivery after that, if there is one.
    """

    landing_file: LandingFile
    status: FileStatus
    size_bytes: int
    modified_ns: int
    content_hash: str | None
    refusal: FileRefusedError | None
    seen_ns: int
    delivery_id: int | None
    refused_id: int | None

    @property
    def is_news(self) -> bool:
        """Whether a load has something to write about it."""
        return self.status in ("new", "changed", "restored")


@dataclass(frozen=True, slots=True)
class LandingState:
    """A landing folder beside the ledger.

    Attributes:
        found: The files of the folder, by path.
        discovery: What lies in the folder.
    """

    found: tuple[FoundFile, ...]
    discovery: Discovery

    @property
    def news(self) -> tuple[FoundFile, ...]:
        """The files that a load would read or note."""
        return tuple(found for found in self.found if found.is_news)

    @property
    def has_news(self) -> bool:
        """Whether a load would change anything."""
        return bool(self.news)

    @property
    def summary(self) -> str:
        """One line for people."""
        counts = dict.fromkeys(("new", "changed", "restored", "unchanged", "refused"), 0)
        for found in self.found:
            counts[found.status] += 1
        return f"{len(self.found)} files: " + ", ".join(
            f"{number} {status}" for status, number in counts.items() if number
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """What the ledger says of one path."""

    loaded_id: int | None = None
    loaded_hash: str | None = None
    refused_id: int | None = None
    refused_hash: str | None = None
    refused_reason: str | None = None
    size_bytes: int | None = None
    modified_ns: int | None = None
    read_hash: str | None = None
    seen_ns: int = 0


def landing_state(
    connection: duckdb.DuckDBPyConnection | None, landing: Path, contract: Contract | None = None
) -> LandingState:
    """Compare a landing folder with the ledger, without writing.

    Args:
        connection: A connection to the build file, or None if there is none yet.
        landing: The landing folder.
        contract: The landing contract; by default the one of the project.

    Returns:
        The state of each file.

    Raises:
        MissingLandingError: If there is no such folder.
    """
    discovery = find_files(landing, contract or project_contract())
    known = {} if connection is None else _read_ledger(connection)
    return LandingState(tuple(_compare(file, known.get(file.file, _Known())) for file in discovery.files), discovery)


def has_news(connection: duckdb.DuckDBPyConnection | None, landing: Path, contract: Contract | None = None) -> bool:
    """Whether loading the folder would change anything; cheap where files are untouched.

    Raises:
        MissingLandingError: If there is no such folder.
    """
    return landing_state(connection, landing, contract).has_news


def data_fingerprint(connection: duckdb.DuckDBPyConnection) -> str:
    """SHA-256 over the deliveries in force (file and content hash), in the order of delivery.

    Two warehouses with the same fingerprint hold the same rows in the raw schema.
    """
    digest = hashlib.sha256()
    rows = connection.execute(
        "select file, content_hash from raw.delivery where is_current and status = 'loaded' order by delivery_id"
    ).fetchall()
    for file, file_hash in rows:
        digest.update(f"{file}\x1f{file_hash}\x1e".encode())
    return digest.hexdigest()


def data_version(connection: duckdb.DuckDBPyConnection, settings: Settings) -> str:
    """Identity of what a run works from: the deliveries in force and the settings."""
    return f"{data_fingerprint(connection)[:16]}-{settings.fingerprint()[:8]}"


def _compare(file: LandingFile, known: _Known) -> FoundFile:
    seen_ns = time.time_ns()
    size_bytes = modified_ns = 0
    file_hash: str | None = None
    refusal: FileRefusedError | None = None
    try:
        stat = file.path.stat()
        size_bytes, modified_ns = stat.st_size, stat.st_mtime_ns
        untouched = (size_bytes, modified_ns) == (known.size_bytes, known.modified_ns)
        if untouched and known.read_hash is not None and modified_ns + RACY_NS < known.seen_ns:
            file_hash = known.read_hash
        else:
            file_hash = content_hash(file.path)
    except OSError as error:
        refusal = FileRefusedError(f"cannot be opened: {error.strerror or error}")
    except FileRefusedError as error:
        refusal = error
    return FoundFile(
        landing_file=file,
        status=_status(known, file_hash, refusal),
        size_bytes=size_bytes,
        modified_ns=modified_ns,
        content_hash=file_hash,
        refusal=refusal,
        seen_ns=seen_ns,
        delivery_id=known.loaded_id,
        refused_id=known.refused_id,
    )


def _status(known: _Known, file_hash: str | None, refusal: FileRefusedError | None) -> FileStatus:
    if known.refused_id is not None:
        same = file_hash is not None and file_hash == known.refused_hash
        if same or (refusal is not None and known.refused_hash is None and refusal.reason == known.refused_reason):
            return "refused"
        if file_hash is not None and file_hash == known.loaded_hash:
            return "restored"
    elif file_hash is not None and file_hash == known.loaded_hash:
        return "unchanged"
    return "new" if known.loaded_id is None else "changed"


def _read_ledger(connection: duckdb.DuckDBPyConnection) -> dict[str, _Known]:
    if not (has_relation(connection, "raw.delivery") and has_relation(connection, "raw.file_state")):
        return {}
    rows: Iterable[tuple[object, ...]] = connection.execute(
        """
        with loaded as (select * from raw.delivery where is_current and status = 'loaded'),
        refused as (select * from raw.delivery where is_current and status = 'refused'),
        reasons as (select delivery_id, any_value(reason) as reason from raw.quarantine
                    where row_number is null group by delivery_id),
        paths as (select distinct file from raw.delivery)
        select
            file, loaded.delivery_id, loaded.content_hash, refused.delivery_id, refused.content_hash, reasons.reason,
            file_state.size_bytes, file_state.modified_ns, file_state.content_hash, coalesce(file_state.seen_ns, 0)
        from paths
        left join loaded using (file)
        left join refused using (file)
        left join reasons on reasons.delivery_id = refused.delivery_id
        left join raw.file_state as file_state using (file)
        """
    ).fetchall()
    return {str(file): _Known(*rest) for file, *rest in rows}  # type: ignore[arg-type]

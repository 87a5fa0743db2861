"""What a load did, as plain values for people, checks and machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

FileStatus = Literal["new", "changed", "restored", "unchanged", "refused"]


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file.

    Attributes:
        file: Path below the landing folder.
        source: Source of the file.
        table_name: Landing table of the file.
        status: new (first delivery), changed (replaces an earlier one), restored (a refused file is again as it was
            when it was loaded), unchanged, or refused as a whole. A refusal that is already known is refused too.
        is_news: Whether this load wrote something about it.
        rows_read: Rows in the delivery in force.
        rows_loaded: Rows that win their key.
        rows_quarantined: Rows refused.
        rows_duplicate: Valid rows whose key another row wins.
        unknown_columns: Columns that the contract does not know.
        missing_columns: Optional columns that are not there.
        reason: Why it was refused, or None.
        seconds: Time taken to read it, 0 if it was not read.
    """

    file: str
    source: str
    table_name: str
    status: FileStatus
    is_news: bool
    rows_read: int = 0
    rows_loaded: int = 0
    rows_quarantined: int = 0
    rows_duplicate: int = 0
    unknown_columns: tuple[str, ...] = ()
    missing_columns: tuple[str, ...] = ()
    reason: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TableOutcome:
    """One landing table as it stands after the load, over all deliveries in force.

    Attributes:
        source: Source of the table.
        table_name: Name of the table.
        files: Files in force.
        files_refused: Files whose last delivery was refused as a whole.
        rows_read: Rows in the files in force.
        rows_loaded: Rows that win their key.
        rows_quarantined: Rows refused.
        rows_duplicate: Valid rows whose key another row wins.
        is_over_limit: Whether more than the allowed share of its rows is quarantined.
    """

    source: str
    table_name: str
    files: int
    files_refused: int
    rows_read: int
    rows_loaded: int
    rows_quarantined: int
    rows_duplicate: int
    is_over_limit: bool

    @property
    def quarantine_share(self) -> float:
        """Share of the rows read that is quarantined, 0 to 1."""
        return self.rows_quarantined / self.rows_read if self.rows_read else 0.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row or a whole file in quarantine.

    Attributes:
        file: Path below the landing folder.
        row_number: Place of the row from 1, header excluded; None for a whole file.
        column_name: First column at fault, or None.
        reason: What was found and what was expected.
        raw: The row with personal values masked; None for a whole file.
    """

    file: str
    row_number: int | None
    column_name: str | None
    reason: str
    raw: str | None

    def __str__(self) -> str:
        place = self.file if self.row_number is None else f"{self.file}, row {self.row_number}"
        return f"{place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did.

    Attributes:
        batch: Number of the load batch, or None if there was nothing new.
        files: Outcome per file, by path.
        tables: State per table of the contract.
        refusals: The first refusals of this load, at most `MAX_REFUSALS`; all are in raw.quarantine.
        unknown_folders: Folders that the contract does not know.
        unread_files: Files with an extension that is not read.
        rows_removed: Keys that vanished because their file was delivered again without them.
        has_events: Whether knowledge/events or film/events holds a row.
        seconds: Time taken.
    """

    batch: int | None
    files: tuple[FileOutcome, ...]
    tables: tuple[TableOutcome, ...]
    refusals: tuple[Refusal, ...]
    unknown_folders: tuple[str, ...]
    unread_files: tuple[str, ...]
    rows_removed: int
    has_events: bool
    seconds: float

    @property
    def has_news(self) -> bool:
        """Whether the load changed anything."""
        return self.batch is not None

    @property
    def is_clean(self) -> bool:
        """Whether there are events, and nothing in force is refused."""
        return self.has_events and not any(table.files_refused or table.rows_quarantined for table in self.tables)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for machines."""
        return {**asdict(self), "is_clean": self.is_clean}

    @property
    def new_files(self) -> tuple[FileOutcome, ...]:
        """Files loaded for the first time."""
        return self._with_status("new")

    @property
    def changed_files(self) -> tuple[FileOutcome, ...]:
        """Files that replace an earlier delivery."""
        return self._with_status("changed", "restored")

    @property
    def unchanged_files(self) -> tuple[FileOutcome, ...]:
        """Files that were loaded before."""
        return self._with_status("unchanged")

    @property
    def refused_files(self) -> tuple[FileOutcome, ...]:
        """Files refused as a whole, now or in an earlier load."""
        return self._with_status("refused")

    @property
    def rows_read(self) -> int:
        """Rows read by this load."""
        return sum(outcome.rows_read for outcome in self._read)

    @property
    def rows_loaded(self) -> int:
        """Rows of this load that win their key."""
        return sum(outcome.rows_loaded for outcome in self._read)

    @property
    def rows_quarantined(self) -> int:
        """Rows refused by this load."""
        return sum(outcome.rows_quarantined for outcome in self._read)

    @property
    def rows_duplicate(self) -> int:
        """Valid rows of this load whose key another row wins."""
        return sum(outcome.rows_duplicate for outcome in self._read)

    @property
    def tables_over_limit(self) -> tuple[TableOutcome, ...]:
        """Tables of which too large a share is quarantined."""
        return tuple(table for table in self.tables if table.is_over_limit)

    @property
    def _read(self) -> Sequence[FileOutcome]:
        return self._with_status("new", "changed")

    def _with_status(self, *statuses: FileStatus) -> tuple[FileOutcome, ...]:
        return tuple(outcome for outcome in self.files if outcome.status in statuses)


MAX_REFUSALS = 100

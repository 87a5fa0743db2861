"""What can be wrong with a landing zone, and whose fault it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.landing.report import LoadReport


class LandingError(Exception):
    """A landing zone cannot be loaded.

    Attributes:
        exit_status: Status with which a command should end: 1 if the data is at fault, 2 if the call is.
    """

    exit_status = 1


class MissingLandingError(LandingError):
    """There is no landing folder at the path that was given."""

    exit_status = 2


class OtherSecretError(LandingError):
    """The pseudonyms of the warehouse were made with another secret."""

    exit_status = 2


class NoEventsError(LandingError):
    """Neither knowledge/events nor film/events holds a row.

    Attributes:
        report: What the load did nevertheless.
    """

    def __init__(self, message: str, report: LoadReport) -> None:
        super().__init__(message)
        self.report = report


class FileRefusedError(LandingError):
    """A file is refused as a whole.

    Attributes:
        reason: What was found and what was expected, for the quarantine.
        column_name: The column at fault, or None.
    """

    def __init__(self, reason: str, column_name: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.column_name = column_name


class FileChangedError(FileRefusedError):
    """A file changed while it was read; the next load tries it again."""

"""The landing sensor: files that arrive start a run, and a burst of them starts one."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from orchestration.landing.contract import project_contract
from orchestration.landing.discovery import find_files
from orchestration.settings import Settings

_TICK = timedelta(seconds=30)
# A folder that never comes to rest is loaded all the same after this long; what is still being written is refused whole and
# read again by the next run.
_LONGEST_WAIT = timedelta(minutes=15)


@dataclass(frozen=True)
class LandingCursor:
    """What the sensor remembers between two ticks.

    Args:
        handled: Fingerprint of the listing that the last run was requested for.
        waiting: Fingerprint of a newer listing that may still grow, or empty.
        waiting_since: Unix time at which something new was first seen, 0 if nothing is.
    """

    handled: str = ""
    waiting: str = ""
    waiting_since: float = 0.0

    def after(self, listing: str, now: float) -> tuple["LandingCursor", bool]:
        """The next cursor, and whether a run is due.

        A run is due when something is new and has not changed for one tick, or has been changing for too long.

        Args:
            listing: Fingerprint of the folder as it is.
            now: Unix time.
        """
        if listing == self.handled:
            return LandingCursor(handled=listing), False
        since = self.waiting_since if self.waiting else now
        if listing == self.waiting or now - since >= _LONGEST_WAIT.total_seconds():
            return LandingCursor(handled=listing), True
        return LandingCursor(self.handled, listing, since), False


def listing_fingerprint(landing: Path) -> str:
    """Identity of which files stand in the landing folder: paths, sizes and times, not contents. Empty for no file."""
    digest = hashlib.sha256()
    files = find_files(landing, project_contract()).files if landing.is_dir() else ()
    for found in files:
        status = found.path.stat()
        digest.update(f"{found.file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest() if files else ""


def build_sensors(settings: Settings) -> list[SensorDefinition]:
    """The sensors of the code location, off until somebody turns them on."""

    @sensor(
        name="landing_sensor",
        job_name="everything",
        minimum_interval_seconds=int(_TICK.total_seconds()),
        default_status=DefaultSensorStatus.STOPPED,
        description="Starts one run when new or changed files have arrived and the folder has come to rest.",
    )
    def landing_sensor(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        cursor = LandingCursor(**json.loads(context.cursor)) if context.cursor else LandingCursor()
        listing = listing_fingerprint(settings.landing)
        if not listing:
            return SkipReason(f"No file in {settings.landing}")
        following, is_due = cursor.after(listing, time.time())
        if is_due:
            return SensorResult(run_requests=[RunRequest(run_key=listing)], cursor=json.dumps(asdict(following)))
        waiting = "Files are still arriving" if following.waiting else "Nothing has arrived since the last run"
        return SensorResult(skip_reason=waiting, cursor=json.dumps(asdict(following)))

    return [landing_sensor]

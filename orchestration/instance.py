"""Dagster's instance of a home: its storage, its limits, and what a killed run left behind.

The command line and the web UI open the same instance, so that a run started in one shows in the other.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from sqlalchemy import event
from sqlalchemy.engine import Engine

from orchestration.settings import Settings

# Marks runs whose process is the command line's: such a run is dead once its process is gone, whoever asks.
LAUNCHED_BY_COMMAND_LINE = {"zhiying/launched_by": "command line"}

_UNDER_WAY = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.NOT_STARTED]

_CONFIGURATION = """\
# Written by zhiying; changes are overwritten.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  pools:
    default_limit: 1   # one writer of the build file at a time
    granularity: op
  runs:
    max_concurrent_runs: 1
"""


class HomeBusyError(RuntimeError):
    """Another run works in the same home."""

    exit_status = 2


@contextmanager
def open_instance(settings: Settings) -> Iterator[DagsterInstance]:
    """The home's instance; `DAGSTER_HOME` points at it from here on."""
    write_instance_configuration(settings)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_dir)
    with light_commits(), DagsterInstance.from_config(str(settings.dagster_dir)) as instance:
        yield instance


@contextmanager
def light_commits() -> Iterator[None]:
    """Lets Dagster's SQLite files, while open in this process, be synced at checkpoints instead of at every event.

    Dagster 1.13 opens and closes a connection for every event, and each closing checkpoints and syncs: a quarter of a small run.
    In WAL mode `synchronous = normal` cannot corrupt a file; a power failure may take the last events of the record, never data.
    One connection a file is kept open, so that closing the others is no checkpoint.
    """
    kept: dict[str, sqlite3.Connection] = {}

    def lighten(connection: object, _: object) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        connection.execute("pragma synchronous = normal")
        file = connection.execute("pragma database_list").fetchone()[2]
        if file and file not in kept:
            kept[file] = sqlite3.connect(file, check_same_thread=False)
            kept[file].execute("select count(*) from sqlite_master").fetchone()

    event.listen(Engine, "connect", lighten)
    try:
        yield
    finally:
        event.remove(Engine, "connect", lighten)
        for connection in kept.values():
            connection.close()


def write_instance_configuration(settings: Settings) -> None:
    """Writes `dagster.yaml` of the home, if it is not what it should be."""
    path = settings.dagster_dir / "dagster.yaml"
    if not path.exists() or path.read_text() != _CONFIGURATION:
        path.write_text(_CONFIGURATION)


@contextmanager
def only_run_of(settings: Settings) -> Iterator[None]:
    """Holds the home for one run of the command line.

    Raises:
        HomeBusyError: If another process holds it.
    """
    with _held(settings, "run.lock", f"Another run works in {settings.home}; wait until it has ended"):
        yield


@contextmanager
def only_ui_of(settings: Settings) -> Iterator[None]:
    """Holds the home for one web UI and the runs that are launched in it.

    Raises:
        HomeBusyError: If another process holds it.
    """
    with _held(settings, "ui.lock", f"Another web UI serves {settings.home}; end it first"):
        yield


def settle_runs(settings: Settings, instance: DagsterInstance) -> list[str]:
    """Marks runs whose process was killed as failed, and frees the writer's place that they held.

    A run of the command line is dead when nobody else holds `only_run_of`, which the caller does; a run of the web UI is dead
    when no web UI is up.

    Returns:
        Ids of the runs.

    Raises:
        HomeBusyError: If a run of the web UI is under way.
    """
    unfinished = instance.get_runs(RunsFilter(statuses=_UNDER_WAY))
    of_the_ui = [run for run in unfinished if not LAUNCHED_BY_COMMAND_LINE.items() <= run.tags.items()]
    if of_the_ui:
        with _held(settings, "ui.lock", f"A run of the web UI works in {settings.home}; wait until it has ended"):
            pass
    for run in unfinished:
        instance.report_run_failed(run, "Its process ended before it did.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in unfinished]


@contextmanager
def _held(settings: Settings, name: str, busy: str) -> Iterator[None]:
    """Holds a lock file of the home; the system lets go of it when the process ends, however it ends."""
    with (settings.dagster_dir / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HomeBusyError(f"{busy}, or name another home with --home") from error
        yield

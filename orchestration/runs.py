"""One run of the graph from the command line: decides whether there is anything to do, executes, and tells the outcome.

How that is shown to a person is in `orchestration.console`; what is executed is `orchestration.definitions`.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from orchestration.landing.errors import MissingLandingError, OtherSecretError
from orchestration.landing.ledger import data_version, has_news
from orchestration.landing.run_context import RunContextError
from orchestration.publication.store import Publication, PublicationStore
from orchestration.resources.warehouse import connect
from orchestration.settings import Settings
from orchestration.versions import code_version

_TERMINAL_CODE = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST_LINE = 600
# Of an error in a step only the name of its class comes back.
_INTERRUPTIONS = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})
_FAULTS_OF_THE_CALL = frozenset(error.__name__ for error in (MissingLandingError, OtherSecretError, RunContextError))


class SelectionError(ValueError):
    """A selection of assets names nothing, or cannot be read."""

    exit_status = 2


@dataclass(frozen=True)
class Progress:
    """Something that happened in a run.

    Args:
        kind: `planned` (number of steps), `started`, `detail` (of a step that is under way), `finished`, `failed`.
        step: Name of the step, empty for `planned`.
        count: Steps planned, for `planned`.
        seconds: How long the step took, for `finished`.
        message: What the step is at, for `detail`.
    """

    kind: str
    step: str = ""
    count: int = 0
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class FailedCheck:
    """A check that did not pass."""

    name: str
    asset: str
    is_blocking: bool
    description: str


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Args:
        succeeded: Whether every step did.
        nothing_new: Whether there was nothing to do.
        publication: What readers see now, or None.
        errors: One line an error, the cause first.
        failed_checks: Checks that did not pass, blocking or not.
        checks: How many checks were evaluated.
        seconds: Wall time.
        log: File with everything the steps printed.
        report: File with a page about the run, for a browser.
        step_seconds: Wall time by step.
        is_new: Whether this run made the publication.
        interrupted: Whether somebody stopped it.
        call_at_fault: Whether it failed because of how it was called, not because of the data.
    """

    succeeded: bool
    nothing_new: bool
    publication: Publication | None
    seconds: float
    log: Path | None = None
    report: Path | None = None
    errors: tuple[str, ...] = ()
    failed_checks: tuple[FailedCheck, ...] = ()
    checks: int = 0
    step_seconds: Mapping[str, float] = field(default_factory=dict)
    is_new: bool = False
    interrupted: bool = False
    call_at_fault: bool = False


def nothing_to_do(settings: Settings) -> bool:
    """Whether a run would change nothing: no new or changed file, the same settings and code, all published and handed over.

    Costs a listing of the landing folder and a look into the ledger; no graph is loaded.
    """
    # What was published last decides, not what readers see: somebody who has gone back to an earlier publication wants to stay
    # there until there is something new.
    latest = PublicationStore(settings.published_dir).latest()
    if latest is None or not settings.warehouse_file.exists() or latest.document["code_version"] != code_version():
        return False
    # Imported here because it pulls in Dagster, which the answer "no" above does not need.
    from orchestration.marketing.hand_over import is_handed_over

    try:
        with connect(settings.warehouse_file, read_only=True) as connection:
            if has_news(connection, settings.landing):
                return False
            is_current = latest.document["data_version"] == data_version(connection, settings)
            return bool(is_current and is_handed_over(connection, settings))
    except duckdb.Error:
        # A build file that cannot be read or lacks a table is work for the run itself, which reports it properly.
        return False


def run(
    settings: Settings,
    *,
    job: str = "everything",
    select: str | None = None,
    full_refresh: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> RunOutcome:
    """Executes a job over the home, in this process.

    Args:
        settings: Where and with which numbers.
        job: Name of a job of the code location.
        select: Dagster asset selection that replaces the job's, or None.
        full_refresh: Build incremental tables anew from everything in raw, and run even if nothing is new.
        on_progress: Told what happens.

    Returns:
        How it ended.

    Raises:
        HomeBusyError: If another run works in the home.
        SettingsError: If the home cannot be written.
        SelectionError: If `select` names nothing or cannot be read.
    """
    started = time.perf_counter()
    settings.prepare_home()
    store = PublicationStore(settings.published_dir)
    if not full_refresh and select is None and nothing_to_do(settings):
        return RunOutcome(True, True, store.current(), time.perf_counter() - started)

    from orchestration.console import run_summary
    from orchestration.instance import only_run_of, open_instance
    from orchestration.run_report import write_report

    with only_run_of(settings), open_instance(settings) as instance:
        log = settings.reports_dir / f"run-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.log"
        with output_to(log):
            outcome = _execute(settings, instance, job, select, full_refresh, on_progress, log, started)
            try:
                page = write_report(log.with_suffix(".html"), run_summary(outcome), instance)
                return replace(outcome, report=page)
            except (OSError, duckdb.Error) as error:
                # What the run has done stands; a full disk, for instance, costs only the page about it.
                print(f"no page about this run could be written: {error}")
                return outcome


def _execute(
    settings: Settings,
    instance: Any,
    job_name: str,
    select: str | None,
    full_refresh: bool,
    on_progress: Callable[[Progress], None],
    log: Path,
    started: float,
) -> RunOutcome:
    from dagster import DagsterEventType, define_asset_job
    from dagster._core.utils import make_new_run_id

    from orchestration.definitions import build_definitions
    from orchestration.instance import LAUNCHED_BY_COMMAND_LINE, settle_runs

    settle_runs(settings, instance)
    selection = None if select is None else _selection(select)
    jobs = [] if selection is None else [define_asset_job("selected", selection=selection)]
    definitions = build_definitions(settings, {"jobs": jobs} if jobs else None)
    if selection is not None and not selection.resolve(definitions.resolve_asset_graph()):
        raise SelectionError(f"--select {select!r} names no asset; for instance 'group:core' or '+core/dim_user'")
    job = definitions.resolve_job_def(job_name if select is None else "selected")
    step_seconds: dict[str, float] = {}

    def listen(record: Any) -> None:
        event = record.dagster_event
        if event is None and record.step_key is not None:
            on_progress(Progress("detail", record.step_key, message=record.user_message))
        if event is None or event.step_key is None:
            return
        if event.event_type == DagsterEventType.STEP_START:
            on_progress(Progress("started", event.step_key))
        elif event.event_type == DagsterEventType.STEP_SUCCESS:
            step_seconds[event.step_key] = event.step_success_data.duration_ms / 1000
            on_progress(Progress("finished", event.step_key, seconds=step_seconds[event.step_key]))
        elif event.event_type == DagsterEventType.STEP_FAILURE:
            on_progress(Progress("failed", event.step_key))

    run_id = make_new_run_id()
    before = PublicationStore(settings.published_dir).latest()
    on_progress(Progress("planned", count=len(job.nodes_in_topological_order)))
    instance.add_event_listener(run_id, listen)
    configuration: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}
    if full_refresh:
        builds = [node.name for node in job.nodes if node.name.startswith("dbt_")]
        configuration["ops"] = {name: {"config": {"full_refresh": True}} for name in builds}
    result = job.execute_in_process(
        instance=instance,
        run_id=run_id,
        raise_on_error=False,
        run_config=configuration,
        tags=LAUNCHED_BY_COMMAND_LINE,
    )
    evaluations = result.get_asset_check_evaluations()
    graph = definitions.resolve_asset_graph()
    store = PublicationStore(settings.published_dir)
    latest = store.latest()
    failures = [event for event in result.all_events if event.event_type == DagsterEventType.STEP_FAILURE]
    return RunOutcome(
        succeeded=result.success,
        nothing_new=False,
        publication=store.current(),
        is_new=latest is not None and (before is None or latest.publication_id != before.publication_id),
        interrupted=any(_cause(event) in _INTERRUPTIONS for event in failures),
        call_at_fault=any(_cause(event) in _FAULTS_OF_THE_CALL for event in failures),
        seconds=time.perf_counter() - started,
        log=log,
        errors=tuple(_first_line(event) for event in failures),
        failed_checks=tuple(
            FailedCheck(
                name=evaluation.check_name,
                asset="/".join(evaluation.asset_key.path),
                is_blocking=graph.get_check_spec(evaluation.asset_check_key).blocking
                and evaluation.severity.value == "ERROR",
                description=evaluation.description or _of_dbt_test(evaluation),
            )
            for evaluation in evaluations
            if not evaluation.passed
        ),
        checks=len(evaluations),
        step_seconds=step_seconds,
    )


def _of_dbt_test(evaluation: Any) -> str:
    """How many rows a test of dbt found, and what the project says of it; empty for another check."""
    from orchestration.resources.dbt import load_manifest

    metadata = {name: value.value for name, value in evaluation.metadata.items()}
    rows = metadata.get("dagster_dbt/failed_row_count")
    node = load_manifest()["nodes"].get(metadata.get("unique_id"), {})
    told = " ".join(node.get("description", "").split())
    return f"{'' if rows is None else '1 row. ' if rows == 1 else f'{rows:,} rows. '}{told}".strip()


def _selection(text: str) -> Any:
    from dagster import AssetSelection, DagsterError

    try:
        # The raw tables are loaded together, so whoever selects one selects all.
        return AssetSelection.from_string(text).required_multi_asset_neighbors()
    except DagsterError as error:
        raise SelectionError(f"--select {text!r} is no selection of assets: {' '.join(str(error).split())}") from error


def _root_error(event: Any) -> Any:
    """The error at the bottom of a failed step, or None."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error


def _cause(event: Any) -> str:
    """Name of the class of the error at the bottom of a failed step."""
    error = _root_error(event)
    return "" if error is None or error.cls_name is None else str(error.cls_name).rsplit(".", 1)[-1]


def _first_line(event: Any) -> str:
    """A failed step in one line: the cause, without the name of its class; of dbt, the tests and models that failed."""
    error = _root_error(event)
    message = _TERMINAL_CODE.sub("", (error.message if error is not None else event.message)).strip()
    failed_by_dbt = re.findall(
        r"(?:Failure|Error) in (?:test|model|snapshot|seed) \S+ .*?(?=\n\n|$)", message, re.DOTALL
    )
    if failed_by_dbt:
        message = "; ".join(failed_by_dbt)
    elif error is not None and error.cls_name:
        message = re.sub(rf"^[\w.]*{re.escape(error.cls_name)}: ", "", message)
    return f"{event.step_key}: {_shortened(' '.join(message.split()))}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE].rsplit(" ", 1)[0] + " ..."


@contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Sends what this process and its children print to a file, so that a terminal shows only what is meant for it.

    Both Python's streams and the descriptors below them are moved: dbt and Dagster's log capture write to either.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("a", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            with redirect_stdout(file), redirect_stderr(file):
                yield
        finally:
            for descriptor, target in zip(kept, (1, 2), strict=True):
                os.dup2(descriptor, target)
                os.close(descriptor)

"""The `zhiying` command: parses a call, hands it on, and turns the outcome into words and an exit status.

Exit status: 0 done, 1 the data or a check is at fault, 2 the call is at fault. Modules that pull in Dagster or dbt are imported
where they are needed, so that reading the publication starts at once.
"""

import contextlib
import csv
import os
import shlex
import signal
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import duckdb
import typer

from orchestration.campaign_commands import campaign_app
from orchestration.command_line import (
    CALL_AT_FAULT,
    DATA_AT_FAULT,
    DONE,
    INTERRUPTED,
    CallError,
    Home,
    Json,
    Landing,
    open_publication,
    print_json,
    program,
    settings_of_call,
    standard_output,
)
from orchestration.publication.store import PublicationStore
from orchestration.settings import Settings, parse_time
from orchestration.simulate import simulate

_INTERRUPTED = "interrupted; readers keep the publication that they had, and the next run goes on from here"
_SHOWN_ROWS = 40

app = typer.Typer(
    name="zhiying",
    help="A warehouse that joins a knowledge-payment and a film platform, recommends across them, and publishes tables "
    "that can be trusted.\n\nStart with `zhiying demo`.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
publications_app = typer.Typer(no_args_is_help=False, rich_markup_mode="markdown")
app.add_typer(publications_app, name="publications")
app.add_typer(campaign_app, name="campaign")
app.command(epilog="Example: `zhiying simulate --people 500 --days 14 --close-loop --home /data/zhiying-loop`")(
    simulate
)

Domain = Annotated[str | None, typer.Option("--domain", help="film or knowledge; both if not given.")]


def main() -> NoReturn:
    """Entry point of the `zhiying` command."""
    sys.exit(call(sys.argv[1:]))


def call(arguments: list[str]) -> int:
    """Carries out one call and returns its exit status; errors end as one line on the standard error stream."""
    try:
        status = app(arguments, standalone_mode=False)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _complain(_INTERRUPTED, INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe had enough (`| head`); what it did not want need not be flushed either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE
    except Exception as error:
        if type(error).__module__.split(".")[0] in {"click", "typer"} and hasattr(error, "format_message"):
            return _complain(f"{error.format_message()} (zhiying --help shows the commands)", CALL_AT_FAULT)
        # The project's own errors say whose fault they are; everything else that is not expected here is a bug and shows as one.
        if hasattr(error, "exit_status"):
            return _complain(str(error), error.exit_status)
        if isinstance(error, duckdb.IOException | OSError):
            return _complain(" ".join(str(error).split()), DATA_AT_FAULT)
        raise
    return int(status or DONE)


@app.command(
    epilog="Example: `zhiying demo --home /data/zhiying-demo`",
)
def demo(home: Home = None, as_json: Json = False) -> int:
    """Lays down the demo landing zone and runs everything on it.

    The film side is real (MovieTweetings ratings); the knowledge side, the people's attributes, the links and the campaigns are
    simulated by a documented rule.
    """
    from orchestration.console import counted, terminal
    from simulation.demo import write_demo_landing

    settings = settings_of_call(home)
    if (
        settings.landing.is_dir()
        and any(settings.landing.iterdir())
        and not (settings.landing / "_SIMULATED.md").exists()
    ):
        raise CallError(f"{settings.landing} holds other data than the demo's; name a new home with --home")
    settings.prepare_home()
    with terminal() as console, counted(console, "writing the demo landing zone") as show:
        landed = write_demo_landing(settings.landing, progress=lambda step, done, total: show(done, total, step))
    if not as_json:
        with terminal() as console:
            console.print(
                f"Demo landing zone: {landed.files:,} files, {landed.rows:,} rows in {settings.landing}\n"
                "  real: films and their ratings (MovieTweetings); "
                "simulated: the knowledge side, people, links, campaigns",
                highlight=False,
                soft_wrap=True,
            )
    return _run(settings, home, as_json=as_json)


@app.command(epilog="Example: `zhiying run --landing /data/landing --home /data/zhiying`")
def run(
    landing: Landing = None,
    home: Home = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="Point in time of the run, ISO 8601. Default: the latest event."),
    ] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Build incremental tables anew from everything loaded so far.")
    ] = False,
    select: Annotated[
        str | None, typer.Option("--select", help="Dagster asset selection instead of everything, e.g. 'group:core'.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Loads what is new, builds and checks the warehouse, trains and scores, and publishes.

    A second run without new files changes nothing and says so. When a check fails, readers keep the publication that they had.
    """
    try:
        moment: datetime | None = None if as_of is None else parse_time(as_of)
    except ValueError as error:
        raise CallError(f"--as-of: {error}") from error
    settings = settings_of_call(home, landing, as_of=moment)
    return _run(settings, home, as_json=as_json, full_refresh=full_refresh, select=select)


@app.command(epilog="Example: `zhiying land movielens ~/Downloads/ml-1m.zip --landing /data/landing`")
def land(
    data_format: Annotated[str, typer.Argument(metavar="FORMAT", help="A known public format: movielens.")],
    source: Annotated[Path, typer.Argument(help="Folder or zip file of the data set.")],
    landing: Landing = None,
    home: Home = None,
    as_json: Json = False,
) -> int:
    """Turns a public data set into landing files.

    `movielens` reads ml-100k, ml-1m, ml-10m, ml-latest and ml-25m style folders and MovieTweetings; ratings come out as 1 to 5.
    """
    from orchestration.console import counted, terminal
    from orchestration.landing.movielens import land_movielens

    if data_format != "movielens":
        raise CallError(f"{data_format!r} is not a known format; known is movielens")
    settings = settings_of_call(home, landing)
    with terminal() as console, counted(console, f"reading {source}") as show:
        summary = land_movielens(source, settings.landing, progress=lambda step, done, total: show(done, total, step))
    if as_json:
        print_json(summary.__dict__)
    else:
        print(summary)
        print(f"Next: {program()} run --landing {shlex.quote(str(settings.landing))} --home DIR   (DIR: a new folder)")
    return DONE


@app.command(epilog="Example: `zhiying check /data/landing`")
def check(
    landing: Annotated[Path, typer.Argument(help="Landing folder to check.")],
    as_json: Json = False,
) -> int:
    """Checks a landing folder against the contract without loading it.

    Exit status 1 if a file or a row is refused.
    """
    from orchestration.console import counted, terminal
    from orchestration.landing.check import check_landing, render_report

    with terminal() as console, counted(console, f"checking {landing}") as show:
        report = check_landing(landing, progress=lambda at: show(at.done, at.total, at.file))
    if as_json:
        print_json(report.as_dict())
    else:
        print(render_report(report))
    return DONE if report.is_clean else DATA_AT_FAULT


@app.command(epilog="Example: `zhiying tune --home /data/zhiying --minutes 60`")
def tune(
    home: Home = None,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.0, help="Budget of time for all models together.")
    ] = 15.0,
    as_json: Json = False,
) -> int:
    """Searches better parameters of the models, for longer than a run does.

    The search is kept and resumed: on the same data another call goes on where the last one ended. The next run tries what was
    found before all else, and uses it where it is better on its own validation.
    """
    import time

    from orchestration.console import counted, show_rows, terminal
    from orchestration.recommendations.tuning import tune as search

    settings = settings_of_call(home)
    started, seconds = time.monotonic(), 60 * minutes
    with terminal() as console, counted(console, "searching") as show:
        found = search(
            settings, seconds, lambda line: show(int(time.monotonic() - started), max(1, int(seconds)), line)
        )
    if as_json:
        print_json([entry.__dict__ for entry in found])
        return DONE
    rows = [
        (
            entry.candidate,
            entry.targets,
            entry.trials,
            f"{entry.gain:.3f}",
            ", ".join(f"{name} {_short(value)}" for name, value in sorted(entry.parameters.items())),
        )
        for entry in sorted(found, key=lambda entry: (entry.targets, -entry.gain))
    ]
    show_rows(standard_output(), ["model", "targets", "tried", "NDCG against popularity", "best parameters"], rows)
    print(f"Kept in {settings.tuned_file}; the next `{program()} run` tries them first.")
    return DONE


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@app.command(epilog="Example: `zhiying ui --home /data/zhiying --port 3001`")
def ui(
    home: Home = None,
    landing: Landing = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on loopback.")] = 3000,
) -> int:
    """Dagster's web UI and daemon over the home, on loopback only, until Ctrl-C."""
    from orchestration.instance import HomeBusyError, only_run_of, only_ui_of, open_instance, settle_runs

    settings = settings_of_call(home, landing)
    settings.prepare_home()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CallError(f"Port {port} cannot be used ({error.strerror}); name another with --port") from error
    # What a killed run left would keep the queue waiting; a run of the command line that is alive looks after itself.
    with contextlib.suppress(HomeBusyError), only_run_of(settings), open_instance(settings) as instance:
        settle_runs(settings, instance)
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(settings.dagster_dir),
        "ZHIYING_HOME": str(settings.home),
        "ZHIYING_LANDING": str(settings.landing),
    }
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-m",
        "orchestration.definitions",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    print(f"Zhiying over {settings.home}: http://127.0.0.1:{port}  (Ctrl-C stops it)", flush=True)
    with only_ui_of(settings):
        return _serve(command, environment, settings.dagster_dir)


def _serve(command: list[str], environment: dict[str, str], directory: Path) -> int:
    """Runs Dagster's services until they end or this process is told to; nothing of them is left then."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=directory,
        # A group of its own, so that what is left of it can be ended; and able to be interrupted even where a shell has
        # started this command in the background.
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        return DATA_AT_FAULT if process.wait() else DONE
    except KeyboardInterrupt:
        # Of an interrupt, and of nothing else, Dagster takes its children with it (seen in 1.13.27).
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        return DONE
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@app.command(epilog="Example: `zhiying query \"from recommend('<user_key>', n := 5)\"`")
def query(
    sql: Annotated[str, typer.Argument(help="One SQL statement over the publication.")],
    home: Home = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")] = False,
) -> int:
    """Asks the publication; nothing can be changed through it."""
    _answer(settings_of_call(home), sql, [], as_json=as_json, as_csv=as_csv)
    return DONE


@app.command(epilog="Example: `zhiying recommend film:12345 --domain knowledge -n 5`")
def recommend(
    person: Annotated[
        str, typer.Argument(help="A user_key, or platform:user_id where the restricted file may be read.")
    ],
    n: Annotated[int, typer.Option("-n", min=1, help="How many for each side.")] = 10,
    domain: Domain = None,
    home: Home = None,
    as_json: Json = False,
) -> int:
    """What one person would enjoy, on both sides or one, and why."""
    settings = settings_of_call(home)
    user_key = _user_key(settings, person)
    columns = "target_domain, rank, title, round(score, 4) as score, strategy, reason"
    found = _answer(
        settings,
        f"select {columns} from recommend(?, n := ?, domain := ?)",
        [user_key, n, _domain(domain)],
        as_json=as_json,
    )
    if not found:
        raise CallError(
            f"No list for {person!r}; `zhiying query 'select user_key from core.dim_user limit 5'` shows people"
        )
    return DONE


@app.command(epilog="Example: `zhiying similar film:0133093 --domain knowledge`")
def similar(
    item: Annotated[str, typer.Argument(help="An item_key (film:0133093), an item_id, or a part of a title.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many for each side.")] = 10,
    domain: Domain = None,
    home: Home = None,
    as_json: Json = False,
) -> int:
    """Items that people enjoy together with this one, on both sides or one."""
    settings = settings_of_call(home)
    item_key = _item_key(settings, item)
    columns = "of_title, target_domain, rank, title, round(score, 4) as score, strategy"
    found = _answer(
        settings,
        f"select {columns} from similar(?, n := ?, domain := ?)",
        [item_key, n, _domain(domain)],
        as_json=as_json,
    )
    if not found:
        raise CallError(f"Nothing is known to be similar to {item!r}")
    return DONE


@publications_app.callback(invoke_without_command=True, epilog="Example: `zhiying publications --home /data/zhiying`")
def publications(context: typer.Context, home: Home = None, as_json: Json = False) -> None:
    """Lists the publications on disk, newest first; `rollback` goes back to one."""
    context.obj = home
    if context.invoked_subcommand is not None:
        return
    from orchestration.console import show_rows

    found = PublicationStore(settings_of_call(home).published_dir).all()
    if as_json:
        print_json(
            [{"id": p.publication_id, "is_current": p.is_current, "file": str(p.database), **p.document} for p in found]
        )
        return
    rows = [
        (
            "current" if p.is_current else "",
            p.publication_id,
            p.document["as_of"],
            sum(p.document["rows"].values()),
            f"{p.database.stat().st_size / 1e6:.1f}",
        )
        for p in found
    ]
    show_rows(standard_output(), ["", "publication", "as of", "rows", "MB"], rows)


@publications_app.command(epilog="Example: `zhiying publications rollback 20260131T033000000000Z-1a2b3c4d`")
def rollback(
    context: typer.Context,
    publication_id: Annotated[str, typer.Argument(metavar="ID", help="From `zhiying publications`.")],
    home: Home = None,
    as_json: Json = False,
) -> int:
    """Makes an earlier publication the one that readers see, at once.

    A run without anything new leaves it so; one with something new publishes on top.
    """
    now = PublicationStore(settings_of_call(home or context.obj).published_dir).rollback(publication_id)
    if as_json:
        print_json({"id": now.publication_id, "is_current": now.is_current, "file": str(now.database)})
    else:
        print(f"Readers now see {now.publication_id}. The next run with something new publishes on top of it.")
    return DONE


def _run(
    settings: Settings, home: Path | None, *, as_json: bool, full_refresh: bool = False, select: str | None = None
) -> int:
    from orchestration.console import RunProgress, run_summary, show_summary, terminal
    from orchestration.runs import run as execute

    if not settings.landing.is_dir():
        raise CallError(
            f"The landing folder {settings.landing} does not exist; name one with --landing, or try `zhiying demo`"
        )
    with terminal() as console, RunProgress(console) as progress:
        outcome = execute(settings, full_refresh=full_refresh, select=select, on_progress=progress.show)
    if as_json:
        print_json(run_summary(outcome))
    elif not outcome.interrupted:
        home_option = "" if home is None else f" --home {shlex.quote(str(home))}"
        show_summary(standard_output(), outcome, program=program(), home_option=home_option)
    if outcome.interrupted:
        return _complain(_INTERRUPTED, INTERRUPTED)
    if outcome.call_at_fault:
        return CALL_AT_FAULT
    return DONE if outcome.succeeded else DATA_AT_FAULT


def _answer(settings: Settings, sql: str, values: list[Any], *, as_json: bool = False, as_csv: bool = False) -> int:
    """Prints the answer of a query; returns how many rows it has."""
    from orchestration.console import show_rows

    with open_publication(settings) as connection:
        try:
            if len(statements := connection.extract_statements(sql)) != 1:
                raise CallError(f"One SQL statement is wanted, this is {len(statements)}")
            result = connection.execute(sql, values)
            columns = [column[0] for column in result.description or []]
            rows = result.fetchall()
        except duckdb.Error as error:
            raise CallError(f"DuckDB: {' '.join(str(error).split())}") from error
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    elif rows:
        show_rows(standard_output(), columns, rows[:_SHOWN_ROWS], more=max(0, len(rows) - _SHOWN_ROWS))
    else:
        print("no rows")
    return len(rows)


def _user_key(settings: Settings, person: str) -> str:
    platform, _, user_id = person.partition(":")
    if not user_id:
        return person
    if platform not in {"film", "knowledge"}:
        raise CallError(f"{platform!r} is not a platform; give film:USER_ID, knowledge:USER_ID or a user_key")
    file = settings.restricted_dir / "accounts.duckdb"
    if not os.access(file, os.R_OK):
        raise CallError(f"{file} cannot be read, so only a user_key can be asked for")
    with duckdb.connect(str(file), read_only=True) as connection:
        row = connection.execute(
            "select user_key from account where platform = ? and user_id = ?", [platform, user_id]
        ).fetchone()
    if row is None:
        raise CallError(f"No account {user_id!r} on the {platform} platform")
    return str(row[0])


def _item_key(settings: Settings, item: str) -> str:
    with open_publication(settings) as connection:
        exact = connection.execute(
            "select item_key from core.dim_item where item_key = $1 or item_id = $1 order by item_key", [item]
        ).fetchall()
        if not exact:
            exact = connection.execute(
                "select item.item_key from core.dim_item as item where contains(lower(item.title), lower($1)) "
                "order by length(item.title), item.item_key limit 1",
                [item],
            ).fetchall()
    if not exact:
        raise CallError(f'No item {item!r}; `zhiying query "select item_key, title from core.dim_item"` shows them')
    return str(exact[0][0])


def _domain(domain: str | None) -> str | None:
    if domain not in {None, "film", "knowledge"}:
        raise CallError(f"--domain: {domain!r} is neither film nor knowledge")
    return domain


def _complain(message: str, status: int) -> int:
    print(f"zhiying: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()

"""`zhiying simulate`: a world of people as landing files, and what campaigns do to it when the loop is closed.

With the loop closed every day is a run of the whole product: it plans, hands its lists over, the world answers them, and what the
channel returns is in the landing zone before the next run. What the world alone knows (who would have bought anyway) is shown
beside what the product measured. A loop that was stopped goes on with the next call: what was planned is kept in the home, and the
world is led through those days again. How people live and answer is the business of `simulation`.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import duckdb
import typer

from orchestration.command_line import (
    DONE,
    CallError,
    Home,
    Json,
    Landing,
    options_as_given,
    print_json,
    program,
    settings_of_call,
    standard_output,
)
from orchestration.publication.store import PublicationStore
from orchestration.resources.durable import sync
from orchestration.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from simulation.landing_world import LandingWorld

DEFAULT_SEED = 20250101

Progress = Callable[[int, int, str], None]
Estimate = tuple[float | None, float | None, float | None]


class SimulationStoppedError(RuntimeError):
    """A run of the product failed while the loop was closed, or what stands in the landing zone is not what this world delivers."""

    exit_status = 1


@dataclass(frozen=True)
class SimulatedDay:
    """A day of the closed loop.

    Args:
        date: The day.
        contacts: Contacts that were shown.
        held_out: Chosen people who were held out.
        undelivered: Contacts that the channel dropped because consent was taken back on the day.
        cost: What the contacts cost in US dollars.
        true_conversions: Conversions that they add in expectation; the world alone knows.
        true_value: The same in US dollars.
        sleepers: Contacts of people whom a contact puts off.
        conversions: Purchases of campaign items, of both arms.
        estimated_conversions: Conversions added by all contacts so far, as the product measured them before the day: the
            difference of the arms times the people contacted; None while it cannot be told.
        estimated_low: Lower end of its 95 % interval.
        estimated_high: Upper end.
        value_source: What told the plan the value of a contact.
    """

    date: date
    contacts: int
    held_out: int
    undelivered: int
    cost: float
    true_conversions: float
    true_value: float
    sleepers: int
    conversions: int
    estimated_conversions: float | None
    estimated_low: float | None
    estimated_high: float | None
    value_source: str | None


@dataclass
class Loop:
    """How far a closed loop is, as it stands in `simulation.json` of the home.

    A day stands here once its lists are handed over and before its answers are delivered. Its contacts are in the exports and the
    ledger for good, so that a world of the same seed gives the same answers again, and the measure of that day is read from here.

    Args:
        file: The file.
        arguments: What makes the loop: people, days, seed, and the landing folder as seen from the home.
        lines: The days so far.
        measured: Conversions added as the product measured them in the end, and their interval; None before the end.
    """

    file: Path
    arguments: dict[str, int | str]
    lines: list[SimulatedDay] = field(default_factory=list)
    measured: Estimate | None = None

    @classmethod
    def of(cls, settings: Settings, people: int, days: int, seed: int) -> "Loop":
        """The loop of these arguments, where it was left or else at its beginning.

        Raises:
            CallError: If the home holds another loop, or the home or the landing folder anything else.
        """
        landing = os.path.relpath(settings.landing, settings.home)
        loop = cls(
            settings.home / "simulation.json", {"people": people, "days": days, "seed": seed, "landing": landing}
        )
        if not loop.file.exists():
            _expect_empty(settings.landing)
            if settings.warehouse_file.exists() or settings.decisions_dir.exists():
                raise CallError(f"{settings.home} has a history of its own; name a new one with --home")
            return loop
        document = json.loads(loop.file.read_text(encoding="utf-8"))
        if document["arguments"] != loop.arguments:
            known = dict(document["arguments"])
            folder = os.path.normpath(settings.home / known.pop("landing"))
            raise CallError(
                f"{settings.home} holds the loop of {' '.join(f'--{name} {value}' for name, value in known.items())} "
                f"--landing {folder}; call with these to go on with it, or name a new home with --home"
            )
        loop.lines = [SimulatedDay(**line | {"date": date.fromisoformat(line["date"])}) for line in document["days"]]
        if document["measured"] is not None:
            value, low, high = document["measured"]
            loop.measured = (value, low, high)
        return loop

    def keep(self) -> None:
        """Writes how far it is, whole or not at all."""
        document = {
            "arguments": self.arguments,
            "days": [asdict(line) | {"date": str(line.date)} for line in self.lines],
            "measured": self.measured,
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(self.file, json.dumps(document, indent=2).encode())


def simulate(
    people: Annotated[int, typer.Option("--people", min=1, help="How many people live in the world.")] = 2_000,
    days: Annotated[
        int,
        typer.Option(
            "--days", min=1, max=365, help="Days of history; with --close-loop days of campaigns after 60 of history."
        ),
    ] = 60,
    close_loop: Annotated[
        bool, typer.Option("--close-loop", help="Run the product every day and let people answer its lists.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed, another world.")] = DEFAULT_SEED,
    landing: Landing = None,
    home: Home = None,
    as_json: Json = False,
) -> int:
    """Lays down a simulated landing zone in which the effect of a contact is known, and can live in it.

    Without --close-loop the history is written and campaigns are about to start: `zhiying run` plans them. With it, every day is
    run, handed over and answered; a day takes as long as a run. The landing zone must be empty, and with --close-loop the home new,
    or one whose loop was stopped: the same call goes on with it.
    """
    settings = settings_of_call(home, landing)
    if close_loop:
        loop = Loop.of(settings, people, days, seed)
        was_complete = loop.measured is not None
        _close(settings, loop, quiet=as_json)
        of_days = summary(loop.lines, loop.measured or (None, None, None))
        if as_json:
            print_json({"days": [asdict(line) for line in loop.lines], "summary": of_days})
            return DONE
        if was_complete:
            print(f"Complete: all {days:,} days were lived in {settings.home} before; nothing was changed")
        _show_summary(of_days)
        print(f"Next: {program()} campaign list{options_as_given(home)}")
        return DONE
    from orchestration.console import counted, terminal
    from simulation.landing_world import LandingWorld

    _expect_empty(settings.landing)
    with terminal() as console, counted(console, "writing the history") as show:
        files = write_history(settings.landing, LandingWorld(people, days, seed), days, people, seed, show)
    if as_json:
        print_json({"landing": str(settings.landing), "files": files, "people": people, "days": days, "seed": seed})
    else:
        print(f"Simulated landing zone: {files:,} files of {people:,} people in {settings.landing}")
        print(f"Next: {program()} run{options_as_given(home, landing)}")
    return DONE


def _close(settings: Settings, loop: Loop, *, quiet: bool) -> None:
    """Lives what is left of a loop, and tells its days on the standard error stream unless `quiet`."""
    from orchestration.console import counted, terminal

    with terminal() as console:
        if loop.lines and loop.measured is None and not quiet:
            of_all = f"{len(loop.lines):,} of {loop.arguments['days']:,} days are lived"
            console.print(f"  goes on after {loop.lines[-1].date}: {of_all}")

        def tell(line: SimulatedDay) -> None:
            if not quiet:
                console.print(_in_words(line), highlight=False, soft_wrap=True)

        with counted(console, "simulating") as show:
            go_on(settings, loop, tell, show)


def go_on(settings: Settings, loop: Loop, tell: Callable[[SimulatedDay], None], show: Progress) -> None:
    """Lives what is left of a loop, from its history on if it is new; nothing if it is complete.

    Args:
        settings: Of the home and the landing folder.
        loop: From `Loop.of`; kept as it goes on.
        tell: Told each day that is new when it has passed.
        show: Told how far it is.

    Raises:
        SimulationStoppedError: If a run fails, or a day that was lived before is in the landing zone as another.
    """
    from simulation.landing_opening import HISTORY_DAYS
    from simulation.landing_world import LandingWorld

    if loop.measured is not None:
        return
    people, days, seed = (int(loop.arguments[name]) for name in ("people", "days", "seed"))
    world = LandingWorld(people, days, seed)
    if not loop.lines:
        # Before any file of the history is there, so that what a kill leaves of it is known as the beginning of this loop.
        loop.keep()
        write_history(settings.landing, world, HISTORY_DAYS, people, seed, show)
    live(settings, world, tell, show, loop)


def write_history(landing: Path, world: "LandingWorld", days: int, people: int, seed: int, show: Progress) -> int:
    """Writes what is delivered once and the days before the campaigns.

    Args:
        landing: Folder to write to.
        world: The world.
        days: Days of history.
        people: Number of people, for the note beside the files.
        seed: Seed, likewise.
        show: Told how far it is.

    Returns:
        Number of landing files.
    """
    from simulation.landing_world import DAYS_A_FILE, NOTE, NOTE_FILE

    landing.mkdir(parents=True, exist_ok=True)
    write_files(landing, {NOTE_FILE: NOTE.format(seed=seed, people=people).encode()})
    written = write_files(landing, world.opening())
    months = -(-days // DAYS_A_FILE)
    for month, files in enumerate(world.history(days), start=1):
        written += write_files(landing, files)
        show(month, months, "events")
    return written


def live(
    settings: Settings,
    world: "LandingWorld",
    tell: Callable[[SimulatedDay], None],
    show: Progress,
    loop: Loop,
) -> None:
    """Closes the loop: every day is run, handed over and answered; a last run measures the last day.

    Args:
        settings: Of the runs; `landing` holds the history of the world.
        world: The world on day 0.
        tell: Told each day that is new when it has passed.
        show: Told how far it is.
        loop: What was lived before, which the world lives again without a run; kept as it goes on.

    Raises:
        SimulationStoppedError: If a run fails, or a day that was lived before is in the landing zone as another.
    """
    from simulation.landing_world import date_of

    lived_before = len(loop.lines)
    for day in range(world.days):
        of_day = date_of(day)
        show(day, world.days, str(of_day))
        if day < lived_before:
            write_files(settings.landing, world.live(day, contacts_of(settings, of_day)).files)
            continue
        _run(settings, of_day)
        (estimated, low, high), value_source = estimate(settings)
        record = world.live(day, contacts_of(settings, of_day))
        line = SimulatedDay(
            date=of_day,
            contacts=record.delivered,
            held_out=record.held_out,
            undelivered=record.undelivered,
            cost=record.cost,
            true_conversions=record.true_conversions,
            true_value=record.true_value,
            sleepers=record.sleepers,
            conversions=record.conversions,
            estimated_conversions=estimated,
            estimated_low=low,
            estimated_high=high,
            value_source=value_source,
        )
        # Kept before the first of its files is there: a run that found a part of them would plan on half a day.
        loop.lines.append(line)
        loop.keep()
        write_files(settings.landing, record.files)
        tell(line)
    show(world.days, world.days, "measuring the last day")
    _run(settings, date_of(world.days))
    loop.measured = estimate(settings)[0]
    loop.keep()


def contacts_of(settings: Settings, of_day: date) -> "pa.Table":
    """A day's contacts of both arms: the lists that were handed over, and from the ledger who was held out.

    Only a world may be told the second part; no channel is.

    Args:
        settings: Where exports, ledger and accounts are.
        of_day: The day.

    Returns:
        Contacts in `simulation.landing_world.CONTACT_COLUMNS`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from orchestration.marketing.contact_schema import CONTROL
    from orchestration.marketing.ledger import DecisionLedger
    from simulation.landing_world import CONTACT_COLUMNS

    names = CONTACT_COLUMNS.names
    lists = [
        pq.read_table(path, columns=names).cast(CONTACT_COLUMNS)
        for path in sorted((settings.exports_dir / str(of_day)).glob("*/list.parquet"))
    ]
    ledger = DecisionLedger(settings.decisions_dir)
    plans = [plan_id for plan_id, of_plan in ledger.documents().items() if str(of_day) in of_plan["handed_dates"]]
    if not plans:
        return pa.concat_tables([CONTACT_COLUMNS.empty_table(), *lists])
    (plan_id,) = plans
    with duckdb.connect(str(settings.restricted_dir / "accounts.duckdb"), read_only=True) as connection:
        connection.register("decided", ledger.contacts(plan_id))
        held_out = connection.execute(
            """
            with accounts as (
                select user_key, platform, min(user_id) as user_id
                from account
                group by all
            )

            select
                decided.contact_key as exposure_id,
                decided.campaign_key as campaign_id,
                decided.platform,
                accounts.user_id,
                substr(decided.item_key, instr(decided.item_key, ':') + 1) as item_id,
                decided.arm,
                decided.propensity,
                decided.channel,
                decided.not_before,
                decided.not_after
            from decided
            inner join accounts on decided.user_key = accounts.user_key and decided.platform = accounts.platform
            where decided.contact_date = ? and decided.arm = ?
            """,
            [of_day, CONTROL],
        ).to_arrow_table()
    return pa.concat_tables([*lists, held_out.select(names).cast(CONTACT_COLUMNS)])


def estimate(settings: Settings) -> tuple[Estimate, str | None]:
    """What the product says of all its campaigns together.

    Args:
        settings: Where the publication is.

    Returns:
        Conversions added so far with the ends of their 95 % interval, None while they cannot be told; and what told the last plan
        the value of a contact.
    """
    with duckdb.connect(str(PublicationStore(settings.published_dir).current_file), read_only=True) as connection:
        found = connection.execute(
            """
            select
                difference * people_treatment,
                ci_low * people_treatment,
                ci_high * people_treatment
            from marketing.lift
            where scope = 'all' and measure = 'conversion' and method = 'newcombe'
            """
        ).fetchone()
        source = connection.execute("select value_source from marketing.plan order by as_of desc limit 1").fetchone()
    low_and_high = (None, None, None) if found is None else (found[0], found[1], found[2])
    return low_and_high, None if source is None else source[0]


def summary(lines: list[SimulatedDay], after: Estimate) -> dict[str, float | int | str | None]:
    """The days together.

    Args:
        lines: The days.
        after: What the product measured in the end.
    """
    true_value, cost = sum(line.true_value for line in lines), sum(line.cost for line in lines)
    contacts = sum(line.contacts for line in lines)
    return {
        "days": len(lines),
        "contacts": contacts,
        "held_out": sum(line.held_out for line in lines),
        "undelivered": sum(line.undelivered for line in lines),
        "sleepers_contacted_share": sum(line.sleepers for line in lines) / contacts if contacts else None,
        "cost": cost,
        "true_value": true_value,
        "true_return_on_cost": true_value / cost if cost else None,
        "true_conversions": sum(line.true_conversions for line in lines),
        "estimated_conversions": after[0],
        "estimated_low": after[1],
        "estimated_high": after[2],
        "value_source": lines[-1].value_source if lines else None,
    }


def write_files(landing: Path, files: Mapping[str, bytes]) -> int:
    """Writes landing files by their path, each whole or not at all; those that are there already are left alone.

    Returns:
        How many files there are.

    Raises:
        SimulationStoppedError: If a file is there with other bytes.
    """
    for path, content in files.items():
        target = landing / path
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(target, content)
        elif target.read_bytes() != content:
            raise SimulationStoppedError(
                f"{target} is not what this world delivers: it was changed, or written by another version; begin with a new home"
            )
    return len(files)


def _write_whole(file: Path, content: bytes) -> None:
    # Hidden, so that no run reads it; always of the same name, so that what a kill leaves is written over.
    scratch = file.with_name(f".{file.name}.writing")
    scratch.write_bytes(content)
    sync(scratch)
    os.replace(scratch, file)


def _expect_empty(landing: Path) -> None:
    """Refuses to mix a simulated world with anything else.

    Raises:
        CallError: If the landing folder holds something.
    """
    if landing.is_dir() and any(landing.iterdir()):
        raise CallError(f"{landing} is not empty; name a new folder with --landing or --home")


def _run(settings: Settings, of_day: date) -> None:
    from orchestration.runs import run

    outcome = run(settings)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if not outcome.succeeded:
        raise SimulationStoppedError(f"the run before {of_day} failed: {outcome.errors[0]} (log: {outcome.log})")


def _in_words(line: SimulatedDay) -> str:
    return (
        f"  {line.date}  {line.contacts:5,} contacts, {line.held_out:4,} held out, cost {line.cost:8.2f}, truly add "
        f"{line.true_conversions:6.2f} conversions worth {line.true_value:8.2f}; measured so far "
        f"{_with_interval(line.estimated_conversions, line.estimated_low, line.estimated_high)}"
    )


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "nothing"
    return f"{value:.1f}" if low is None or high is None else f"{value:.1f} ({low:.1f} to {high:.1f})"


def _show_summary(of_days: Mapping[str, Any]) -> None:
    from orchestration.console import show_rows

    rows = [
        ("days", of_days["days"]),
        ("contacts", of_days["contacts"]),
        ("held out", of_days["held_out"]),
        ("dropped by the channel: consent taken back on the day", of_days["undelivered"]),
        ("share of contacts that put people off", of_days["sleepers_contacted_share"]),
        ("cost, USD", round(of_days["cost"], 2)),
        ("true incremental value, USD", round(of_days["true_value"], 2)),
        ("true incremental value by cost", of_days["true_return_on_cost"]),
        ("true incremental conversions", of_days["true_conversions"]),
        (
            "measured incremental conversions",
            _with_interval(*(of_days[f"estimated_{name}"] for name in ("conversions", "low", "high"))),
        ),
        ("values came last from", of_days["value_source"]),
    ]
    show_rows(standard_output(), ["all days", ""], rows)

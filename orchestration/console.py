"""What a person sees: progress while a run goes on, a summary when it has ended, tables of answers.

Everything here writes to the terminal that the process was started in; what is told is decided in `orchestration.runs`.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from orchestration.sql import has_relation

if TYPE_CHECKING:
    # Only named here: reading the publication must not wait for what a run needs.
    from orchestration.runs import Progress as Happening
    from orchestration.runs import RunOutcome

# What a step does, in a person's words; a step without an entry shows under its own name.
_STEPS = {
    "raw": "reading the landing folder",
    "dbt_up_to_features": "building and testing the warehouse (dbt)",
    "recommendations__interactions": "collecting interactions",
    "recommendations__models": "choosing and training models",
    "recommendations__model_evaluation": "recording the evaluation",
    "recommendations__model_comparison": "comparing the models",
    "recommendations__model_evaluation_champion_above_popularity": "checking the champions",
    "recommendations__model_evaluation_catalogues_hold_no_product_twice": "comparing the audiences of both platforms",
    "recommendations__scored_user_item": "scoring everyone",
    "recommendations__scored_item_item": "relating items",
    "tastes": "telling tastes apart",
    "past": "reading what was handed over before",
    "measured": "measuring what campaigns caused",
    "decided": "planning whom to contact",
    "marketing__proposed_campaign": "proposing campaigns",
    "dbt_after_models": "building and testing lists and plans (dbt)",
    "quality__check_result": "recording checks",
    "restricted__account": "writing the restricted account list",
    "meta__publication": "publishing",
    "exports__contact_list": "handing over the contacts",
}

# What is wrong with more campaigns than these would hide the rest of a summary.
_SHOWN_REFUSALS = 5


class RunProgress:
    """A live bar on a terminal, one line a finished step everywhere.

    Args:
        console: Where to show it; it must not be redirected by the run (see `terminal`).
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> "RunProgress":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, happening: "Happening") -> None:
        """Shows one thing that happened in a run."""
        what = _STEPS.get(happening.step, happening.step)
        if happening.kind == "planned":
            self._bar.update(self._task, total=happening.count)
        elif happening.kind == "started":
            self._bar.update(self._task, description=what)
        elif happening.kind == "detail":
            self._bar.update(self._task, description=f"{what} [dim]{escape(happening.message[:60])}[/]")
        elif happening.kind == "finished":
            self._bar.advance(self._task)
            self._console.print(f"  [green]done[/]    {what} [dim]{happening.seconds:.1f} s[/]", highlight=False)
        elif happening.kind == "failed":
            self._console.print(f"  [red]failed[/]  {what}", highlight=False)


@contextmanager
def counted(console: Console, description: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on a terminal for work that knows how far it is; yields what to call with done, total and the thing at hand."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(escape(description), total=None)
        yield lambda done, total, at: bar.update(
            task, completed=done, total=total, description=f"{escape(description)} [dim]{escape(at[:60])}[/]"
        )


@contextmanager
def terminal() -> Iterator[Console]:
    """A console on a copy of the standard error stream, which keeps showing while a run redirects the original."""
    with os.fdopen(os.dup(2), "w", buffering=1) as stream:
        yield Console(file=stream, force_terminal=sys.stderr.isatty() or None)


def run_summary(outcome: "RunOutcome") -> dict[str, Any]:
    """What a run made, as a JSON-able object; the same figures that `show_summary` prints."""
    summary: dict[str, Any] = {
        "succeeded": outcome.succeeded,
        "nothing_new": outcome.nothing_new,
        "is_new": outcome.is_new,
        "interrupted": outcome.interrupted,
        "seconds": round(outcome.seconds, 1),
        "step_seconds": {step: round(seconds, 1) for step, seconds in outcome.step_seconds.items()},
        "log": None if outcome.log is None else str(outcome.log),
        "report": None if outcome.report is None else str(outcome.report),
        "errors": list(outcome.errors),
        "checks": {
            "evaluated": outcome.checks,
            "blocking_failed": [check.__dict__ for check in outcome.failed_checks if check.is_blocking],
            "warned": [check.__dict__ for check in outcome.failed_checks if not check.is_blocking],
        },
        "publication": None,
    }
    if outcome.publication is not None:
        document = outcome.publication.document
        summary["publication"] = {
            "id": outcome.publication.publication_id,
            "file": str(outcome.publication.database),
            "as_of": document["as_of"],
            "rows": document["rows"],
            **_figures(outcome),
        }
    return summary


def show_summary(console: Console, outcome: "RunOutcome", *, program: str, home_option: str) -> None:
    """Prints what a run made, what needs attention and what to type next.

    Args:
        console: Where to.
        outcome: The run.
        program: How this command can be called again.
        home_option: ` --home DIR` as the person gave it, or empty. With both, the commands shown can be pasted.
    """
    summary = run_summary(outcome)
    for error in outcome.errors:
        console.print(f"[red]error[/]  {escape(error)}", highlight=False)
    for check in outcome.failed_checks:
        colour, word = ("red", "failed") if check.is_blocking else ("yellow", "warns")
        console.print(
            f"[{colour}]{word}[/]  check {check.name} on {check.asset}  {escape(check.description)}", highlight=False
        )
    made = summary["publication"]
    if made is None:
        console.print("No publication yet.")
    else:
        show_refused_campaigns(console, made["refused_campaigns"], f"{program} campaign list{home_option}")
        _show_publication(console, outcome, made)
    if outcome.report is not None:
        console.print(f"[dim]Report: {escape(str(outcome.report))}[/]", highlight=False, soft_wrap=True)
    if outcome.log is not None:
        console.print(
            f"[dim]Everything the steps printed: {escape(str(outcome.log))}[/]", highlight=False, soft_wrap=True
        )
    if outcome.succeeded and made is not None:
        person = made["example_user"]
        console.print("\nNext:", highlight=False)
        for command, what in (
            (f"{program} recommend{home_option} {person}", "what one person would enjoy, on both sides"),
            (f"{program} campaign list{home_option}", "what is planned, handed over, and what it has caused"),
            (f"{program} query{home_option} 'from quality.load_audit'", "any SQL over the published tables"),
            (f"{program} ui{home_option}", "the graph, its runs and its lineage in a browser"),
        ):
            console.print(f"  {escape(command)}   [dim]{what}[/]", highlight=False, soft_wrap=True)


def _show_publication(console: Console, outcome: "RunOutcome", made: dict[str, Any]) -> None:
    if outcome.nothing_new:
        head = "[green]Nothing new[/]: no file has arrived or changed, the publication stays as it is."
    elif outcome.succeeded and outcome.is_new:
        head = "[green]Published[/]."
    elif outcome.succeeded:
        head = "[green]Done[/]; readers see the same publication as before."
    else:
        head = "[red]Not published[/]: readers keep the publication that they had."
    console.print(head, highlight=False)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 2))
    rows = made["rows"]
    table.add_row("publication", f"{made['id']}, as of {made['as_of']}")
    table.add_row("people", f"{rows['core.dim_user']:,}, of whom {made['linked']:,} are on both platforms")
    table.add_row("catalogue", f"{rows['core.dim_film']:,} films, {rows['core.dim_content']:,} contents")
    audit = made["load"]
    table.add_row(
        "load",
        f"{audit['files']:,} files, {audit['read']:,} rows read = {audit['loaded']:,} loaded + "
        f"{audit['quarantined']:,} quarantined + {audit['duplicate']:,} duplicate"
        + (f"; {audit['refused']} files refused" if audit["refused"] else ""),
    )
    table.add_row("events", f"{rows['core.fct_interaction']:,}")
    table.add_row(
        "lists",
        f"{rows['recommendations.user_item']:,} rows for people, {rows['recommendations.item_item']:,} for items",
    )
    if handed := made["handed_over"]:
        of = f"{handed['contacts']:,} of {handed['campaigns']:,} campaigns handed over for {handed['day']}"
        table.add_row("contacts", of if handed["contacts"] else f"none to hand over for {handed['day']}")
    for champion in made["champions"]:
        table.add_row(
            f"best for {champion['target_domain']}, {champion['segment']}",
            f"{champion['model']}: NDCG@10 {champion['value']:.4f} ({champion['ci_low']:.4f} to {champion['ci_high']:.4f}), "
            f"popularity {champion['popularity']:.4f}",
        )
    if not outcome.nothing_new:
        table.add_row("checks", f"{outcome.checks:,} evaluated, {len(outcome.failed_checks)} did not pass")
    table.add_row("file", escape(str(made["file"])))
    table.add_row("took", f"{outcome.seconds:.0f} s")
    console.print(table, highlight=False)


def show_refused_campaigns(console: Console, refused: Sequence[dict[str, str]], command: str) -> None:
    """Prints campaigns that the plan refuses, each with what is wrong.

    Args:
        console: Where to.
        refused: `campaign_key` and `problem` of each.
        command: What shows all of them, named where only some are printed.
    """
    for campaign in refused[:_SHOWN_REFUSALS]:
        console.print(
            f"[yellow]refused[/]  campaign {escape(campaign['campaign_key'])}  {escape(campaign['problem'])}",
            highlight=False,
        )
    if len(refused) > _SHOWN_REFUSALS:
        console.print(f"and {len(refused) - _SHOWN_REFUSALS:,} more: {escape(command)}", highlight=False)


def _figures(outcome: "RunOutcome") -> dict[str, Any]:
    if outcome.publication is None:
        return {}
    with duckdb.connect(str(outcome.publication.database), read_only=True) as connection:

        def one(sql: str) -> Any:
            row = connection.execute(sql).fetchone()
            return row[0] if row else None

        audit = (
            connection.execute(
                "select count(*), sum(rows_read), sum(rows_loaded), sum(rows_quarantined), sum(rows_duplicate), "
                "count(*) filter (where status = 'refused') from quality.load_audit"
            ).fetchone()
            or (0,) * 6
        )
        champions = connection.execute(
            """
            select champion.target_domain, champion.segment, champion.users, champion.model, champion.value,
                champion.ci_low, champion.ci_high, popularity.value
            from recommendations.evaluation as champion
            inner join recommendations.evaluation as popularity
                on champion.target_domain = popularity.target_domain and champion.segment = popularity.segment
                and champion.metric = popularity.metric and champion.cutoff = popularity.cutoff
                and champion.split = popularity.split and popularity.model = 'popularity'
            where
                champion.is_champion and champion.metric = 'ndcg' and champion.cutoff = 10
                and champion.split <> 'global_time' and champion.users >= 20
                -- Lists of items for an item are not made to beat popular ones.
                and champion.segment not in ('item_to_item', 'item_to_item_across')
            order by all
            """
        ).fetchall()
        return {
            "linked": one("select count(*) from core.dim_user where is_linked"),
            "example_user": one("select min(user_key) from core.dim_user where is_linked")
            or one("select min(user_key) from core.dim_user"),
            "load": dict(
                zip(
                    ("files", "read", "loaded", "quarantined", "duplicate", "refused"),
                    (int(value or 0) for value in audit),
                    strict=True,
                )
            ),
            "champions": [
                dict(
                    zip(
                        ("target_domain", "segment", "users", "model", "value", "ci_low", "ci_high", "popularity"),
                        row,
                        strict=True,
                    )
                )
                for row in champions
            ],
            "refused_campaigns": _refused_campaigns(connection),
            "handed_over": _handed_over(connection),
        }


def _refused_campaigns(connection: duckdb.DuckDBPyConnection) -> list[dict[str, str]]:
    """Campaigns that the plan refuses, each with what is wrong; none of a publication that is older than plans."""
    if not has_relation(connection, "marketing.campaign_plan"):
        return []
    found = connection.execute(
        "select campaign_key, problem from marketing.campaign_plan where state = 'refused' order by campaign_key"
    ).fetchall()
    return [{"campaign_key": key, "problem": problem} for key, problem in found]


def _handed_over(connection: duckdb.DuckDBPyConnection) -> dict[str, Any] | None:
    """The day that the plan hands over, with its contacts and campaigns; None if it hands nothing over."""
    if not has_relation(connection, "marketing.campaign_plan"):
        return None
    row = connection.execute(
        """
        select plans.handed_until, count(contacts.contact_key), count(distinct contacts.campaign_key)
        from marketing.plan as plans
        left join marketing.contact as contacts
            on contacts.contact_date = plans.handed_until and contacts.arm = 'treatment' and contacts.status = 'handed_over'
        where plans.handed_until is not null
        group by all
        order by plans.handed_until desc
        limit 1
        """
    ).fetchone()
    return None if row is None else {"day": str(row[0]), "contacts": row[1], "campaigns": row[2]}


def show_rows(console: Console, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, more: int = 0) -> None:
    """Prints an answer as a table.

    Args:
        console: Where to.
        columns: Names.
        rows: Values.
        more: How many rows of the answer are not shown.
    """
    table = Table(show_edge=False, header_style="bold", pad_edge=False)
    is_number = [all(isinstance(row[i], int | float) or row[i] is None for row in rows) for i in range(len(columns))]
    for name, numeric in zip(columns, is_number, strict=True):
        table.add_column(escape(name), justify="right" if numeric and rows else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(value) for value in row))
    console.print(table, highlight=False)
    total = len(rows) + more
    console.print(
        f"[dim]{total:,} rows{f', {more:,} of them not shown (--csv shows all)' if more else ''}[/]", highlight=False
    )


def _text(value: Any) -> str:
    if value is None:
        return "[dim]null[/]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return escape(str(value))

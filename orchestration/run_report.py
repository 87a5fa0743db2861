"""The report of a run: one page in a file, for whoever was not at the terminal.

Holds how the page is laid out; its figures are those of `orchestration.console.run_summary`, its pictures are drawn in
`orchestration.recommendations.charts` and, of campaigns, by the steps that measure them, which keep them beside their assets. The
page needs no other file and no network.
"""

import base64
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import duckdb
from dagster import AssetKey, DagsterError, DagsterInstance
from sqlalchemy.exc import SQLAlchemyError

from orchestration.recommendations.charts import evaluation_png
from orchestration.sql import has_relation

_SHOWN_PROPOSALS = 10
_STYLE = (
    "body{font:15px/1.5 sans-serif;color:#1f2933;max-width:84rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:left;border-bottom:1px solid #d8dee4}"
    "td.number{text-align:right}img{max-width:100%}pre{overflow-x:auto}"
)


# Pictures of campaigns: table of the station of marketing, name of its metadata, and what they show.
_CAMPAIGN_PICTURES = (
    ("measured_result", "lift", "What each campaign caused"),
    ("measured_day", "budget", "Budget spent to date"),
    ("measured_result", "reach", "How far campaigns reach"),
    ("measured_reliability", "reliability", "Whether predictions come true"),
    ("measured_policy", "qini", "Whom contact moves"),
)
_EMBEDDED = re.compile(r"!\[[^\]]*\]\((data:image/png;base64,[A-Za-z0-9+/=]+)\)")


def write_report(file: Path, summary: Mapping[str, Any], instance: DagsterInstance) -> Path:
    """Writes the page of a run, with the evaluation of the models that readers see and campaigns as they were last measured.

    Args:
        file: Where to; the folder exists.
        summary: From `run_summary`.
        instance: What knows the newest pictures of campaigns; if it cannot be read just now, the page says so instead.

    Returns:
        The file.
    """
    made = summary["publication"]
    picture = None if made is None else _published_picture(Path(made["file"]))
    proposals = [] if made is None else _published_proposals(Path(made["file"]))
    campaigns: dict[str, str] | str
    try:
        campaigns = campaign_pictures(instance)
    except (DagsterError, SQLAlchemyError, sqlite3.Error) as error:
        # Another process may hold Dagster's storage; the run and the rest of the page do not hang on it.
        campaigns = f"The pictures could not be read: {error}"
        print(campaigns)
    file.write_text(render_report(summary, picture, proposals, campaigns), encoding="utf-8")
    return file


def campaign_pictures(instance: DagsterInstance) -> dict[str, str]:
    """The newest pictures of campaigns, as data URLs by what they show; what could not be drawn yet is left out."""
    found = {}
    for table, name, shows in _CAMPAIGN_PICTURES:
        event = instance.get_latest_materialization_event(AssetKey(["marketing", table]))
        made = None if event is None else event.asset_materialization
        text = None if made is None or name not in made.metadata else made.metadata[name].value
        if picture := _EMBEDDED.fullmatch(str(text)):
            found[shows] = picture[1]
    return found


def render_report(
    summary: Mapping[str, Any],
    picture: bytes | None,
    proposals: Sequence[Mapping[str, Any]] = (),
    campaigns: Mapping[str, str] | str | None = None,
) -> str:
    """The page as HTML.

    Args:
        summary: From `run_summary`.
        picture: The evaluation as PNG; None if nobody could be evaluated.
        proposals: Rows of `marketing.campaign_proposal` to show, best first.
        campaigns: From `campaign_pictures`, or why there are none.
    """
    made = summary["publication"]
    parts = [
        f"<h1>{_headline(summary)}</h1>",
        *(f"<p><strong>{escape(error)}</strong></p>" for error in summary["errors"]),
    ]
    checks = summary["checks"]
    failed = [
        (word, check["name"], check["asset"], check["description"])
        for word, found in (("failed", checks["blocking_failed"]), ("warns", checks["warned"]))
        for check in found
    ]
    parts.append(f"<h2>Checks</h2><p>{checks['evaluated']:,} evaluated, {len(failed)} did not pass.</p>")
    if failed:
        parts.append(_table(("", "check", "on", "what was found"), failed))
    if made is None:
        parts.append("<p>No publication yet.</p>")
    else:
        parts.append(
            f"<h2>What readers see</h2><p>Publication {escape(made['id'])}, as of {escape(made['as_of'])}.</p>"
        )
        parts.append("<h3>Champions</h3>")
        parts.append(
            _table(
                ("target", "segment", "people", "model", "NDCG@10", "95 % interval", "popularity"),
                [
                    (
                        champion["target_domain"],
                        champion["segment"],
                        champion["users"],
                        champion["model"],
                        f"{champion['value']:.4f}",
                        f"{champion['ci_low']:.4f} to {champion['ci_high']:.4f}",
                        f"{champion['popularity']:.4f}",
                    )
                    for champion in made["champions"]
                ],
            )
        )
        parts.append(
            "<p>Nobody could be evaluated: too few interactions.</p>"
            if picture is None
            else '<p><img alt="Evaluation of all models by target and segment" '
            f'src="data:image/png;base64,{base64.b64encode(picture).decode()}"></p>'
        )
        if refused := made["refused_campaigns"]:
            rows = [(campaign["campaign_key"], campaign["problem"]) for campaign in refused]
            parts.append("<h3>Refused campaigns</h3>" + _table(("campaign", "what is wrong, and what to do"), rows))
        if proposals:
            parts.append(_proposals(proposals))
        parts.append("<h3>Rows</h3>" + _table(("table", "rows"), sorted(made["rows"].items())))
    if campaigns:
        parts.append("<h2>Campaigns, as last measured</h2>")
        parts.extend(
            [f"<p>{escape(campaigns)}</p>"]
            if isinstance(campaigns, str)
            else (f'<p><img alt="{escape(shows)}" src="{url}"></p>' for shows, url in campaigns.items())
        )
    parts.append(f"<h2>Time</h2><p>{summary['seconds']:,.1f} s in all.</p>")
    parts.append(_table(("step", "seconds"), summary["step_seconds"].items()))
    parts.append(f"<p>Everything the steps printed: {escape(Path(summary['log']).name)}, beside this file.</p>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Zhiying: a run</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _headline(summary: Mapping[str, Any]) -> str:
    if summary["interrupted"]:
        return "Interrupted: readers keep the publication that they had"
    if not summary["succeeded"]:
        return "Not published: readers keep the publication that they had"
    if summary["publication"] is None:
        return "Done; nothing is published yet"
    return "Published" if summary["is_new"] else "Done: readers see the same publication as before"


def _published_picture(publication: Path) -> bytes | None:
    with duckdb.connect(str(publication), read_only=True) as connection:
        return evaluation_png(connection.execute("from recommendations.evaluation").to_arrow_table())


def _published_proposals(publication: Path) -> list[dict[str, Any]]:
    with duckdb.connect(str(publication), read_only=True) as connection:
        if not has_relation(connection, "marketing.campaign_proposal"):
            return []
        found = connection.execute("from marketing.campaign_proposal order by rank limit ?", [_SHOWN_PROPOSALS])
        rows: list[dict[str, Any]] = found.to_arrow_table().to_pylist()
        return rows


def _proposals(proposals: Sequence[Mapping[str, Any]]) -> str:
    """What could be done next, each as the row that does it."""
    columns = (
        "",
        "proposal",
        "",
        "kind",
        "channel",
        "items",
        "reach",
        "budget",
        "",
        "expected revenue",
        "95 % of what may come",
    )
    table = _table(
        columns,
        [
            (
                proposal["rank"],
                proposal["proposal_id"],
                proposal["name"],
                proposal["kind"],
                proposal["channel"],
                _sides(proposal),
                proposal["reach"],
                proposal["budget"],
                proposal["currency"],
                f"{proposal['expected_revenue']:,.0f}",
                f"{proposal['expected_revenue_low']:,.0f} to {proposal['expected_revenue_high']:,.0f}",
            )
            for proposal in proposals
        ],
    )
    rows = "\n".join(escape(proposal["landing_row"]) for proposal in proposals)
    return (
        f"<h3>Proposed campaigns</h3>{table}<p><code>zhiying campaign show</code> says what each number rests on, "
        "<code>zhiying campaign approve</code> makes one a campaign. By hand: a line of the following in a file "
        "<code>marketing/campaigns/NAME.ndjson</code> of the landing zone does the same.</p>"
        f"<details><summary>Rows to copy</summary><pre>{rows}</pre></details>"
    )


def _sides(proposal: Mapping[str, Any]) -> str:
    """How many items of which platform: those that people are offered, and those beside them."""
    offered = f"{len(proposal['item_keys'])} {proposal['target_platform']}"
    beside = proposal.get("source_item_keys")  # not in a publication of an earlier version
    return offered + (f", {len(beside)} {proposal['source_platform']}" if beside else "")


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    return f"<table><tr>{head}</tr>{''.join(_row(row) for row in rows)}</table>"


def _row(values: Sequence[Any]) -> str:
    cells = (
        f'<td class="number">{value:,}</td>' if isinstance(value, int | float) else f"<td>{escape(str(value))}</td>"
        for value in values
    )
    return f"<tr>{''.join(cells)}</tr>"

"""Lists for those who deliver: what the plan decided for the next days, by day, campaign and channel.

    exports/<contact date>/manifest.json
    exports/<contact date>/<campaign id>--<channel>/{list.parquet, list.csv, shelf.csv, manifest.json}

The decision is committed to the ledger first and written out second: a kill between the two is mended by the next run, and a day
never has two lists. A day's folder appears by one rename and is not touched again; nothing is ever deleted here, because a list
says what a channel was told. A list has the columns of the landing table `marketing/exposures`, so that the channel answers by
returning the rows that it delivered with `shown_at`. Held-out people are in no list. `shelf.csv`, the same for everyone, is there
where a campaign shows items of both platforms.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from orchestration.marketing.answers import ANSWERS, PERMISSION
from orchestration.marketing.campaign_briefs import CHALLENGE_DAYS, CHALLENGE_EVENTS
from orchestration.marketing.contact_schema import CONTACT_SCHEMA, TREATMENT
from orchestration.marketing.ledger import DecisionLedger
from orchestration.resources.artifacts import Artifact, ArtifactStore
from orchestration.resources.durable import sync
from orchestration.resources.warehouse import registered
from orchestration.settings import Settings

# A day is over everywhere once it is over where it ends last (UTC-12).
_LAST_MIDNIGHT = timedelta(days=1, hours=12)
_LONGEST_NAME = 120
_NO_CHANNEL = "any"
_ISO = "%Y-%m-%dT%H:%M:%SZ"
_MANIFEST = "manifest.json"

#: Why somebody who was chosen is not in a list after all; `answered` is a dismissal or a conversion of the same campaign.
LEFT_OUT = ("no_account", "not_contactable", "answered", "day_over")


@dataclass(frozen=True)
class HandOver:
    """What came of handing a plan over.

    Args:
        plan_id: The plan of this run.
        committed: Days that this run added to the ledger.
        files: Lists written by this run, relative to the folder of exports, without their extension.
        rows: Contacts in them.
        people: People in them.
        left_out: Chosen people who are in no list, by reason in `LEFT_OUT`.
        missed: Days in the ledger that have no list and are over; nothing is written for them any more.
    """

    plan_id: str
    committed: tuple[date, ...] = ()
    files: tuple[str, ...] = ()
    rows: int = 0
    people: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    missed: tuple[date, ...] = ()

    def metadata(self) -> dict[str, Any]:
        """The same by what a person would ask first."""
        return {
            "dagster/row_count": self.rows,
            "people": self.people,
            "days": ", ".join(map(str, self.committed)) or "none: nothing new to hand over",
            "lists": "\n".join(self.files) or "none",
            "left out": ", ".join(f"{reason} {count:,}" for reason, count in self.left_out.items() if count)
            or "nobody",
            "days without a list": ", ".join(map(str, self.missed)) or "none",
            "plan": self.plan_id,
        }


def hand_over(connection: duckdb.DuckDBPyConnection, artifacts: ArtifactStore, settings: Settings) -> HandOver:
    """Commits the plan of the build file and writes the lists that are missing.

    Args:
        connection: Reader of the build file; what it says of accounts and permission now is what counts.
        artifacts: Store that holds the plan.
        settings: Where the ledger and the lists are.

    Returns:
        What was handed over; a second call has nothing to do.

    Raises:
        LookupError: If nothing is planned.
    """
    rows = connection.execute("select plan_id from marketing.decided_plan").fetchall()
    if len(rows) != 1:
        raise LookupError(f"marketing.decided_plan holds {len(rows)} plans instead of one; plan first")
    plan_id = str(rows[0][0])
    ledger = DecisionLedger(settings.decisions_dir)
    committed = commit_plan(ledger, artifacts.get(plan_id))
    ((as_of,),) = connection.execute("select as_of from raw.run").fetchall()
    lists = _ListWriter(connection, settings.exports_dir, as_of)
    for document in ledger.documents().values():
        for day in map(date.fromisoformat, document["handed_dates"]):
            lists.write_day(document, day, ledger)
    return HandOver(
        plan_id=plan_id,
        committed=committed,
        files=tuple(lists.files),
        rows=lists.rows,
        people=len(lists.people),
        left_out=lists.left_out,
        missed=tuple(lists.missed),
    )


def commit_plan(ledger: DecisionLedger, plan: Artifact) -> tuple[date, ...]:
    """Adds the days that a plan hands over to the ledger, those left out that another plan has handed over already.

    Args:
        ledger: The ledger.
        plan: Artifact with the tables `plan` (one row) and `contact`, and the days to hand over as `handed_dates`.

    Returns:
        The days added, ascending; none if the plan hands nothing over or is in the ledger.
    """
    if plan.address in ledger.plan_ids():
        return ()
    days = sorted(set(map(date.fromisoformat, plan.document["handed_dates"])) - ledger.committed_dates())
    if not days:
        return ()
    (row,) = plan.table("plan").to_pylist()
    contacts = plan.table("contact").select(CONTACT_SCHEMA.names).cast(CONTACT_SCHEMA)
    of_days = pc.is_in(contacts["contact_date"], pa.array(days, pa.date32()))
    document = {**row, "handed_dates": days, "made_from": plan.document.get("made_from", plan.address)}
    ledger.commit(plan.address, document, contacts.filter(of_days))
    return tuple(days)


def is_handed_over(connection: duckdb.DuckDBPyConnection, settings: Settings) -> bool:
    """Whether nothing is left to hand over: a run may have been killed after it published.

    Args:
        connection: Reader of the build file.
        settings: Where the ledger and the lists are.
    """
    ledger = DecisionLedger(settings.decisions_dir)
    rows = connection.execute("select plan_id, first_date, handed_until from marketing.decided_plan").to_arrow_table()
    if any(_open_days(ledger, row) for row in rows.to_pylist()):
        return False
    ((as_of,),) = connection.execute("select as_of from raw.run").fetchall()
    return all((settings.exports_dir / str(day)).exists() or _is_over(day, as_of) for day in ledger.committed_dates())


def _open_days(ledger: DecisionLedger, plan: Mapping[str, Any]) -> list[date]:
    """Days that a plan (a row of `marketing.decided_plan`) hands over and that no plan has handed over yet, ascending."""
    if plan["handed_until"] is None or plan["plan_id"] in ledger.plan_ids():
        return []
    span = range((plan["handed_until"] - plan["first_date"]).days + 1)
    return sorted({plan["first_date"] + timedelta(days=offset) for offset in span} - ledger.committed_dates())


def _is_over(day: date, as_of: datetime) -> bool:
    return as_of >= datetime.combine(day, datetime.min.time()) + _LAST_MIDNIGHT


class _ListWriter:
    """Writes days of lists and counts what it wrote.

    Args:
        connection: Reader of the build file.
        root: Folder of exports.
        as_of: Now, as the warehouse knows it.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, root: Path, as_of: datetime) -> None:
        self._connection = connection
        self._root = root
        self._as_of = as_of
        self.files: list[str] = []
        self.rows = 0
        self.people: set[str] = set()
        self.left_out = dict.fromkeys(LEFT_OUT, 0)
        self.missed: list[date] = []

    def write_day(self, document: Mapping[str, Any], day: date, ledger: DecisionLedger) -> None:
        """Makes a day's folder if it is not there."""
        if (self._root / str(day)).exists():
            return
        if _is_over(day, self._as_of):
            self.missed.append(day)
            return
        contacts = ledger.contacts(document["plan_id"])
        of_day = pc.and_(pc.equal(contacts["contact_date"], day), pc.equal(contacts["arm"], TREATMENT))
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root.chmod(0o700)
        for left_over in self._root.glob(".making-*"):
            shutil.rmtree(left_over)
        scratch = self._root / f".making-{day}"
        scratch.mkdir(mode=0o700)
        manifests = [
            self._write_list(scratch, document, manifest, rows)
            for manifest, rows in self._lists(contacts.filter(of_day))
        ]
        index = {
            "plan_id": document["plan_id"],
            "contact_date": str(day),
            "decided_at": document["as_of"],
            "lists": {name: {"rows": manifest["rows"], "people": manifest["people"]} for name, manifest in manifests},
            "rows": sum(manifest["rows"] for _, manifest in manifests),
            "left_out": {reason: sum(manifest["left_out"][reason] for _, manifest in manifests) for reason in LEFT_OUT},
        }
        _write_private(scratch / _MANIFEST, _as_json(index))
        sync(scratch)
        os.replace(scratch, self._root / str(day))
        sync(self._root)
        for name, manifest in manifests:
            if manifest["rows"]:
                self.files.append(f"{day}/{name}/list")
        self.rows += index["rows"]
        for reason, count in index["left_out"].items():
            self.left_out[reason] += count

    def _lists(self, contacts: pa.Table) -> Iterator[tuple[dict[str, Any], pa.Table]]:
        """Each campaign and channel with the head of its manifest and its rows: account or NULL, and why not."""
        with registered(self._connection, chosen=contacts):
            found = self._connection.execute(_RECIPIENTS, {"as_of": self._as_of}).to_arrow_table()
        names = {key: (name, kind) for key, name, kind in self._connection.execute(_NAMES).fetchall()}
        groups = found.group_by(["campaign_id", "channel"]).aggregate([("cost", "sum")])
        for group in sorted(groups.to_pylist(), key=lambda row: (row["campaign_id"], row["channel"] or "")):
            of_campaign = pc.equal(found["campaign_id"], group["campaign_id"])
            channel = found["channel"]
            of_channel = (
                pc.is_null(channel)
                if group["channel"] is None
                else pc.equal(channel, group["channel"]).fill_null(False)
            )
            rows = found.filter(pc.and_(of_campaign, of_channel))
            name, kind = names.get(group["campaign_id"], (None, None))
            yield {"campaign_id": group["campaign_id"], "channel": group["channel"], "name": name, "kind": kind}, rows

    def _write_list(
        self, folder: Path, document: Mapping[str, Any], head: Mapping[str, Any], chosen: pa.Table
    ) -> tuple[str, dict[str, Any]]:
        name = _folder_name(head["campaign_id"], head["channel"])
        rows = chosen.filter(pc.is_null(chosen["left_out"]))
        content = rows.select(_LIST_COLUMNS)
        target = folder / name
        target.mkdir(mode=0o700)
        bytes_of = {"list.parquet": _as_parquet(content), "list.csv": _as_csv(content)}
        shelf = self._connection.execute(_SHELF, {"campaign_key": head["campaign_id"]}).to_arrow_table()
        if shelf.num_rows:
            bytes_of["shelf.csv"] = _as_csv(shelf)
        for file, written in bytes_of.items():
            _write_private(target / file, written)
        reasons = chosen["left_out"].to_pylist()
        manifest = {
            **head,
            "plan_id": document["plan_id"],
            "contact_date": folder.name.removeprefix(".making-"),
            "decided_at": document["as_of"],
            "rows": rows.num_rows,
            "people": pc.count_distinct(rows["user_key"]).as_py(),
            "left_out": {reason: reasons.count(reason) for reason in LEFT_OUT},
            "expected_cost": round(float(pc.sum(rows["cost"]).as_py() or 0.0), 4),
            "currency": document["currency"],
            **({"challenge": _CHALLENGE} if shelf.num_rows and head["kind"] == "interactive" else {}),
            "columns": {column.name: str(column.type) for column in content.schema},
            "sha256": {file: hashlib.sha256(written).hexdigest() for file, written in bytes_of.items()},
        }
        _write_private(target / _MANIFEST, _as_json(manifest))
        sync(target)
        self.people.update(rows["user_key"].to_pylist())
        return name, manifest


_LIST_COLUMNS = [
    "exposure_id",
    "campaign_id",
    "platform",
    "user_id",
    "item_id",
    "arm",
    "propensity",
    "channel",
    "not_before",
    "not_after",
    "title",
]

_NAMES = "select campaign_key, name, kind from core.dim_campaign"

# Items of the catalogue, of a campaign that has some of both platforms: as a shelf in turns, as a challenge step by step.
_SHELF = """
with sides as (
    select kind, source_platform as platform, source_item_ids as item_ids, 1 as step
    from core.dim_campaign
    where campaign_key = $campaign_key and len(source_item_ids) > 0
    union all
    select kind, target_platform, item_ids, 2
    from core.dim_campaign
    where campaign_key = $campaign_key and len(source_item_ids) > 0
),

named as (
    select kind, platform, step, unnest(item_ids) as item_id, generate_subscripts(item_ids, 1) as place from sides
)

select
    row_number() over (
        order by if(named.kind = 'interactive', named.step, named.place), named.place, named.step
    ) as rank,
    if(named.kind = 'interactive', named.step, null) as step,
    named.platform,
    named.item_id,
    items.title
from named
inner join core.dim_item as items
    on named.platform = items.domain and named.item_id = items.item_id and not items.is_inferred
qualify min(named.step) over () < max(named.step) over ()
order by rank
"""

# What a channel may say of a challenge, and how it is measured.
_CHALLENGE = {
    "rule": "one item of step 1, then one of step 2",
    "events": list(CHALLENGE_EVENTS),
    "within_days": CHALLENGE_DAYS,
}

# One account a person: of those on the platform that may be contacted, the first by its id.
_RECIPIENTS = f"""
with accounts as (
    select
        permission.user_key,
        permission.platform,
        min(account.user_id) filter (where permission.is_contactable) as user_id
    from ({PERMISSION}) as permission
    inner join raw.account as account on permission.account_key = account.account_key
    where permission.user_key in (select chosen.user_key from chosen)
    group by all
),

answered as (
    select distinct answers.campaign_key, answers.user_key
    from ({ANSWERS}) as answers
    where answers.response_type in ('conversion', 'dismiss')
)

select
    chosen.contact_key as exposure_id,
    chosen.campaign_key as campaign_id,
    chosen.platform,
    accounts.user_id,
    items.item_id,
    chosen.arm,
    -- Of the arm and of the item, as the landing contract has it: training weighs an answer by how likely it was to be asked for.
    chosen.propensity * coalesce(chosen.draw_propensity, 1) as propensity,
    chosen.channel,
    chosen.not_before,
    chosen.not_after,
    items.title,
    chosen.user_key,
    chosen.cost,
    case
        when chosen.not_after <= $as_of then 'day_over'
        when accounts.user_key is null then 'no_account'
        when accounts.user_id is null then 'not_contactable'
        when answered.user_key is not null then 'answered'
    end as left_out
from chosen
left join accounts on chosen.user_key = accounts.user_key and chosen.platform = accounts.platform
left join answered on chosen.user_key = answered.user_key and chosen.campaign_key = answered.campaign_key
left join core.dim_item as items on chosen.item_key = items.item_key
order by chosen.campaign_key, chosen.channel, accounts.user_id, chosen.contact_key
"""


def _folder_name(campaign_id: str, channel: str | None) -> str:
    """A name that any file system takes, from ids that a platform may have made of anything."""
    name = f"{quote(campaign_id, safe='')}--{quote(channel or _NO_CHANNEL, safe='')}"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _as_parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    return bytes(sink.getvalue())


def _as_csv(rows: pa.Table) -> bytes:
    for name in {"not_before", "not_after"} & set(rows.column_names):
        text = pc.strftime(rows[name].cast(pa.timestamp("s")), format=_ISO)
        rows = rows.set_column(rows.column_names.index(name), name, text)
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(rows, sink)
    return bytes(sink.getvalue())


def _as_json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode()


def _write_private(path: Path, content: bytes) -> None:
    """A file that nobody else may read, on disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

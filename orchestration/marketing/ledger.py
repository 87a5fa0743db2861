"""What was decided and handed over, for ever: one folder a plan, beside the warehouse and independent of it.

    decisions/<plan id>/{plan.json, contact.parquet}

A day that stands in a folder here is committed: whatever is planned later, it is not planned again, even where the build file was
thrown away and made anew. Both arms are kept, because a held-out person is only known from here. What a plan decides is the
business of `planning`, who gets which file that of `hand_over`.
"""

import json
import os
import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.marketing.contact_schema import CONTACT_SCHEMA, HANDED_OVER, PLAN_SCHEMA
from orchestration.resources.durable import sync
from orchestration.resources.warehouse import registered

_DOCUMENT, _CONTACTS = "plan.json", "contact.parquet"


class DateCommittedError(ValueError):
    """Another plan has handed over one of the days already; the message names both."""

    exit_status = 1


class Commitment(NamedTuple):
    """Who has handed over a day.

    Attributes:
        plan_id: The plan.
        made_from: Identity of the data and settings that it was made from.
    """

    plan_id: str
    made_from: str


class DecisionLedger:
    """Keeps what was handed over.

    Args:
        root: The `decisions` folder of a home.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def plan_ids(self) -> list[str]:
        """Every plan in the ledger, in order of its point in time."""
        return list(self.documents())

    def documents(self) -> dict[str, dict[str, Any]]:
        """What describes each plan, in order of its point in time.

        A document holds the columns of `PLAN_SCHEMA`, times and dates as ISO 8601 text, `handed_dates`: the days committed, and
        `made_from`: the identity of the data and settings.
        """
        found = [json.loads(path.read_text()) for path in self.root.glob(f"[!.]*/{_DOCUMENT}")]
        return {document["plan_id"]: document for document in sorted(found, key=_in_time)}

    def contacts(self, plan_id: str) -> pa.Table:
        """The contacts of both arms that a plan handed over, in `CONTACT_SCHEMA`.

        Raises:
            LookupError: If the plan is not in the ledger.
        """
        path = self.root / plan_id / _CONTACTS
        if not path.exists():
            raise LookupError(f"No plan {plan_id!r} in {self.root}")
        return pq.read_table(path)

    def committed_dates(self) -> set[date]:
        """Days that were handed over, with or without a contact."""
        return set(self.commitments())

    def commitments(self) -> dict[date, Commitment]:
        """The plan of every day that was handed over."""
        return {
            date.fromisoformat(day): Commitment(plan_id, document.get("made_from", plan_id))
            for plan_id, document in self.documents().items()
            for day in document["handed_dates"]
        }

    def commit(self, plan_id: str, document: Mapping[str, Any], contacts: pa.Table) -> bool:
        """Adds what a plan hands over; it appears whole or not at all, and survives a power failure once this returns.

        Args:
            plan_id: The plan.
            document: As `documents` gives it; what JSON does not know is written as text.
            contacts: Contacts of both arms on the days of `handed_dates`, in `CONTACT_SCHEMA`.

        Returns:
            Whether it was added; False if the plan is in the ledger already, which stays as it is.

        Raises:
            DateCommittedError: If another plan has committed one of the days.
            ValueError: If a contact is of another plan, of a day that is not handed over, or not in the schema.
        """
        earlier = self.documents()
        if plan_id in earlier:
            return False
        days = {date.fromisoformat(str(day)) for day in document["handed_dates"]}
        for other, known in earlier.items():
            twice = sorted(days & {date.fromisoformat(day) for day in known["handed_dates"]})
            if twice:
                raise DateCommittedError(
                    f"{twice[0]} of plan {plan_id} was handed over by plan {other}; it stays decided"
                )
        _check(plan_id, days, contacts)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)
        for left_over in self.root.glob(".making-*"):
            shutil.rmtree(left_over)
        scratch = self.root / f".making-{plan_id}"
        scratch.mkdir(mode=0o700)
        text = {**document, "plan_id": plan_id, "handed_dates": sorted(str(day) for day in days)}
        (scratch / _DOCUMENT).write_text(json.dumps(text, indent=2, sort_keys=True, default=_as_text))
        pq.write_table(contacts.sort_by("contact_key"), scratch / _CONTACTS)
        for path in (scratch / _DOCUMENT, scratch / _CONTACTS):
            path.chmod(0o600)
            sync(path)
        sync(scratch)
        os.replace(scratch, self.root / plan_id)
        sync(self.root)
        return True

    def load(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Makes `marketing.ledger_contact` and `marketing.past_plan` equal to the ledger, and the view `marketing.past_contact`.

        Only plans that the build file does not know yet are read, so the cost grows with what is new; rows of plans that the
        ledger does not hold go. The view has the contacts under the keys that their people have now.

        Args:
            connection: Writer of the build file.

        Returns:
            Number of rows of `marketing.past_contact`.
        """
        documents = self.documents()
        connection.execute("create schema if not exists marketing")
        connection.execute("begin")
        try:
            # Which plans are loaded is told by `past_plan`: a plan may have no contact.
            kept = [_is_kept(connection, name, schema) for name, schema in _TABLES.items()]
            if not all(kept):
                for name, schema in _TABLES.items():
                    _insert(
                        connection,
                        f"create or replace table marketing.{name} as from ledger_rows",
                        schema.empty_table(),
                    )
            loaded = {
                plan_id for (plan_id,) in connection.execute("select plan_id from marketing.past_plan").fetchall()
            }
            for gone in sorted(loaded - documents.keys()):
                for name in _TABLES:
                    connection.execute(f"delete from marketing.{name} where plan_id = ?", [gone])
            new = [plan_id for plan_id in documents if plan_id not in loaded]
            for plan_id in new:
                # By name, so that a plan that was handed over before a column was added reads as NULL there.
                connection.execute(
                    "insert into marketing.ledger_contact by name from read_parquet(?)",
                    [str(self.root / plan_id / _CONTACTS)],
                )
            rows = pa.Table.from_pylist([_plan_row(documents[plan_id]) for plan_id in new], PLAN_SCHEMA)
            _insert(connection, "insert into marketing.past_plan by name from ledger_rows", rows)
            if _is_table(connection, "past_contact"):
                # As it was in a build file of before it was a view.
                connection.execute("drop table marketing.past_contact")
            connection.execute(_PAST_CONTACT)
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit")
        ((count,),) = connection.execute("select count(*) from marketing.past_contact").fetchall()
        return int(count)


_TABLES = {"ledger_contact": CONTACT_SCHEMA, "past_plan": PLAN_SCHEMA}

# A person's key is that of their smallest account, so it still finds them after their accounts were joined with others, or parted.
_PAST_CONTACT = """
create or replace view marketing.past_contact as
select contacts.* replace (coalesce(accounts.user_key, contacts.user_key) as user_key)
from marketing.ledger_contact as contacts
left join intermediate.int_account__contactable as accounts on contacts.user_key = accounts.account_key
"""


def _in_time(document: Mapping[str, Any]) -> tuple[str, list[str], str]:
    return document["as_of"], document["handed_dates"], document["plan_id"]


def _as_text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _check(plan_id: str, days: set[date], contacts: pa.Table) -> None:
    if not contacts.schema.equals(CONTACT_SCHEMA):
        raise ValueError(f"contacts of {plan_id} are not in CONTACT_SCHEMA: {contacts.schema}")
    plans = set(contacts["plan_id"].unique().to_pylist()) - {plan_id}
    others = set(contacts["contact_date"].unique().to_pylist()) - days
    states = set(contacts["status"].unique().to_pylist()) - {HANDED_OVER}
    if plans or others or states:
        raise ValueError(
            f"plan {plan_id} hands over {sorted(map(str, days))}; its contacts are also of plans {sorted(plans)}, days "
            f"{sorted(map(str, others))} and status {sorted(states)}"
        )


def _plan_row(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as a row of `PLAN_SCHEMA`; what an older document does not tell is NULL."""
    strings = pa.table({field.name: [document.get(field.name)] for field in PLAN_SCHEMA if _is_time(field)})
    times = {name: strings[name].cast(PLAN_SCHEMA.field(name).type)[0].as_py() for name in strings.column_names}
    return {field.name: document.get(field.name) for field in PLAN_SCHEMA} | times


def _is_time(field: pa.Field) -> bool:
    return bool(pa.types.is_temporal(field.type))


def _is_kept(connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema) -> bool:
    """Whether a table exists with the columns of today."""
    columns = connection.execute(
        "select column_name from duckdb_columns() where schema_name = 'marketing' and table_name = ? order by column_index",
        [name],
    ).fetchall()
    return bool([column for (column,) in columns] == schema.names)


def _insert(connection: duckdb.DuckDBPyConnection, statement: str, rows: pa.Table) -> None:
    with registered(connection, ledger_rows=rows):
        connection.execute(statement)


def _is_table(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    ((found,),) = connection.execute(
        "select count(*) from duckdb_tables() where schema_name = 'marketing' and table_name = ?", [name]
    ).fetchall()
    return bool(found)

"""A plan of two campaigns and a build file that knows its people, for tests of what is kept and handed over."""

import hashlib
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from orchestration.marketing.contact_schema import CONTACT_SCHEMA, PLAN_SCHEMA
from orchestration.resources.artifacts import Artifact, ArtifactStore

AS_OF = datetime(2026, 3, 1, 23, 50)
FIRST_DAY = date(2026, 3, 2)


def contact(plan_id: str, user_key: str, day: date = FIRST_DAY, **other: Any) -> dict[str, Any]:
    """A treatment contact by e-mail that was handed over, a local day in UTC."""
    campaign_key = other.get("campaign_key", "spring")
    identity = f"{campaign_key}|{user_key}|{day}|{other.get('channel', 'email')}"
    row = dict.fromkeys(CONTACT_SCHEMA.names) | {
        "contact_key": hashlib.md5(identity.encode()).hexdigest(),
        "plan_id": plan_id,
        "campaign_key": campaign_key,
        "user_key": user_key,
        "platform": "film",
        "channel": "email",
        "contact_date": day,
        "not_before": datetime.combine(day, datetime.min.time()),
        "not_after": datetime.combine(day + timedelta(days=1), datetime.min.time()),
        "arm": "treatment",
        "status": "handed_over",
        "propensity": 0.855,
        "cost": 0.05,
        "currency": "USD",
        "is_explored": False,
        "segment_keys": ["lifecycle:film:active"],
        "decided_at": AS_OF,
    }
    return row | other


def contacts(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), CONTACT_SCHEMA)


def plan_row(
    plan_id: str, *, as_of: datetime = AS_OF, first: date = FIRST_DAY, until: date | None = FIRST_DAY
) -> dict[str, Any]:
    return dict.fromkeys(PLAN_SCHEMA.names) | {
        "plan_id": plan_id,
        "as_of": as_of,
        "first_date": first,
        "last_date": first + timedelta(days=6),
        "handed_until": until,
        "currency": "USD",
        "cost": 0.1,
    }


def stored_plan(store: ArtifactStore, plan_id: str, rows: Sequence[dict[str, Any]], **of_plan: Any) -> Artifact:
    """A plan that hands over the days up to `until`."""
    row = plan_row(plan_id, **of_plan)
    span = range((row["handed_until"] - row["first_date"]).days + 1) if row["handed_until"] else ()
    days = [row["first_date"] + timedelta(days=offset) for offset in span]
    plan = pa.Table.from_pylist([row], PLAN_SCHEMA)
    return store.put(plan_id, document={"handed_dates": days}, tables={"plan": plan, "contact": contacts(*rows)})


class BuildFile:
    """The tables of a build file that a hand-over reads: ann, bob, cat and dan on the film platform, ann on both.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.connection = duckdb.connect(str(path))
        self.connection.execute(
            """
            create schema raw;
            create schema core;
            create schema intermediate;
            create schema marketing;
            create table raw.run as select timestamp '2026-03-01 23:50:00' as as_of;
            create table raw.account (platform varchar, user_id varchar, account_key varchar);
            insert into raw.account values
                ('film', 'f-ann-2', 'a1'), ('film', 'f-ann-1', 'a2'), ('knowledge', 'k-ann', 'a3'),
                ('film', 'f-bob', 'b'), ('film', 'f-cat', 'c'), ('film', 'f-dan', 'd');
            create table intermediate.int_account__contactable
                (account_key varchar, user_key varchar, platform varchar, is_contactable boolean, time_zone varchar,
                reason varchar, since timestamp);
            insert into intermediate.int_account__contactable by name
                select unnest(['a1', 'a2', 'a3', 'b', 'c', 'd']) as account_key,
                    unnest(['ann', 'ann', 'ann', 'bob', 'cat', 'dan']) as user_key,
                    unnest(['film', 'film', 'knowledge', 'film', 'film', 'film']) as platform,
                    true as is_contactable;
            create schema staging;
            create table staging.stg_marketing__responses
                (response_key varchar, exposure_key varchar, response_type varchar, occurred_at timestamp);
            create table core.fct_response
                (response_key varchar, campaign_key varchar, user_key varchar, response_type varchar, occurred_at timestamp);
            create table marketing.past_contact
                (contact_key varchar, campaign_key varchar, user_key varchar, platform varchar);
            create table core.dim_campaign (
                campaign_key varchar, name varchar, kind varchar, source_platform varchar, target_platform varchar,
                item_ids varchar[], source_item_ids varchar[]
            );
            insert into core.dim_campaign values
                ('spring', 'Spring reading', 'cross_ad', 'film', 'knowledge', ['42', '43'], []),
                ('a/b', 'Odd name', 'cross_ad', 'film', 'knowledge', [], []);
            create table core.dim_item (
                item_key varchar, domain varchar, item_id varchar, title varchar, is_inferred boolean
            );
            insert into core.dim_item values
                ('knowledge:42', 'knowledge', '42', 'Thirty days of "film", 看电影', false),
                ('knowledge:43', 'knowledge', '43', 'Light', false), ('film:42', 'film', '42', 'Metropolis', false),
                ('film:7', 'film', '7', 'M', false), ('film:8', 'film', '8', null, true);
            create table marketing.decided_plan (plan_id varchar);
            """
        )

    def decides(self, plan_id: str) -> duckdb.DuckDBPyConnection:
        self.connection.execute("delete from marketing.decided_plan")
        self.connection.execute("insert into marketing.decided_plan values (?)", [plan_id])
        return self.connection

    def is_at(self, as_of: datetime) -> None:
        self.connection.execute("update raw.run set as_of = ?", [as_of])

    def forbids(self, account_key: str) -> None:
        self.connection.execute(
            "update intermediate.int_account__contactable set is_contactable = false where account_key = ?",
            [account_key],
        )

    def answers(self, earlier: dict[str, Any], response_type: str, *, delivered: bool) -> None:
        """An answer to a contact of the ledger, whose exposure was delivered or was not."""
        key = hashlib.md5(earlier["contact_key"].encode()).hexdigest()
        self.connection.execute(
            "insert into marketing.past_contact values (?, ?, ?, ?)",
            [earlier[name] for name in ("contact_key", "campaign_key", "user_key", "platform")],
        )
        self.connection.execute(
            "insert into staging.stg_marketing__responses values (?, ?, ?, ?)", [key, key, response_type, AS_OF]
        )
        if delivered:
            self.connection.execute(
                "insert into core.fct_response values (?, ?, ?, ?, ?)",
                [key, earlier["campaign_key"], earlier["user_key"], response_type, AS_OF],
            )

"""A small warehouse that is written by hand, for tests of what is measured in it."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import duckdb

from orchestration.marketing.contact_schema import CONTACT_SCHEMA
from orchestration.marketing.measuring import Measured, measure
from orchestration.marketing.outcomes import read_outcomes

START = datetime(2026, 3, 1, 12)
AS_OF = START + timedelta(days=60)
# Of campaigns, so that whoever was contacted by then is followed through at AS_OF.
END = START + timedelta(days=28)

_TABLES = """
create schema raw;
create schema core;
create schema marketing;
create schema staging;
create table staging.stg_marketing__responses (
    response_key varchar, exposure_key varchar, response_type varchar, occurred_at timestamp
);
create table raw.run (as_of timestamp, time_zone varchar);
create table core.dim_user (user_key varchar, may_be_personalised boolean default true);
create table core.dim_item (item_key varchar, domain varchar, item_id varchar, is_inferred boolean);
create table core.dim_campaign (
    campaign_key varchar, name varchar, kind varchar, source_platform varchar, target_platform varchar, channel varchar,
    item_ids varchar[], source_item_ids varchar[], currency varchar, budget decimal(18, 4), cost_per_exposure decimal(18, 4),
    value_per_conversion decimal(18, 4), holdout_share double, starts_at timestamp, ends_at timestamp
);
create table core.fct_exposure (
    exposure_key varchar, campaign_key varchar, user_key varchar, item_key varchar, arm varchar, channel varchar,
    propensity double, exposure_date date, shown_at timestamp
);
create table core.fct_response (
    response_key varchar, exposure_key varchar, campaign_key varchar, user_key varchar, response_type varchar,
    value double, amount decimal(18, 4), occurred_at timestamp
);
create table core.fct_purchase (
    event_key varchar, user_key varchar, item_key varchar, domain varchar, currency varchar, is_refunded boolean,
    gross_amount decimal(18, 4), amount decimal(18, 4), occurred_at timestamp, refunded_at timestamp
);
create table core.fct_interaction (
    user_key varchar, item_key varchar, domain varchar, event_type varchar, occurred_at timestamp
);
create table core.fct_rating (user_key varchar, domain varchar, rating double, rated_at timestamp);
create table marketing.known_membership (
    segment_key varchar, user_key varchar, is_current boolean, entered_at timestamp, exited_at timestamp
);
"""


class World:
    """Campaigns that bring people of film to knowledge, and what people do; a day is a number of days after `START`.

    Attributes:
        connection: The warehouse.
    """

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute(_TABLES)
        self.connection.execute("insert into raw.run values (?, 'UTC')", [AS_OF])
        self.connection.register("shape", CONTACT_SCHEMA.empty_table())
        self.connection.execute("create table marketing.past_contact as select * from shape")
        self._number = 0

    def campaign(self, campaign_key: str, **other: Any) -> None:
        """A campaign for everything on knowledge, with a holdout of a half."""
        row = {
            "campaign_key": campaign_key,
            "name": campaign_key.title(),
            "kind": "cross_ad",
            "source_platform": "film",
            "target_platform": "knowledge",
            "channel": "email",
            "item_ids": [],
            "source_item_ids": [],
            "currency": "USD",
            "budget": 100,
            "cost_per_exposure": 0.5,
            "holdout_share": 0.5,
            "starts_at": START,
            "ends_at": END,
        }
        self._insert("core.dim_campaign", row | other)

    def catalogue(self, *item_keys: str, is_inferred: bool = False) -> None:
        """Items of the catalogue, or such as are only mentioned."""
        for item_key in item_keys:
            domain, item_id = item_key.split(":")
            row = {"item_key": item_key, "domain": domain, "item_id": item_id, "is_inferred": is_inferred}
            self._insert("core.dim_item", row)

    def people(self, *users: str) -> None:
        """People who are known."""
        for user in users:
            self._insert("core.dim_user", {"user_key": user})

    def exposed(
        self,
        campaign_key: str,
        users: Sequence[str],
        *,
        arm: str = "treatment",
        day: float = 0,
        propensity: float | None = None,
    ) -> list[str]:
        """An exposure of each person; of a held-out one the record that there was none."""
        keys = []
        for user in users:
            keys.append(self._key())
            shown_at = START + timedelta(days=day)
            row = {
                "exposure_key": keys[-1],
                "campaign_key": campaign_key,
                "user_key": user,
                "arm": arm,
                "channel": "email",
                "propensity": propensity,
            }
            self._insert("core.fct_exposure", row | {"exposure_date": shown_at.date(), "shown_at": shown_at})
        return keys

    def contact(self, campaign_key: str, user: str, *, arm: str, day: float = 0, **other: Any) -> str:
        """A contact of the ledger; returns the key of the exposure that answers to it."""
        key = self._key()
        at = START + timedelta(days=day)
        row = {
            "contact_key": key,
            "campaign_key": campaign_key,
            "user_key": user,
            "channel": "email",
            "contact_date": at.date(),
            "not_before": at,
            "arm": arm,
            "propensity": 0.5,
            "cost": 0.25 if arm == "treatment" else 0.0,
            "segment_keys": [],
            "decided_at": at - timedelta(hours=1),
        }
        self._insert("marketing.past_contact", row | other)
        return hashlib.md5(key.encode()).hexdigest()

    def delivered(self, exposure_key: str, campaign_key: str, user: str, *, day: float = 0) -> None:
        """The exposure that answers to a contact of the ledger."""
        at = START + timedelta(days=day)
        self.connection.execute(
            "insert into core.fct_exposure values (?, ?, ?, null, 'treatment', 'email', null, ?, ?)",
            [exposure_key, campaign_key, user, at.date(), at],
        )

    def answer(
        self,
        exposure_key: str,
        response_type: str,
        *,
        day: float = 1,
        amount: float | None = None,
        value: float | None = None,
    ) -> None:
        """A response to an exposure that has arrived."""
        self.connection.execute(
            "insert into core.fct_response by name select ? as response_key, exposure_key, campaign_key, user_key, ? as "
            "response_type, ? as value, ? as amount, ?::timestamp as occurred_at from core.fct_exposure where exposure_key = ?",
            [self._key(), response_type, value, amount, START + timedelta(days=day), exposure_key],
        )

    def bought(self, user: str, item_id: str = "any", *, day: float = 1, **other: Any) -> str:
        """A purchase on knowledge for 10 USD that was kept."""
        key = self._key()
        row = {
            "event_key": key,
            "user_key": user,
            "item_key": f"knowledge:{item_id}",
            "domain": "knowledge",
            "currency": "USD",
            "is_refunded": False,
            "gross_amount": 10,
            "amount": 10,
            "occurred_at": START + timedelta(days=day),
        }
        self._insert("core.fct_purchase", row | other)
        return key

    def did(self, user: str, event_type: str, item_id: str = "any", *, day: float, domain: str = "knowledge") -> None:
        """An event on a platform."""
        row = {"user_key": user, "item_key": f"{domain}:{item_id}", "domain": domain, "event_type": event_type}
        self._insert("core.fct_interaction", row | {"occurred_at": START + timedelta(days=day)})

    def belongs(self, user: str, segment_key: str, *, since: float, until: float | None = None) -> None:
        """A stay in a segment."""
        exited_at = None if until is None else START + timedelta(days=until)
        row = {"segment_key": segment_key, "user_key": user, "is_current": until is None, "exited_at": exited_at}
        self._insert("marketing.known_membership", row | {"entered_at": START + timedelta(days=since)})

    def looked_at(self, day: float) -> None:
        """Moves the time of the run."""
        self.connection.execute("update raw.run set as_of = ?", [START + timedelta(days=day)])

    def measure(self) -> Measured:
        """What is measured in it."""
        return measure(self.connection, read_outcomes(self.connection))

    def result(self, campaign_key: str) -> dict[str, Any]:
        """The result of one campaign."""
        (row,) = [row for row in self.measure().result.to_pylist() if row["campaign_key"] == campaign_key]
        return dict(row)

    def lift(self, scope: str, scope_value: str, measure: str, method: str) -> list[dict[str, Any]]:
        """The lifts of one measure, one a currency."""
        wanted = (scope, scope_value, measure, method)
        rows = self.measure().lift.to_pylist()
        return [
            row for row in rows if tuple(row[name] for name in ("scope", "scope_value", "measure", "method")) == wanted
        ]

    def _insert(self, table: str, row: dict[str, Any]) -> None:
        marks = ", ".join("?" for _ in row)
        self.connection.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", list(row.values()))

    def _key(self) -> str:
        self._number += 1
        return f"key-{self._number:05d}"


def names(prefix: str, number: int) -> list[str]:
    """So many people."""
    return [f"{prefix}-{place:03d}" for place in range(number)]

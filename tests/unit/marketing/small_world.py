"""A warehouse of a few rows for tests of the station: the tables it reads, empty, and a sentence for each kind of row.

Whatever a test does not say is unremarkable: people are on both platforms and consented, campaigns are approved, run on all days
and have money, nobody is held out or explored.
"""

import hashlib
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from orchestration.marketing.contact_schema import CONTACT_SCHEMA

AS_OF = datetime(2026, 3, 1, 12)
FIRST = date(2026, 3, 2)

_TABLES = """
create schema raw; create schema core; create schema marketing; create schema seeds;
create schema staging; create schema intermediate; create schema snapshots; create schema recommendations; create schema features;
create table raw.run (as_of timestamp, time_zone varchar, batch bigint);
create table core.dim_user (
    user_key varchar, country varchar, on_knowledge boolean, on_film boolean, may_be_personalised boolean default true
);
create table core.dim_item (
    item_key varchar, domain varchar, item_id varchar, title varchar, currency varchar, is_inferred boolean,
    price decimal(18, 4)
);
create table core.dim_campaign (
    campaign_key varchar, name varchar, kind varchar, objective varchar, source_platform varchar,
    target_platform varchar, channel varchar, item_ids varchar[],
    source_item_ids varchar[], segment varchar, status varchar, currency varchar,
    is_inferred boolean, budget decimal(18, 4), cost_per_exposure decimal(18, 4),
    value_per_conversion decimal(18, 4), frequency_cap integer, frequency_window_days integer, holdout_share double,
    starts_at timestamp, ends_at timestamp, updated_at timestamp
);
create table core.fct_exposure (
    exposure_key varchar, campaign_key varchar, user_key varchar, item_key varchar, platform varchar, arm varchar,
    channel varchar, propensity double, exposure_date date, shown_at timestamp
);
create table core.fct_response (
    response_key varchar, exposure_key varchar, campaign_key varchar, user_key varchar, response_type varchar,
    value double, amount decimal(18, 4), response_date date, occurred_at timestamp
);
create table staging.stg_marketing__responses (
    response_key varchar, exposure_key varchar, response_type varchar, value double, amount decimal(18, 4),
    occurred_at timestamp
);
create table core.fct_purchase (
    event_key varchar, user_key varchar, item_key varchar, campaign_key varchar, domain varchar, currency varchar,
    is_refunded boolean, gross_amount decimal(18, 4), amount decimal(18, 4), event_date date, occurred_at timestamp,
    refunded_at timestamp
);
create table core.fct_interaction (
    event_key varchar, user_key varchar, item_key varchar, campaign_key varchar, domain varchar, event_type varchar,
    occurred_at timestamp
);
create table marketing.known_segment (segment_key varchar, family varchar, name varchar, platform varchar);
create table marketing.known_membership (
    segment_key varchar, user_key varchar, is_current boolean, entered_at timestamp, exited_at timestamp
);
create table marketing.observed_segment (segment_key varchar);
create table snapshots.snapshot_contents (item_key varchar);
create table snapshots.snapshot_films (item_key varchar);
create table seeds.campaign_limits (
    limit_id varchar, limit_kind varchar, channel varchar, item_key varchar, segment_key varchar, amount double,
    window_days integer, is_active boolean, note varchar
);
create table intermediate.int_account__contactable (
    account_key varchar, user_key varchar, platform varchar, time_zone varchar, is_contactable boolean,
    reason varchar, since timestamp
);
create table recommendations.scored_user_item (
    user_key varchar, target_domain varchar, rank integer, item_key varchar, score double
);
"""


class SmallWorld:
    """The tables in memory.

    Args:
        as_of: Now.
        time_zone: Of the run.
    """

    def __init__(self, as_of: datetime = AS_OF, time_zone: str = "UTC") -> None:
        self.connection = duckdb.connect(":memory:")
        self.connection.execute(_TABLES)
        self.insert_contacts([], create=True)
        self.insert("raw.run", as_of=as_of, time_zone=time_zone, batch=1)
        self._rows = 0

    def insert(self, table: str, **values: Any) -> None:
        """Adds one row; columns that are not named are NULL."""
        columns = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" for _ in values)
        self.connection.execute(f"insert into {table} ({columns}) values ({marks})", list(values.values()))

    def insert_contacts(self, rows: list[dict[str, Any]], *, create: bool = False) -> None:
        """Adds rows to `marketing.past_contact`."""
        self.connection.register("contact_rows", pa.Table.from_pylist(rows, CONTACT_SCHEMA))
        verb = "create table marketing.past_contact as" if create else "insert into marketing.past_contact"
        self.connection.execute(f"{verb} from contact_rows")
        self.connection.unregister("contact_rows")

    def now(self, as_of: datetime) -> None:
        """Moves `as_of`."""
        self.connection.execute("update raw.run set as_of = ?, batch = batch + 1", [as_of])

    def person(
        self,
        user_key: str,
        *,
        platforms: Iterable[str] = ("film", "knowledge"),
        reason: str | None = None,
        time_zone: str = "UTC",
        segments: Iterable[str] = ("lifecycle:joined:active",),
        may_be_personalised: bool = True,
    ) -> None:
        """Adds a person with an account on each platform, and the person's current segments."""
        platforms = tuple(platforms)
        self.insert(
            "core.dim_user",
            user_key=user_key,
            on_film="film" in platforms,
            on_knowledge="knowledge" in platforms,
            may_be_personalised=may_be_personalised,
        )
        for platform in platforms:
            self.insert(
                "intermediate.int_account__contactable",
                account_key=f"{platform}-{user_key}",
                user_key=user_key,
                platform=platform,
                time_zone=time_zone,
                is_contactable=reason is None,
                reason=reason,
            )
        for segment_key in segments:
            self.segment(segment_key)
            self.insert(
                "marketing.known_membership",
                segment_key=segment_key,
                user_key=user_key,
                is_current=True,
                entered_at=datetime(2026, 1, 1),
            )

    def people(self, count: int, **about: Any) -> list[str]:
        """Adds people `u000`, `u001`, …"""
        keys = [f"u{number:03}" for number in range(count)]
        for key in keys:
            self.person(key, **about)
        return keys

    def permission(self, user_key: str, reason: str | None) -> None:
        """Changes the permission of all accounts of a person."""
        self.connection.execute(
            "update intermediate.int_account__contactable set reason = ?, is_contactable = ? where user_key = ?",
            [reason, reason is None, user_key],
        )

    def segment(self, segment_key: str) -> None:
        """Adds a segment if it is not there."""
        known = self.connection.execute(
            "select 1 from marketing.known_segment where segment_key = ?", [segment_key]
        ).fetchall()
        if not known:
            self.insert(
                "marketing.known_segment", segment_key=segment_key, family=segment_key.split(":")[0], name=segment_key
            )

    def item(self, item_key: str, *, price: float | None = None, currency: str | None = None) -> None:
        """Adds an item of the catalogue."""
        domain, item_id = item_key.split(":")
        self.insert(
            "core.dim_item",
            item_key=item_key,
            domain=domain,
            item_id=item_id,
            title=item_id,
            currency=currency,
            price=price,
            is_inferred=False,
        )

    def campaign(self, campaign_key: str, **brief: Any) -> None:
        """Adds a campaign from film to knowledge."""
        usual = {
            "name": campaign_key,
            "kind": "cross_ad",
            "source_platform": "film",
            "target_platform": "knowledge",
            "channel": "email",
            "item_ids": [],
            "source_item_ids": [],
            "status": "approved",
            "currency": "USD",
            "is_inferred": False,
            "budget": 1000,
            "cost_per_exposure": 0.01,
            "value_per_conversion": 100,
            "holdout_share": 0.0,
            "starts_at": datetime(2026, 1, 1),
            "ends_at": datetime(2026, 12, 31, 23, 59, 59),
        }
        self.insert("core.dim_campaign", campaign_key=campaign_key, **(usual | brief))

    def limit(self, limit_kind: str, amount: float, **about: Any) -> None:
        """Adds an active row of the seed."""
        self._rows += 1
        row = {"limit_id": f"limit-{self._rows:02}", "is_active": True} | about
        self.insert("seeds.campaign_limits", limit_kind=limit_kind, amount=amount, **row)

    def score(self, user_key: str, item_key: str, score: float) -> None:
        """Puts an item on a person's list."""
        domain = item_key.split(":")[0]
        self.insert(
            "recommendations.scored_user_item",
            user_key=user_key,
            target_domain=domain,
            rank=1,
            item_key=item_key,
            score=score,
        )

    def event(self, user_key: str, item_key: str, event_type: str = "purchase", *, at: datetime | None = None) -> None:
        """Adds an interaction, and a purchase if it is one."""
        at = at or AS_OF - timedelta(days=1)
        self._rows += 1
        row = {
            "event_key": f"event-{self._rows}",
            "user_key": user_key,
            "item_key": item_key,
            "domain": item_key.split(":")[0],
            "occurred_at": at,
        }
        self.insert("core.fct_interaction", event_type=event_type, **row)
        if event_type == "purchase":
            self.insert("core.fct_purchase", currency="USD", is_refunded=False, gross_amount=10, amount=10, **row)

    def exposure(
        self,
        campaign_key: str,
        user_key: str,
        *,
        exposure_key: str | None = None,
        at: datetime | None = None,
        **more: Any,
    ) -> str:
        """Adds a delivered exposure; returns its key."""
        self._rows += 1
        key = exposure_key or f"exposure-{self._rows}"
        row = {"platform": "film", "arm": "treatment", "channel": "email"} | more
        self.insert(
            "core.fct_exposure",
            exposure_key=key,
            campaign_key=campaign_key,
            user_key=user_key,
            shown_at=at or AS_OF - timedelta(days=1),
            **row,
        )
        return key

    def response(
        self,
        campaign_key: str,
        user_key: str,
        response_type: str,
        *,
        exposure_key: str = "",
        at: datetime | None = None,
    ) -> None:
        """Adds a response."""
        self._rows += 1
        self.insert(
            "core.fct_response",
            response_key=f"response-{self._rows}",
            exposure_key=exposure_key,
            campaign_key=campaign_key,
            user_key=user_key,
            response_type=response_type,
            occurred_at=at or AS_OF - timedelta(days=1),
        )

    def waiting_response(self, contact_key: str, response_type: str, *, at: datetime | None = None) -> None:
        """Adds a response to a contact whose exposure has not arrived."""
        self._rows += 1
        self.insert(
            "staging.stg_marketing__responses",
            response_key=f"response-{self._rows}",
            exposure_key=hashlib.md5(contact_key.encode()).hexdigest(),
            response_type=response_type,
            occurred_at=at or AS_OF - timedelta(days=1),
        )

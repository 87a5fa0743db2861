"""Source tables for tests of the dbt project: made from its declarations, filled by hand, without loader and models.

A test writes the rows that matter to it; every column that it leaves out is NULL. Deliveries get a ledger row each, so
that the load audit has something to read.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import yaml

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"


def raw_sources() -> dict[str, dict[str, str]]:
    """Columns and types of every raw table, in the order of the declaration."""
    return {table: columns for (_, table), columns in _declared("staging").items()}


def make_scored_tables(connection: duckdb.DuckDBPyConnection, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Makes the tables that the models write, as they are declared, with the given rows in place of any former ones.

    Args:
        connection: A connection to the build file.
        rows: Rows by table; a column that a row leaves out is NULL, and a table that has none is empty.
    """
    for (schema, table), columns in {**_declared("recommendations"), **_declared("marketing")}.items():
        connection.execute(f"create schema if not exists {schema}")
        listed = ", ".join(f'"{name}" {data_type}' for name, data_type in columns.items())
        connection.execute(f'create or replace table {schema}."{table}" ({listed})')
        for row in rows.get(table, ()):
            names = ", ".join(f'"{name}"' for name in row)
            connection.execute(
                f'insert into {schema}."{table}" ({names}) values ({", ".join("?" * len(row))})',
                list(row.values()),
            )


def _declared(station: str) -> dict[tuple[str, str], dict[str, str]]:
    """Columns by schema and table, of the sources that a station declares."""
    declared: dict[tuple[str, str], dict[str, str]] = {}
    for file in sorted((PROJECT / "models" / station).rglob("_*.yml")):
        for source in yaml.safe_load(file.read_text()).get("sources", ()):
            for table in source["tables"]:
                name = source.get("schema", source["name"]), table.get("identifier", table["name"])
                declared[name] = {c["name"]: c["data_type"] for c in table["columns"]}
    return declared


def account_key(platform: str, user_id: str) -> str:
    """A stand-in for the keyed pseudonym: as stable, and as long."""
    return hashlib.sha256(f"test:{platform}:{user_id}".encode()).hexdigest()[:32]


class RawSchema:
    """The raw schema of one build file, filled batch by batch.

    Args:
        path: The build file; made if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.batch = 0
        self._columns = raw_sources()
        with self.connect() as connection:
            connection.execute("create schema if not exists raw")
            for table, columns in self._columns.items():
                listed = ", ".join(f'"{name}" {data_type}' for name, data_type in columns.items())
                connection.execute(f'create table if not exists raw."{table}" ({listed})')

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A connection for the length of a `with` block; the file is free again after it."""
        return duckdb.connect(str(self.path))

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows as they are given.

        Raises:
            KeyError: If a row has a column that the table does not declare.
        """
        for row in rows:
            unknown = row.keys() - self._columns[table].keys()
            if unknown:
                raise KeyError(f"raw.{table} has no column {sorted(unknown)}")
        with self.connect() as connection:
            for row in rows:
                names = ", ".join(f'"{name}"' for name in row)
                connection.execute(
                    f'insert into raw."{table}" ({names}) values ({", ".join("?" * len(row))})', list(row.values())
                )

    def deliver(self, table: str, rows: Sequence[Mapping[str, Any]], *, batch: int, file: str | None = None) -> None:
        """Loads rows as one file of one batch; rows with a key that is known already become the current ones.

        A file that is delivered again is replaced: its former rows go, and their keys count as removed unless they come
        again.
        """
        source, name = table.split("__")
        key = KEYS[table]
        with self.connect() as connection:
            delivery_id = connection.execute("select coalesce(max(delivery_id), 0) + 1 from raw.delivery").fetchall()[
                0
            ][0]
            if file is not None:
                self._replace(connection, table, file, batch)
            for row in rows:
                matches = " and ".join(f"{column} is not distinct from ?" for column in key)
                connection.execute(
                    f'update raw."{table}" set _is_current = false, _batch = ? where _is_current and {matches}',
                    [batch, *[row[column] for column in key]],
                )
            for row in rows:
                connection.execute(
                    "delete from raw.removed_row where source = ? and table_name = ? and row_key = ? and _batch = ?",
                    [source, name, "|".join(str(row[column]) for column in key), batch],
                )
        self.insert(
            table,
            [
                {**row, "_delivery_id": delivery_id, "_batch": batch, "_row_number": number, "_is_current": True}
                for number, row in enumerate(rows, start=1)
            ],
        )
        self.insert(
            "delivery",
            [
                {
                    "delivery_id": delivery_id,
                    "batch": batch,
                    "source": source,
                    "table_name": name,
                    "file": file or f"{source}/{name}/{delivery_id}.csv",
                    "size_bytes": 1,
                    "content_hash": f"{delivery_id:064d}",
                    "modified_ns": 0,
                    "status": "loaded",
                    "rows_read": len(rows),
                    "rows_loaded": len(rows),
                    "rows_quarantined": 0,
                    "rows_duplicate": 0,
                    "unknown_columns": [],
                    "missing_columns": [],
                    "loaded_at": datetime(2026, 2, 1),
                    "is_current": True,
                }
            ],
        )
        self._note_accounts(table, rows)

    def _replace(self, connection: duckdb.DuckDBPyConnection, table: str, file: str, batch: int) -> None:
        former = "select delivery_id from raw.delivery where file = ? and is_current"
        self._remove(connection, table, f"_delivery_id in ({former})", [file], batch)
        connection.execute("update raw.delivery set is_current = false where file = ?", [file])

    def withdraw(self, table: str, where: str, *, batch: int) -> None:
        """Takes rows away, as when their file is delivered again without them."""
        with self.connect() as connection:
            self._remove(connection, table, where, [], batch)

    def _remove(
        self, connection: duckdb.DuckDBPyConnection, table: str, where: str, values: list[str], batch: int
    ) -> None:
        source, name = table.split("__")
        row_key = " || '|' || ".join(KEYS[table])
        user = "user_id" if "user_id" in self._columns[table] else "null"
        connection.execute(
            f"insert into raw.removed_row select '{source}', '{name}', {row_key}, {user}, {batch} "
            f'from raw."{table}" where {where}',
            values,
        )
        connection.execute(f'delete from raw."{table}" where {where}', values)

    def run(self, *, as_of: str, batch: int, time_zone: str = "UTC") -> None:
        """Sets the one row of `raw.run`."""
        with self.connect() as connection:
            connection.execute("delete from raw.run")
            connection.execute(
                "insert into raw.run (as_of, time_zone, batch) values (?, ?, ?)", [as_of, time_zone, batch]
            )

    def _note_accounts(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        source = table.split("__")[0]
        seen: set[tuple[str, str]] = set()
        for row in rows:
            for column in ("knowledge_user_id", "film_user_id", "user_id", "follows_user_id"):
                if column in row:
                    platform = column.split("_")[0] if column.endswith("_user_id") and column[0] in "kf" else source
                    if column == "follows_user_id" or "platform" in row:
                        platform = row["platform"]
                    seen.add((platform, row[column]))
        with self.connect() as connection:
            for platform, user_id in sorted(seen):
                connection.execute(
                    "insert into raw.account (platform, user_id, account_key) select ?, ?, ? "
                    "where not exists (from raw.account where platform = ? and user_id = ?)",
                    [platform, user_id, account_key(platform, user_id), platform, user_id],
                )


KEYS: Mapping[str, tuple[str, ...]] = {
    "knowledge__users": ("user_id",),
    "film__users": ("user_id",),
    "knowledge__contents": ("content_id",),
    "film__films": ("film_id",),
    "film__credits": ("film_id", "person_id", "role"),
    "knowledge__events": ("event_id",),
    "film__events": ("event_id",),
    "identity__account_links": ("knowledge_user_id", "film_user_id"),
    "social__follows": ("platform", "user_id", "follows_user_id"),
    "marketing__campaigns": ("campaign_id",),
    "marketing__exposures": ("exposure_id",),
    "marketing__responses": ("response_id",),
    "privacy__consents": ("platform", "user_id", "purpose", "changed_at"),
    "privacy__erasure_requests": ("platform", "user_id", "requested_at"),
}

"""The raw schema: one table per landing table, and the tables in which landing keeps its books.

Tables are described here once, with a sentence per column; the DDL and the dbt sources (`generate`) are read from the
descriptions. How rows come in is the matter of `loading`.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from orchestration.landing.contract import Contract, Table

SCHEMA = "raw"


class RawSchemaError(RuntimeError):
    """The warehouse holds raw tables of another contract."""


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """A column as it is stored.

    Attributes:
        name: Name in the raw schema.
        sql_type: DuckDB type.
        description: One sentence.
    """

    name: str
    sql_type: str
    description: str


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table of the raw schema.

    Attributes:
        name: Name in the raw schema.
        description: What one row is.
        columns: The columns in order.
    """

    name: str
    description: str
    columns: tuple[StoredColumn, ...]

    @property
    def ddl(self) -> str:
        """Statement that creates the table if it is not there."""
        columns = ", ".join(f'"{column.name}" {column.sql_type}' for column in self.columns)
        return f'create table if not exists {SCHEMA}."{self.name}" ({columns})'


ROW_COLUMNS = (
    StoredColumn("_delivery_id", "BIGINT", "Delivery that brought the row (raw.delivery)."),
    StoredColumn("_batch", "BIGINT", "Load batch in which the row came in, or in which `_is_current` last changed."),
    StoredColumn("_row_number", "BIGINT", "Place of the row in its file, from 1, header excluded."),
    StoredColumn("_is_current", "BOOLEAN", "Whether the row wins its key; the others are duplicates."),
)

DELIVERY = StoredTable(
    "delivery",
    "One row per delivery of a file: the ledger of what was loaded, refused or replaced.",
    (
        StoredColumn("delivery_id", "BIGINT", "Number of the delivery; later deliveries have higher numbers."),
        StoredColumn("batch", "BIGINT", "Load batch that read it."),
        StoredColumn("source", "VARCHAR", "Source of the file."),
        StoredColumn("table_name", "VARCHAR", "Landing table of the file."),
        StoredColumn("file", "VARCHAR", "Path below the landing folder, with forward slashes."),
        StoredColumn("size_bytes", "BIGINT", "Size of the file in bytes."),
        StoredColumn("content_hash", "VARCHAR", "SHA-256 of the bytes; NULL if they could not be read as a whole."),
        StoredColumn("modified_ns", "BIGINT", "Time of last change in nanoseconds since 1970."),
        StoredColumn("status", "VARCHAR", "loaded, or refused as a whole."),
        StoredColumn("rows_read", "BIGINT", "Rows found in the file; always loaded + quarantined + duplicate."),
        StoredColumn("rows_loaded", "BIGINT", "Rows that win their key now."),
        StoredColumn("rows_quarantined", "BIGINT", "Rows refused."),
        StoredColumn("rows_duplicate", "BIGINT", "Valid rows whose key another row wins now."),
        StoredColumn("unknown_columns", "VARCHAR[]", "Columns of the file that the contract does not know."),
        StoredColumn("missing_columns", "VARCHAR[]", "Optional columns that the file does not have."),
        StoredColumn("loaded_at", "TIMESTAMP", "Wall clock of the load, UTC."),
        StoredColumn(
            "is_current",
            "BOOLEAN",
            "Whether it is in force: the last good delivery of its path, or a refusal after it.",
        ),
    ),
)

QUARANTINE = StoredTable(
    "quarantine",
    "One row per refused row, or per file refused as a whole.",
    (
        StoredColumn("delivery_id", "BIGINT", "Delivery that held it (raw.delivery)."),
        StoredColumn("source", "VARCHAR", "Source of the file."),
        StoredColumn("table_name", "VARCHAR", "Landing table of the file."),
        StoredColumn("file", "VARCHAR", "Path below the landing folder."),
        StoredColumn("row_number", "BIGINT", "Place of the row, from 1, header excluded; NULL for a whole file."),
        StoredColumn("column_name", "VARCHAR", "First column at fault; NULL if the row or file could not be split."),
        StoredColumn("reason", "VARCHAR", "What was found in each column at fault, and what was expected."),
        StoredColumn("raw", "VARCHAR", "The row as it was delivered, personal values masked; NULL for a whole file."),
    ),
)

REMOVED_ROW = StoredTable(
    "removed_row",
    "One row per key that vanished, because its file was delivered again without it and no other file holds it.",
    (
        StoredColumn("source", "VARCHAR", "Source of the table."),
        StoredColumn("table_name", "VARCHAR", "Landing table."),
        StoredColumn("row_key", "VARCHAR", "The key columns joined by '|'."),
        StoredColumn("user_id", "VARCHAR", "The user_id of the last row with that key; NULL if the table has none."),
        StoredColumn("_batch", "BIGINT", "Load batch in which it vanished."),
    ),
)

ACCOUNT = StoredTable(
    "account",
    "One row per account of a platform ever seen, with its pseudonym.",
    (
        StoredColumn("platform", "VARCHAR", "knowledge or film."),
        StoredColumn("user_id", "VARCHAR", "The account on that platform."),
        StoredColumn("account_key", "VARCHAR", "Keyed hash of platform and account, 32 hexadecimal digits."),
    ),
)

RUN = StoredTable(
    "run",
    "One row: what the run that is building takes as given.",
    (
        StoredColumn("as_of", "TIMESTAMP", "The moment that counts as now, UTC."),
        StoredColumn("time_zone", "VARCHAR", "Time zone whose calendar days are counted."),
        StoredColumn("batch", "BIGINT", "The last load batch."),
    ),
)

FILE_STATE = StoredTable(
    "file_state",
    "One row per file: size, time and hash when it was last read, so that an untouched file is not read again.",
    (
        StoredColumn("file", "VARCHAR", "Path below the landing folder."),
        StoredColumn("size_bytes", "BIGINT", "Size in bytes."),
        StoredColumn("modified_ns", "BIGINT", "Time of last change in nanoseconds since 1970."),
        StoredColumn("content_hash", "VARCHAR", "SHA-256 of the bytes; NULL if they could not be read as a whole."),
        StoredColumn("seen_ns", "BIGINT", "Wall clock when it was read, in nanoseconds since 1970."),
    ),
)

#: Books that dbt reads as sources; `FILE_STATE` is landing's own.
BOOKS = (DELIVERY, REMOVED_ROW, QUARANTINE, ACCOUNT, RUN)


def stored_table(table: Table) -> StoredTable:
    """The raw table of a landing table: the contract's columns, then where each row came from."""
    columns = tuple(StoredColumn(column.name, column.sql_type, column.description) for column in table.columns)
    return StoredTable(table.raw_name, f"{table.grain} {table.description}", columns + ROW_COLUMNS)


def ensure_raw_schema(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Create the raw schema and all its tables where they are missing.

    A table that lacks optional columns of the contract gets them: they are NULL in what was loaded before, until it is delivered
    again.

    Args:
        connection: A read-write connection.
        contract: The landing contract.

    Raises:
        RawSchemaError: If a table exists with columns that differ from the contract in anything else.
    """
    optional = {table.raw_name: {c.name for c in table.columns if not c.required} for table in contract.tables}
    wanted = [stored_table(table) for table in contract.tables] + [*BOOKS, FILE_STATE]
    found = _found_columns(connection)
    missing = [table for table in wanted if table.name not in found]
    older: list[StoredTable] = []
    for table in wanted:
        columns = found.get(table.name)
        expected = [(column.name, column.sql_type) for column in table.columns]
        if columns is None or columns == expected:
            continue
        if columns == [
            column for column in expected if column in columns or column[0] not in optional.get(table.name, ())
        ]:
            older.append(table)
        else:
            changed = sorted({name for name, _ in set(columns) ^ set(expected)}) or ["the order of columns"]
            raise RawSchemaError(
                f"{SCHEMA}.{table.name} was made for another contract (differs in {', '.join(changed)}): "
                "use a new home, or remove warehouse/build.duckdb from this one to load everything again"
            )
    if missing:
        connection.execute(f"create schema if not exists {SCHEMA}")
        for table in missing:
            connection.execute(table.ddl)
    for table in older:
        _extend(connection, table)


def _extend(connection: duckdb.DuckDBPyConnection, table: StoredTable) -> None:
    """Make a table anew with columns that it lacks, in their places, since rows are inserted by place."""
    former = f"{table.name}__former"
    connection.execute("begin transaction")
    try:
        connection.execute(f'alter table {SCHEMA}."{table.name}" rename to "{former}"')
        connection.execute(table.ddl)
        connection.execute(f'insert into {SCHEMA}."{table.name}" by name from {SCHEMA}."{former}"')
        connection.execute(f'drop table {SCHEMA}."{former}"')
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise


def _found_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, str]]]:
    rows = connection.execute(
        "select table_name, column_name, data_type from duckdb_columns() "
        "where schema_name = ? and database_name = current_database() order by table_name, column_index",
        [SCHEMA],
    ).fetchall()
    found: dict[str, list[tuple[str, str]]] = {}
    for table_name, column_name, data_type in rows:
        found.setdefault(table_name, []).append((column_name, data_type))
    return found

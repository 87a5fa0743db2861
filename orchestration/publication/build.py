"""Copies the promised tables out of the build file into a fresh one, and proves that the copy is what was promised.

What is promised comes from `publication.promise`; putting a verified file in front of readers is `publication.store`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from orchestration.landing.checking import literal
from orchestration.publication.promise import PromisedTable
from orchestration.resources.durable import sync
from orchestration.resources.warehouse import connect

_MACROS = Path(__file__).with_name("macros.sql")


class VerificationError(RuntimeError):
    """The fresh file is not what was promised, so it is not published."""


@dataclass(frozen=True)
class TableContent:
    """What a table holds, in figures that two copies of it share.

    Args:
        rows: Number of rows.
        checksum: Order-independent checksum over all columns of all rows.
    """

    rows: int
    checksum: str


def build_publication(
    build_file: Path,
    target: Path,
    parquet_dir: Path,
    tables: Sequence[PromisedTable],
    *,
    memory_limit: str,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, TableContent]:
    """Makes a publication file and its Parquet mirror, and verifies both.

    Args:
        build_file: The pipeline's own file.
        target: The file to make; it must not exist.
        parquet_dir: Folder for `<schema>/<table>.parquet`.
        tables: What is promised.
        memory_limit: DuckDB memory limit.
        progress: Told the name of each table as it is copied.

    Returns:
        Content by qualified table name.

    Raises:
        VerificationError: If a table is missing, has another schema than promised, or differs from its source.
    """
    with connect(target, memory_limit=memory_limit) as connection:
        connection.execute(f"attach {literal(str(build_file))} as build (read_only)")
        source_content = {}
        for table in tables:
            progress(table.qualified_name)
            _copy(connection, table)
            source_content[table.qualified_name] = table_content(connection, f"build.{table.qualified_name}", table)
        for statement in duckdb.extract_statements(_MACROS.read_text()):
            connection.execute(statement)
        connection.execute("detach build")
        connection.execute("checkpoint")
    # Verified in a connection of its own: what counts is what a reader finds on disk.
    with connect(target, memory_limit=memory_limit, read_only=True) as connection:
        for table in tables:
            verify_schema(connection, table)
            found = table_content(connection, table.qualified_name, table)
            expected = source_content[table.qualified_name]
            if found != expected:
                raise VerificationError(f"{table.qualified_name}: the copy has {found}, its source {expected}")
            _mirror(connection, table, found, parquet_dir)
    sync(target)
    return source_content


def table_content(connection: duckdb.DuckDBPyConnection, relation: str, table: PromisedTable) -> TableContent:
    """Row count and checksum of a relation over the promised columns.

    The checksum is the exclusive or and the sum of one 64-bit hash a row: equal for equal content in any order, and a changed,
    missing or repeated row changes at least one of the two.
    """
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    row = connection.execute(
        f"select count(*), coalesce(bit_xor(hash({columns})), 0), coalesce(sum(hash({columns})::hugeint), 0) from {relation}"
    ).fetchone()
    if row is None:  # an aggregate always has a row
        raise VerificationError(f"{relation}: no aggregate")
    return TableContent(rows=row[0], checksum=f"{row[1]:016x}{row[2] % 2**64:016x}")


def verify_schema(connection: duckdb.DuckDBPyConnection, table: PromisedTable) -> None:
    """Compares the columns on disk with the promise.

    Raises:
        VerificationError: If names, order or types differ.
    """
    found = connection.execute(
        "select column_name, data_type from duckdb_columns() "
        "where schema_name = ? and table_name = ? order by column_index",
        [table.schema, table.name],
    ).fetchall()
    promised = [(column.name, _canonical_type(connection, column.data_type)) for column in table.columns]
    if found != promised:
        differing = [f"{f} instead of {p}" for f, p in zip(found, promised, strict=False) if f != p]
        raise VerificationError(
            f"{table.qualified_name}: the file has {len(found)} columns, promised are {len(promised)}; {differing[:3]}"
        )


def _copy(connection: duckdb.DuckDBPyConnection, table: PromisedTable) -> None:
    columns = ",\n    ".join(f'"{c.name}"::{c.data_type} as "{c.name}"' for c in table.columns)
    order = ", ".join(f'"{name}"' for name in table.order_by)
    connection.execute(f'create schema if not exists "{table.schema}"')
    try:
        connection.execute(
            f"create table {table.qualified_name} as select\n    {columns}\nfrom build.{table.qualified_name} order by {order}"
        )
    except duckdb.Error as error:
        raise VerificationError(f"{table.qualified_name} cannot be copied as promised: {error}") from error
    connection.execute(f"comment on table {table.qualified_name} is {literal(str(table.description))}")
    for column in table.columns:
        connection.execute(
            f'comment on column {table.qualified_name}."{column.name}" is {literal(str(column.description))}'
        )


def _mirror(
    connection: duckdb.DuckDBPyConnection, table: PromisedTable, content: TableContent, parquet_dir: Path
) -> None:
    file = parquet_dir / table.schema / f"{table.name}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"copy {table.qualified_name} to {literal(str(file))} (format parquet, compression zstd)")
    mirrored = table_content(connection, f"read_parquet({literal(str(file))})", table)
    if mirrored != content:
        raise VerificationError(f"{file.name}: the mirror has {mirrored}, the table {content}")
    sync(file)


def _canonical_type(connection: duckdb.DuckDBPyConnection, data_type: str) -> str:
    row = connection.execute(f"select typeof(null::{data_type})").fetchone()
    # The type of a bare null cast is the cast's type; asked of DuckDB so that `text` and `varchar` are the same.
    return str(row[0]) if row else data_type

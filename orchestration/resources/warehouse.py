"""The build file as a resource: one writer at a time, closed as soon as a step is done with it.

The publication, which people read, is not opened here; see `orchestration.publication`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
from dagster import ConfigurableResource

# One name for the pool that every asset that writes the build file is in; its limit of 1 is set in the instance.
WRITER_POOL = "warehouse_writer"


class WarehouseResource(ConfigurableResource[duckdb.DuckDBPyConnection]):
    """Opens the build file.

    Args:
        path: The build file.
        memory_limit: DuckDB memory limit of a connection.
    """

    path: str
    memory_limit: str = "2GB"

    @contextmanager
    def writer(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-write connection; the file is made on first use, readable by its owner only."""
        file = Path(self.path)
        with connect(file, memory_limit=self.memory_limit) as connection:
            file.chmod(0o600)
            yield connection

    @contextmanager
    def reader(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection.

        Raises:
            duckdb.IOException: If the file does not exist yet or a writer has it open.
        """
        with connect(Path(self.path), memory_limit=self.memory_limit, read_only=True) as connection:
            yield connection


@contextmanager
def connect(path: Path, *, memory_limit: str = "2GB", read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection with the project's settings: UTC, a memory bound, spilling beside the file, no downloads."""
    configuration: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": str(path.parent / ".spill"),
    }
    connection = duckdb.connect(str(path), read_only=read_only, config=configuration)
    try:
        connection.execute("set TimeZone = 'UTC'")
        # The engine's own bar goes to standard output, which is for answers.
        connection.execute("set enable_progress_bar = false")
        yield connection
    finally:
        connection.close()


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, **tables: pa.Table | pa.RecordBatchReader) -> Iterator[None]:
    """Lets SQL read Arrow tables and streams by name for a while, without a copy."""
    for name, table in tables.items():
        connection.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            connection.unregister(name)


def replace_table(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table | pa.RecordBatchReader) -> int:
    """Replaces a table, `schema.name`, by Arrow rows, whole or not at all; returns how many.

    Args:
        connection: Writer of the build file.
        table: The table; its schema is made if it is not there.
        rows: A table, or a stream, which is read once.
    """
    connection.execute(f"create schema if not exists {table.split('.')[0]}")
    with registered(connection, new_rows=rows):
        connection.execute(f"create or replace table {table} as from new_rows")
    return int(connection.execute(f"select count(*) from {table}").fetchall()[0][0])

"""A landing folder to write into, and a warehouse to load it into."""

import gzip
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.landing.errors import NoEventsError
from orchestration.landing.loading import load_landing
from orchestration.landing.report import LoadReport

NOW = datetime(2026, 3, 1, 12)
SECRET = b"a secret for tests"
EVENT_COLUMNS = ("event_id", "user_id", "film_id", "event_type", "occurred_at", "value")


class Landing:
    """A landing folder with short ways to put files into it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, file: str) -> Path:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, file: str, content: str | bytes) -> Path:
        path = self.path(file)
        raw = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(raw) if file.endswith(".gz") else raw)
        return path

    def ndjson(self, file: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        return self.write(file, "".join(json.dumps(row) + "\n" for row in rows))

    def parquet(self, file: str, columns: Mapping[str, Any]) -> Path:
        path = self.path(file)
        pq.write_table(pa.table(dict(columns)), path)
        return path

    def events(self, file: str, *rows: str) -> Path:
        """A CSV of film events; a row is written as in the file: event, user, film, type, time, value."""
        return self.write(file, ",".join(EVENT_COLUMNS) + "\n" + "".join(row + "\n" for row in rows))


class Warehouse:
    """A warehouse in memory."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def load(self, landing: Landing, **options: Any) -> LoadReport:
        """Load; that a folder holds no event is no matter here."""
        try:
            return load_landing(self.connection, landing.root, secret=SECRET, **{"now": NOW, **options})
        except NoEventsError as error:
            return error.report

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()

    def value(self, query: str) -> Any:
        ((value,),) = self.rows(query)
        return value

    def winners(self, table: str = "film__events", column: str = "event_id") -> list[Any]:
        return [row[0] for row in self.rows(f"select {column} from raw.{table} where _is_current order by all")]

    def quarantine(self) -> list[tuple[Any, ...]]:
        """File, row, column and reason of all that is in quarantine."""
        return self.rows("select file, row_number, column_name, reason from raw.quarantine order by all")

    def audit(self) -> dict[str, tuple[int, int, int, int]]:
        """Rows read, loaded, quarantined and duplicate of each file in force."""
        rows = self.rows(
            "select file, rows_read, rows_loaded, rows_quarantined, rows_duplicate from raw.delivery "
            "where is_current and status = 'loaded' order by file"
        )
        return {row[0]: row[1:] for row in rows}

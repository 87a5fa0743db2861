"""Tables as the bytes of landing files: Parquet, CSV and NDJSON, the latter two plain or gzipped.

The same table gives the same bytes each time. Which table goes into which file is decided in `demo`.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

EXTENSIONS = ("parquet", "csv", "csv.gz", "ndjson", "ndjson.gz")


def encode(table: pa.Table, extension: str) -> bytes:
    """The bytes of a table in one of the formats of the landing contract.

    Args:
        table: The rows; times are UTC.
        extension: One of `EXTENSIONS`. In CSV a list is written as `a|b|c`, in all but Parquet a time in ISO 8601 with a Z.

    Returns:
        The file's content.

    Raises:
        ValueError: If the extension is not known.
    """
    writers: dict[str, Callable[[pa.Table], bytes]] = {
        "parquet": _parquet,
        "csv": _csv,
        "csv.gz": lambda rows: _gzip(_csv(rows)),
        "ndjson": _ndjson,
        "ndjson.gz": lambda rows: _gzip(_ndjson(rows)),
    }
    if extension not in writers:
        raise ValueError(f"unknown file format {extension!r}: expected one of {', '.join(EXTENSIONS)}")
    return writers[extension](table)


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    flat = _times_as_text(table)
    for place, field in enumerate(flat.schema):
        if pa.types.is_list(field.type):
            flat = flat.set_column(place, field.name, pc.binary_join(flat[field.name], "|"))
    options = pa_csv.WriteOptions(quoting_style="needed", quoting_header="none")
    pa_csv.write_csv(flat, sink, options)
    return sink.getvalue()


def _ndjson(table: pa.Table) -> bytes:
    lines = (
        json.dumps({name: value for name, value in row.items() if value is not None}, ensure_ascii=False)
        for row in _times_as_text(table).to_pylist()
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=6, mtime=0)


def _times_as_text(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            seconds = table[field.name].cast(pa.timestamp("s"))
            table = table.set_column(place, field.name, pc.strftime(seconds, format="%Y-%m-%dT%H:%M:%SZ"))
    return table

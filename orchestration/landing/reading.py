"""Reading one landing file: from its bytes to checked rows in a table of the engine.

The three formats differ only in where a delivered value is found; what is made of it is decided in `checking`. A file
is either read as a whole or refused as a whole with `FileRefusedError`; what makes a single row unfit never raises.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from stat import S_ISREG

import duckdb
import pyarrow as pa

from orchestration.landing.checking import Delivered, checked_rows, cleaned_list, literal, quoted
from orchestration.landing.contract import Column, Table
from orchestration.landing.errors import FileChangedError, FileRefusedError
from orchestration.landing.records import PROBLEMS, SCHEMA, TextRecords

_HASH_BLOCK_BYTES = 4 * 1024 * 1024
_STREAM = "landing_records"
_LARGEST_EXACT = 2**53
_COLUMNS_SHOWN = 30

# In a file without a header, values stand where names belong; what is told of them is published.
_NAME = re.compile(r"(?!.*\d{5})[A-Za-z_][A-Za-z0-9_ ]{0,40}")
_HIDDEN = "(hidden)"

# Errors of the engine that are no fault of the file; damage is reported with a whole range of classes.
_NOT_THE_FILE = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConnectionException,
    duckdb.FatalException,
    duckdb.InterruptException,
    duckdb.OutOfMemoryException,
    duckdb.ParserException,
    duckdb.SyntaxException,
    duckdb.TransactionException,
)

#: Called with the path of each file after it was read and before it is known that it did not change meanwhile.
AfterReading = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found in a file that could be read.

    Attributes:
        content_hash: SHA-256 of its bytes.
        unknown_columns: Its columns that the contract does not know; `(hidden)` stands for one that is no name.
        missing_columns: Optional columns that it does not have.
    """

    content_hash: str
    unknown_columns: tuple[str, ...]
    missing_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Opened:
    """An opened file: its columns, and how the engine finds its values."""

    column_names: tuple[str, ...]
    scan: str
    delivered: Mapping[str, Delivered]
    problem: str = "null::varchar"
    line: str = "null::varchar"


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        FileRefusedError: If it cannot be read.
    """
    _state(path)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_HASH_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise FileRefusedError(f"cannot be opened: {error.strerror or error}") from error
    return digest.hexdigest()


def read_file(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    path: Path,
    extension: str,
    *,
    expected_hash: str,
    into: str,
    delivery_id: int,
    now: datetime,
    after_reading: AfterReading | None = None,
) -> Reading:
    """Read a file and append its checked rows to a table.

    Args:
        connection: Where the rows go.
        table: The landing table that the file delivers.
        path: The file.
        extension: Its format: parquet, csv, csv.gz, ndjson or ndjson.gz.
        expected_hash: SHA-256 that it had when it was found.
        into: The table, made by `staging_table`.
        delivery_id: Number of the delivery.
        now: The wall clock in UTC, without zone.
        after_reading: Called before it is checked that the file did not change; for tests.

    Returns:
        What was found.

    Raises:
        FileRefusedError: If the file cannot be taken as a whole; nothing was appended.
        FileChangedError: If it changed while it was read; nothing was appended.
    """
    before = _state(path)
    if before[0] == 0:
        raise FileRefusedError("the file is empty, expected " + ("rows" if "json" in extension else "a header"))
    with ExitStack() as stack:
        if extension == "parquet":
            found_hash, opened = _read_parquet(connection, table, path, into, delivery_id, now, stack)
        else:
            found_hash, opened = _read_text(connection, table, path, extension, into, delivery_id, now, stack)
    if after_reading is not None:
        after_reading(path)
    if _has_changed(path, before, found_hash, expected_hash):
        connection.execute(f"delete from {into} where _delivery_id = {delivery_id}")
        raise FileChangedError("the file changed while it was read; it is tried again with the next load")
    known = {column.name for column in table.columns}
    return Reading(
        content_hash=expected_hash,
        unknown_columns=tuple(
            name if _NAME.fullmatch(name) else _HIDDEN for name in opened.column_names if name not in known
        ),
        missing_columns=tuple(
            column.name for column in table.columns if not column.required and column.name not in opened.column_names
        ),
    )


def staging_table(table: Table, name: str) -> str:
    """The statement that makes the table into which `read_file` appends."""
    columns = ", ".join(f"{quoted(column.name)} {column.sql_type}" for column in table.columns)
    return (
        f"create or replace temp table {name} ({columns}, _row_number bigint, _column_name varchar, _reason varchar, "
        "_raw varchar, _delivery_id bigint)"
    )


def _append(
    connection: duckdb.DuckDBPyConnection, table: Table, opened: _Opened, into: str, delivery_id: int, now: datetime
) -> None:
    rows = checked_rows(table, opened.delivered, opened.scan, problem=opened.problem, line=opened.line, now=now)
    connection.execute(f"insert into {into} select *, {delivery_id} from ({rows})")


def _state(path: Path) -> tuple[int, int, int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise FileRefusedError(f"cannot be opened: {error.strerror or error}") from error
    if not S_ISREG(stat.st_mode):
        raise FileRefusedError("cannot be opened: not a regular file")
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _has_changed(path: Path, before: tuple[int, int, int, int], found_hash: str | None, expected_hash: str) -> bool:
    """Whether a file that was read is not the one that was found."""
    try:
        return _state(path) != before or (found_hash or content_hash(path)) != expected_hash
    except FileRefusedError:  # it is gone
        return True


def _expect_columns(table: Table, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        named = [name for name in twice if _NAME.fullmatch(name)]
        raise FileRefusedError(f"the header holds {_shown(twice)} more than once", named[0] if named else None)
    missing = [name for name in table.required_columns if name not in names]
    if missing:
        raise FileRefusedError(
            f"lacks the required column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"columns found: {_shown(names) or 'none'}",
            missing[0],
        )


def _shown(names: Sequence[str]) -> str:
    """The first names, and how many that are no names and may be personal values."""
    named = [name for name in names if _NAME.fullmatch(name)]
    hidden = len(names) - len(named)
    parts = [", ".join(named[:_COLUMNS_SHOWN])] if named else []
    if hidden:
        parts.append("1 that is no name" if hidden == 1 else f"{hidden} that are no names")
    return " and ".join(parts)


# Parquet


def _read_parquet(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    path: Path,
    into: str,
    delivery_id: int,
    now: datetime,
    stack: ExitStack,
) -> tuple[None, _Opened]:
    # The engine would expand wildcards in the name and read columns out of folders named `key=value`.
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zhiying-")))
    link = folder / "file.parquet"
    link.symlink_to(path.resolve())
    source = f"read_parquet({literal(str(link))}, hive_partitioning = false, binary_as_string = true"
    try:
        description = connection.execute(f"select * from {source}) limit 0").description or []
        types = {name: str(data_type) for name, data_type, *_ in description}
        _expect_columns(table, list(types))
        given = [column for column in table.columns if column.name in types]
        columns = ", ".join(quoted(column.name) for column in given)
        opened = _Opened(
            column_names=tuple(types),
            scan=f"select file_row_number + 1 as row_number, {columns} from {source}, file_row_number = true)",
            delivered={column.name: _parquet_value(column, types[column.name]) for column in given},
        )
        _append(connection, table, opened, into, delivery_id, now)
    except UnicodeDecodeError as error:
        raise FileRefusedError("cannot be read as Parquet: a column name is not UTF-8") from error
    except duckdb.Error as error:
        if isinstance(error, _NOT_THE_FILE) or "No space left" in str(error):
            raise
        raise FileRefusedError(f"cannot be read as Parquet: {_engine_message(error, link)}") from error
    return None, opened


def _engine_message(error: duckdb.Error, link: Path) -> str:
    """The first line of a message without paths, nor what it quotes: that may be a value of a row."""
    message = re.sub(r'".*("|$)', _HIDDEN, str(error).splitlines()[0])
    return message.replace(f"file '{link}'", "file").replace(str(link), "the file")


def _parquet_value(column: Column, data_type: str) -> Delivered:
    name = quoted(column.name)
    text = f"{name}::varchar"
    given = f"({name} is not null)"
    if data_type.startswith(("STRUCT", "MAP", "UNION", "BLOB", "BIT")) or data_type.endswith("[][]"):
        return Delivered(text, scalar="null::varchar", given=given)
    if data_type.endswith("[]"):
        native = cleaned_list(f"{name}::varchar[]") if column.type == "list" else None
        return Delivered(text, scalar="null::varchar", native=native, given=given)
    if data_type == "DATE" or data_type.startswith("TIMESTAMP"):
        zoned = data_type == "TIMESTAMP WITH TIME ZONE"
        moment = f"timezone('UTC', {name})" if zoned else f"{name}::timestamp"
        return Delivered(f"({moment})::varchar", native=moment if column.type == "timestamp" else None, given=given)
    if data_type in ("DOUBLE", "FLOAT"):
        return _parquet_float(column, data_type)
    if data_type.startswith("DECIMAL"):
        return Delivered(rf"regexp_replace({text}, '\.0+$', '')")
    return Delivered(text)


def _parquet_float(column: Column, data_type: str) -> Delivered:
    name = quoted(column.name)
    given = f"({name} is not null)"
    whole = f"isfinite({name}) and {name} = trunc({name}) and abs({name}) < {_LARGEST_EXACT}"
    text = f"case when {whole} then {name}::bigint::varchar else {name}::varchar end"
    if column.type == "number" and data_type == "DOUBLE":
        return Delivered(text, native=f"case when isfinite({name}) then {name} end", given=given)
    if column.type == "money" and data_type == "DOUBLE":
        exact = f"abs(try_cast({name} as decimal(18,4))::double - {name}) <= 1e-12 * greatest(abs({name}), 1)"
        return Delivered(text, native=f"case when {exact} then try_cast({name} as decimal(18,4)) end", given=given)
    if column.type == "text":
        # From 2^53 on neighbouring identifiers are the same number.
        return Delivered(text, scalar=f"case when abs({name}) < {_LARGEST_EXACT} then {text} end", given=given)
    return Delivered(text, given=given)


# Text


def _read_text(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    path: Path,
    extension: str,
    into: str,
    delivery_id: int,
    now: datetime,
    stack: ExitStack,
) -> tuple[str, _Opened]:
    try:
        stream = stack.enter_context(path.open("rb"))
    except OSError as error:
        raise FileRefusedError(f"cannot be opened: {error.strerror or error}") from error
    is_csv = extension.startswith("csv")
    records = TextRecords(stream, compressed=extension.endswith(".gz"), quoted=is_csv)
    batches = records.batches()
    try:
        if is_csv:
            header, batches = _csv_header(table, batches)
            opened = _opened_csv(table, header)
            with _registered(connection, batches):
                _append(connection, table, opened, into, delivery_id, now)
        else:
            opened = _read_json(connection, table, batches, into, delivery_id, now)
    except duckdb.Error as error:
        if records.refusal is not None:
            raise records.refusal from error
        raise
    return records.content_hash, opened


class _registered:  # noqa: N801 - reads as a context, not as a thing
    """A stream of batches that a query can read once under the name `_STREAM`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, batches: Iterator[pa.RecordBatch]) -> None:
        self._connection = connection
        self._reader = pa.RecordBatchReader.from_batches(SCHEMA, batches)

    def __enter__(self) -> None:
        self._connection.register(_STREAM, self._reader)

    def __exit__(self, *_: object) -> None:
        self._connection.unregister(_STREAM)


def _csv_header(table: Table, batches: Iterator[pa.RecordBatch]) -> tuple[tuple[str, ...], Iterator[pa.RecordBatch]]:
    """The column names, and the batches after them."""
    first = next(batches, None)
    if first is None:
        raise FileRefusedError("the file is empty, expected a header")
    if first.column("problem")[0].as_py():
        raise FileRefusedError(f"the header cannot be read: {PROBLEMS[first.column('problem')[0].as_py()]}")
    header = tuple(name.strip() for name in first.column("fields")[0].as_py())
    if any("\0" in name for name in header):
        raise FileRefusedError("wrong encoding: the header holds NUL characters; expected UTF-8")
    _expect_columns(table, header)

    def rest() -> Iterator[pa.RecordBatch]:
        yield first.slice(1)
        yield from batches

    return header, rest()


def _opened_csv(table: Table, header: Sequence[str]) -> _Opened:
    delivered = {}
    for column in table.columns:
        if column.name in header:
            delivered[column.name] = Delivered(f"nullif(fields[{header.index(column.name) + 1}], '')")
    ragged = (
        f"when len(fields) <> {len(header)} then 'found ' || len(fields) || ' values, expected {len(header)} "
        "as in the header'"
    )
    return _Opened(
        column_names=tuple(header),
        scan=f"select row_number - 1 as row_number, fields, line, problem from {_STREAM}",
        delivered=delivered,
        problem=f"case {_problem_cases()} {ragged} end",
        line="line",
    )


def _problem_cases() -> str:
    return " ".join(f"when problem = {number} then {literal(text)}" for number, text in PROBLEMS.items())


def _read_json(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    batches: Iterator[pa.RecordBatch],
    into: str,
    delivery_id: int,
    now: datetime,
) -> _Opened:
    # Which columns there are is known only when all lines are read, so the lines are kept for a second look.
    lines = "landing_lines"
    with _registered(connection, batches):
        connection.execute(
            f"create or replace temp table {lines} as select row_number, line, problem, "
            f"case when problem = 0 and json_valid(line) then json_type(line) = 'OBJECT' else false end as is_object "
            f"from {_STREAM}"
        )
    try:
        rows, objects = connection.execute(f"select count(*), count(*) filter (is_object) from {lines}").fetchall()[0]
        if not rows:
            raise FileRefusedError("the file is empty, expected rows")
        keys = connection.execute(
            f"select distinct unnest(keys) from (select distinct json_keys(line) as keys from {lines} where is_object)"
        ).fetchall()
        names = tuple(sorted(key for (key,) in keys))
        if objects:
            _expect_columns(table, names)
        opened = _opened_json(table, names, lines)
        _append(connection, table, opened, into, delivery_id, now)
    finally:
        connection.execute(f"drop table {lines}")
    return opened


def _opened_json(table: Table, names: Sequence[str], lines: str) -> _Opened:
    given = [column for column in table.columns if column.name in names]
    paths = "[" + ", ".join(literal("$." + column.name) for column in given) + "]"
    delivered = {column.name: _json_value(column, place) for place, column in enumerate(given, start=1)}
    values = f"json_extract_string(object, {paths}) as vals, json_type(object, {paths}) as types" if given else "1"
    twice = "when is_object and len(keys) <> len(list_distinct(keys)) then 'a key is there twice'"
    return _Opened(
        column_names=tuple(names),
        scan=(
            f"select row_number, line, problem, is_object, json_keys(object) as keys, {values} from "
            f"(select *, case when is_object then line end as object from {lines})"
        ),
        delivered=delivered,
        problem=f"case {_problem_cases()} when not is_object then 'not a JSON object on one line' {twice} end",
        line="line",
    )


def _json_value(column: Column, place: int) -> Delivered:
    value, kind = f"vals[{place}]", f"types[{place}]"
    if column.type == "list":
        as_list = cleaned_list(f"from_json({value}, '[\"VARCHAR\"]')")
        split = cleaned_list(f"string_split({value}, '|')")
        native = f"case {kind} when 'ARRAY' then {as_list} when 'OBJECT' then null else {split} end"
        return Delivered(value, native=native)
    text = value
    if column.type == "text":
        text = rf"case when {kind} = 'DOUBLE' then regexp_replace({value}, '\.0+$', '') else {value} end"
    return Delivered(text, scalar=f"case when {kind} not in ('OBJECT', 'ARRAY') then {text} end")

"""From the bytes of a text file to Arrow batches of records, for CSV and for one JSON value a line.

Why not DuckDB's own CSV reader: in 1.5.5 it drops all that follows a quote that is never closed once the rest exceeds
the longest line, and takes a truncated gzip stream for a complete one, both without a word; and it cannot say which
bytes it has read. Here each byte is read once, hashed, decompressed, checked to be UTF-8 and cut into records by array
operations; no record becomes a Python object, except in a block with irregular quotes. Memory is bounded by a few times
`BLOCK_BYTES + MAX_RECORD_BYTES`, whatever the size of the file.

What a record means (columns, types, codes) is decided in `checking`.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from orchestration.landing.errors import FileRefusedError

BLOCK_BYTES = 4 * 1024 * 1024
MAX_RECORD_BYTES = 4 * 1024 * 1024

#: What is wrong with a record that could not be split, by the number in the `problem` column; 0 is none.
PROBLEMS = {
    1: "a quote is not closed, or text follows a closing quote",
    2: f"the record is longer than {MAX_RECORD_BYTES // (1024 * 1024)} MiB",
}

#: `row_number` from 1, blank records not counted; `fields` is NULL where `problem` is not 0; `line` keeps its line end.
SCHEMA = pa.schema(
    [("row_number", pa.int64()), ("fields", pa.list_(pa.string())), ("line", pa.string()), ("problem", pa.int8())]
)

_NEWLINE, _RETURN, _QUOTE, _COMMA = 10, 13, 34, 44
_BOM = b"\xef\xbb\xbf"
_HEAD_BYTES = 10_000

# A CSV record with its line end. In a run of regular records quotes only enclose whole fields; a tolerant record may also
# hold quotes within an unquoted field, where they are characters as any other. Possessive quantifiers keep time linear.
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'
_REGULAR_RUN = re.compile(rb'(?:(?:%b|[^",\n]*+)(?:,(?:%b|[^",\n]*+))*+\r?\n)++' % (_QUOTED, _QUOTED))
_TOLERANT = rb'(?:%b(?=,|\r?\n)|(?!")[^,\n]*+)' % _QUOTED
_RECORD = re.compile(rb"%b(?:,%b)*+\r?\n" % (_TOLERANT, _TOLERANT))
_UNFINISHED = re.compile(rb'(?:%b,)*+(?:"[^"]*+(?:""[^"]*+)*+(?:"\r?)?|(?!")[^,\n]*+)\Z' % _TOLERANT)
_FIELD = re.compile(rb'(?:"([^"]*+(?:""[^"]*+)*+)"|([^,\n]*?))(?:,|\r?\n)')


class TextRecords:
    """The records of one text file, as a stream of Arrow batches; reads the file once.

    Args:
        stream: The file, opened for reading bytes, at its start.
        compressed: Whether it is gzip.
        quoted: Whether records are CSV (`fields` is filled) or lines as they are (`fields` is NULL).
    """

    def __init__(self, stream: BinaryIO, *, compressed: bool, quoted: bool) -> None:
        self._stream = stream
        self._compressed = compressed
        self._split = _split_csv if quoted else _split_lines
        self._hash = hashlib.sha256()
        self._lines_before = 0
        self.refusal: FileRefusedError | None = None

    @property
    def content_hash(self) -> str:
        """SHA-256 of the bytes read so far: of the whole file once `batches` is exhausted."""
        return self._hash.hexdigest()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The records in order; batches have the schema `SCHEMA`, and none is empty.

        Raises:
            FileRefusedError: If the file is damaged or not UTF-8. It is kept in `refusal` too, because an engine that
                pulls the batches passes on no more than a message.
        """
        try:
            yield from self._batches()
        except FileRefusedError as refusal:
            self.refusal = refusal
            raise
        except OSError as error:
            self.refusal = FileRefusedError(f"cannot be read: {error.strerror or error}")
            raise self.refusal from error

    def _batches(self) -> Iterator[pa.RecordBatch]:
        rows = 0
        rest = b""
        skipping = False
        blocks = self._decompressed() if self._compressed else self._plain()
        for block, is_last in _with_last(_without_bom(blocks)):
            pending = rest + block
            if skipping:
                line_end = pending.find(b"\n")
                if line_end < 0:
                    continue
                pending, skipping = pending[line_end + 1 :], False
            if is_last and pending and not pending.endswith(b"\n"):
                pending += b"\n"
            self._expect_utf8(pending)
            records, cut = self._split(pending, is_last)
            rest = pending[cut:]
            if len(rest) > MAX_RECORD_BYTES:
                oversize = _batch_of([(None, rest[:_HEAD_BYTES], 2)])
                records = oversize if records is None else pa.concat_batches([records, oversize])
                rest, skipping = b"", True
            self._lines_before += pending.count(b"\n", 0, cut)
            if records is not None and len(records):
                numbers = pa.array(np.arange(rows + 1, rows + len(records) + 1, dtype=np.int64))
                rows += len(records)
                yield records.set_column(0, SCHEMA.field(0), numbers)

    def _expect_utf8(self, text: bytes) -> None:
        if text.isascii():
            return
        complete = text.rfind(b"\n") + 1
        try:
            text[:complete].decode("utf-8")
        except UnicodeDecodeError as error:
            line = self._lines_before + text.count(b"\n", 0, error.start) + 1
            raise FileRefusedError(
                f"wrong encoding: line {line} holds the byte 0x{text[error.start]:02x}, which is not UTF-8; "
                "expected UTF-8"
            ) from error

    def _plain(self) -> Iterator[bytes]:
        while block := self._read():
            yield block

    def _read(self) -> bytes:
        block = self._stream.read(BLOCK_BYTES)
        self._hash.update(block)
        return block

    def _decompressed(self) -> Iterator[bytes]:
        """Decompress a gzip stream of one or more members, never more than a block at a time."""
        while block := self._read():
            member = zlib.decompressobj(wbits=31)
            while True:
                try:
                    text = member.decompress(block, BLOCK_BYTES)
                except zlib.error as error:
                    raise FileRefusedError(f"damaged gzip file: {error}") from error
                if text:
                    yield text
                if member.eof:
                    block = member.unused_data.lstrip(b"\0")
                    if not block and not (block := self._read()):
                        return
                    member = zlib.decompressobj(wbits=31)
                else:
                    block = member.unconsumed_tail or self._read()
                    if not block and not text:
                        raise FileRefusedError("truncated gzip file: it ends before its end mark")


def _without_bom(blocks: Iterator[bytes]) -> Iterator[bytes]:
    head = b""
    for block in blocks:
        head += block
        if len(head) >= len(_BOM):
            break
    if head:
        yield head.removeprefix(_BOM)
    yield from blocks


def _with_last(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each block with whether it is the last one."""
    previous: bytes | None = None
    for block in blocks:
        if previous is not None:
            yield previous, False
        previous = block
    if previous is not None:
        yield previous, True


def _split_lines(text: bytes, is_last: bool) -> tuple[pa.RecordBatch | None, int]:
    """Cut text at line ends.

    Returns:
        The records, and the number of bytes that they take.
    """
    del is_last  # the caller ends the last line
    array = np.frombuffer(text, dtype=np.uint8)
    ends = np.flatnonzero(array == _NEWLINE)
    if not len(ends):
        return None, 0
    cut = int(ends[-1]) + 1
    return _batch(text[:cut], ends, pa.nulls(len(ends), SCHEMA.field("fields").type)), cut


def _split_csv(text: bytes, is_last: bool) -> tuple[pa.RecordBatch | None, int]:
    """Cut text that begins at the start of a CSV record into records and fields.

    Where the quotes are regular (each opens at the start of a field and closes at its end), whether a byte is quoted
    is the parity of the quotes before it, and everything is array operations. Otherwise the block is read record by
    record.

    Returns:
        The records, and the number of bytes that they take.
    """
    array = np.frombuffer(text, dtype=np.uint8)
    quotes = np.flatnonzero(array == _QUOTE)
    ends = _unquoted(np.flatnonzero(array == _NEWLINE), quotes)
    cut = int(ends[-1]) + 1 if len(ends) else 0
    left = len(text) - cut
    if (is_last and left) or left > MAX_RECORD_BYTES:
        return _split_tolerantly(text, is_last)
    if not len(ends):
        return None, 0
    if not _is_regular(array, quotes[quotes < cut]):
        return _split_tolerantly(text, is_last)
    return _split_regular(text[:cut]), cut


def _split_regular(text: bytes) -> pa.RecordBatch:
    """Cut whole records with regular quotes into fields."""
    array = np.frombuffer(text, dtype=np.uint8)
    quotes = np.flatnonzero(array == _QUOTE)
    delimiters = _unquoted(np.flatnonzero((array == _COMMA) | (array == _NEWLINE)), quotes)
    is_end = array[delimiters] == _NEWLINE
    ends = delimiters[is_end]
    returns = ends[(ends > 0) & (array[ends - 1] == _RETURN)] - 1
    opening, closing = quotes[0::2], quotes[1::2]
    reopening = (opening > 0) & (array[opening - 1] == _QUOTE)  # the second quote of a doubled one stands for itself
    dropped = np.sort(np.concatenate((delimiters, returns, opening[~reopening], closing)))
    kept = np.ones(len(text), dtype=np.bool_)
    kept[dropped] = False
    field_ends = delimiters - np.searchsorted(dropped, delimiters)
    fields = pa.StringArray.from_buffers(len(delimiters), _offsets(field_ends), pa.py_buffer(array[kept]))
    record_ends = np.flatnonzero(is_end) + 1
    lists = pa.ListArray.from_arrays(pa.array(np.concatenate(([0], record_ends)), type=pa.int32()), fields)
    return _batch(text, ends, lists)


def _unquoted(positions: np.ndarray, quotes: np.ndarray) -> np.ndarray:
    """The positions that have an even number of quotes before them."""
    return positions[np.searchsorted(quotes, positions) % 2 == 0] if len(quotes) else positions


def _is_regular(array: np.ndarray, quotes: np.ndarray) -> bool:
    """Whether each quote opens at the start of a field, closes at the end of one, or is one of a doubled pair."""
    if not len(quotes):
        return True
    opening, closing = quotes[0::2], quotes[1::2]
    before = array[np.maximum(opening - 1, 0)]
    opens_well = (opening == 0) | (before == _COMMA) | (before == _NEWLINE) | (before == _QUOTE)
    after = array[closing + 1]  # a record ends with a line end, so there is a byte after each closing quote
    ends_line = (after == _RETURN) & (array[np.minimum(closing + 2, len(array) - 1)] == _NEWLINE)
    closes_well = (after == _COMMA) | (after == _NEWLINE) | (after == _QUOTE) | ends_line
    return bool(opens_well.all() and closes_well.all())


def _batch(text: bytes, ends: np.ndarray, fields: pa.Array) -> pa.RecordBatch:
    """A batch of the records that end at the given line ends of a text, blank ones left out.

    The place of a record's end stands for its number, which is known only once all blocks before it are cut.
    """
    lines = pa.StringArray.from_buffers(len(ends), _offsets(ends + 1), pa.py_buffer(text))
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts
    problems = np.where(lengths > MAX_RECORD_BYTES, 2, 0).astype(np.int8)
    places = pa.array(ends.astype(np.int64))
    batch = pa.RecordBatch.from_arrays([places, fields, lines, pa.array(problems)], schema=SCHEMA)
    first = np.frombuffer(text, dtype=np.uint8)[starts]
    blank = (lengths == 0) | ((lengths == 1) & (first == _RETURN))
    return batch.filter(pa.array(~blank)) if blank.any() else batch


def _offsets(ends: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.concatenate(([0], ends)).astype(np.int32))


def _split_tolerantly(text: bytes, is_last: bool) -> tuple[pa.RecordBatch | None, int]:
    """Cut text with irregular quotes; a record that cannot be split ends at its line, and the next line starts another.

    Regular records are gathered and cut together; only the others are read one by one.
    """
    runs: list[bytes] = []
    regular_bytes = 0
    irregular: list[tuple[list[str] | None, bytes, int]] = []
    places: list[int] = []  # bytes of regular records before each irregular one
    position = 0
    while position < len(text):
        run = _REGULAR_RUN.match(text, position)
        if run is not None:
            runs.append(run.group())
            regular_bytes += len(runs[-1])
            position = run.end()
            continue
        record = _RECORD.match(text, position)
        if record is not None:
            line = record.group()
            fields = [_unquote(field) for field in _FIELD.finditer(line)]
            irregular.append((fields, line, 2 if len(line) > MAX_RECORD_BYTES else 0))
            position = record.end()
        else:
            line_end = text.find(b"\n", position)
            may_go_on = not is_last and len(text) - position <= MAX_RECORD_BYTES
            if line_end < 0 or (may_go_on and _UNFINISHED.match(text, position)):
                break
            irregular.append((None, text[position : min(line_end, position + _HEAD_BYTES)], 1))
            position = line_end + 1
        places.append(regular_bytes)
    regular = _split_regular(b"".join(runs)) if runs else None
    if not irregular:
        return regular, position
    others = _batch_of(irregular)
    if regular is None:
        return others, position
    before = np.searchsorted(regular.column("row_number").to_numpy(), places)
    order = np.argsort(np.concatenate((np.arange(len(regular)), before - 0.5)), kind="stable")
    return pa.concat_batches([regular, others]).take(pa.array(order)), position


def _unquote(field: re.Match[bytes]) -> str:
    quoted, plain = field.groups()
    value: bytes = plain if quoted is None else quoted.replace(b'""', b'"')
    return value.decode("utf-8")


def _batch_of(records: list[tuple[list[str] | None, bytes, int]]) -> pa.RecordBatch:
    fields, lines, problems = zip(*records, strict=True)
    text = [line.decode("utf-8", errors="ignore") for line in lines]
    numbers = pa.array(np.zeros(len(records), dtype=np.int64))
    columns = [numbers, pa.array(fields, SCHEMA.field("fields").type), pa.array(text), pa.array(problems, pa.int8())]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)

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
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from orchestration.landing.errors import FileRefusedError

BLOCK_BYTES = 4 * 1024 * 1024
MAX_RECORD_BYTES = 4 * 1024 * 1024

#: What is wrong with a record that could not be split, by the number in the `problem` column; 0 is none.
PROBLEMS = {
    1: "a quote is not closed, or text follows a closing quote",
    2: f"longer than {MAX_RECORD_BYTES // (1024 * 1024)} MiB",
}

#: `row_number` from 1, blank records not counted; `fields` is NULL where `problem` is not 0; `line` keeps its line end.
SCHEMA = pa.schema(
    [("row_number", pa.int64()), ("fields", pa.list_(pa.string())), ("line", pa.string()), ("problem", pa.int8())]
)

_NEWLINE, _RETURN, _QUOTE, _COMMA = 10, 13, 34, 44
_BOM = b"\xef\xbb\xbf"

# One record with its line end. A quoted field must be closed and followed by a comma or the line end; a quote within an
# unquoted field is a character as any other. Atomic groups keep the time linear.
_RECORD = re.compile(
    rb'(?>(?:"(?>[^"]*(?:""[^"]*)*)"(?=,|\r?\n)|[^",\n][^,\n]*+|(?=[,\n]))(?:,(?:"(?>[^"]*(?:""[^"]*)*)"(?=,|\r?\n)|[^",\n][^,\n]*+|(?=[,\n])))*+)\r?\n'
)
_FIELD = re.compile(rb'(?:"([^"]*(?:""[^"]*)*)"|([^,\n]*?))(?:,|\r?\n)')


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
            if skipping:
                line_end = block.find(b"\n")
                if line_end < 0:
                    continue
                block, skipping = block[line_end + 1 :], False
            pending = rest + block
            if is_last and pending and not pending.endswith(b"\n"):
                pending += b"\n"
            self._expect_utf8(pending)
            records, cut = self._split(pending, is_last)
            rest = pending[cut:]
            if len(rest) > MAX_RECORD_BYTES:
                head = rest[:1000].decode("utf-8", errors="ignore")
                oversize = _batch([None], [head], [2])
                records = oversize if records is None else pa.concat_batches([records, oversize])
                line_end = rest.find(b"\n")
                rest, skipping = (b"", True) if line_end < 0 else (rest[line_end + 1 :], False)
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

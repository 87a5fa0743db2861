"""Cutting text into records and fields: as the csv module does, whatever the size of the blocks."""

import csv
import gzip
import hashlib
import io
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.landing import records
from orchestration.landing.errors import FileRefusedError
from orchestration.landing.records import TextRecords

FIELD = st.text(alphabet='ab,"\n é', max_size=5)
PIECE = st.sampled_from(["a", "é", ",", '"', '""', "\n", "\r\n", "\r", '5" a', '"b"', '"c\nd ""e\n"', '"f"g', ',"'])
CSV_TEXT = st.lists(PIECE, max_size=20).map("".join)


def read(
    content: bytes, *, quoted: bool = True, compressed: bool = False, block: int = 1 << 22
) -> list[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BLOCK_BYTES", block)
        text = TextRecords(io.BytesIO(content), compressed=compressed, quoted=quoted)
        batches = list(text.batches())
    for batch in batches:
        batch.validate(full=True)
    rows = pa.Table.from_batches(batches, records.SCHEMA).to_pylist()
    assert [row["row_number"] for row in rows] == list(range(1, len(rows) + 1))
    return rows


def fields(content: str, **options: Any) -> list[list[str] | None]:
    return [row["fields"] for row in read(content.encode(), **options)]


@settings(deadline=None)
@given(
    rows=st.lists(st.lists(FIELD, min_size=2, max_size=4), min_size=1, max_size=20),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    block=st.sampled_from([1, 2, 5, 30, 1 << 22]),
)
def test_what_the_csv_module_writes_is_read_back(
    rows: list[list[str]], line_end: str, quoting: Any, block: int
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator=line_end, quoting=quoting).writerows(rows)
    assert fields(text.getvalue(), block=block) == rows


@settings(max_examples=300, deadline=None)
@given(text=CSV_TEXT, block=st.integers(1, 25))
def test_the_size_of_the_blocks_does_not_matter(text: str, block: int) -> None:
    assert read(text.encode(), block=block) == read(text.encode())


@settings(deadline=None)
@given(text=CSV_TEXT)
def test_no_line_is_lost(text: str) -> None:
    lines = "".join(row["line"].rstrip("\r\n") for row in read(text.encode()))
    assert lines.replace("\n", "").replace("\r", "") == text.replace("\n", "").replace("\r", "")


@settings(max_examples=50, deadline=None)
@given(text=CSV_TEXT, block=st.sampled_from([1, 3, 1 << 22]))
def test_gzip_makes_no_difference(text: str, block: int) -> None:
    assert read(gzip.compress(text.encode()), compressed=True, block=block) == read(text.encode())


def test_a_quote_within_an_unquoted_field_is_a_character() -> None:
    assert fields('a,5" disc,c\nd,e,f\n') == [["a", '5" disc', "c"], ["d", "e", "f"]]


def test_text_after_a_closing_quote_spoils_its_line_only() -> None:
    assert fields('a,b\nc,"d"x\ne,f\n') == [["a", "b"], None, ["e", "f"]]


def test_a_quote_that_is_never_closed_spoils_its_line_only() -> None:
    rows = read(b'a,b\nc,"d\ne,f\n\ng,h')
    assert [row["fields"] for row in rows] == [["a", "b"], None, ["e", "f"], ["g", "h"]]
    assert rows[1]["line"] == 'c,"d'


def test_a_quote_that_is_never_closed_spoils_its_line_only_in_a_large_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 1000)
    good = [f"{n},x" for n in range(2000)]
    rows = fields("\n".join(["a,b", 'c,"d', *good, "y,z"]), block=500)
    assert rows[1] is None
    assert rows[0] == ["a", "b"]
    assert rows[2:] == [*(line.split(",") for line in good), ["y", "z"]]


@pytest.mark.parametrize("block", range(1, 30))
def test_a_quoted_line_break_at_the_end_of_a_block_is_no_end_of_a_record(block: int) -> None:
    assert fields('5" a,b\n"c\nd ""e\n",f\ng,h\n', block=block) == [['5" a', "b"], ['c\nd "e\n', "f"], ["g", "h"]]


def test_a_record_that_is_too_long_is_reported_and_what_follows_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 1000)
    for block in (100, 10_000):
        rows = read(b"a,b\nc," + b"d" * 5000 + b"\ne,f\n", block=block)
        assert [row["problem"] for row in rows] == [0, 2, 0]
        assert rows[2]["fields"] == ["e", "f"]


def test_lines_are_not_split_where_nothing_is_quoted() -> None:
    rows = read(b'{"a": 1}\r\n\r\n\n"open\nlast', quoted=False)
    assert [row["line"].rstrip() for row in rows] == ['{"a": 1}', '"open', "last"]
    assert [row["fields"] for row in rows] == [None, None, None]


def test_bytes_that_are_not_utf8_are_found_across_blocks() -> None:
    content = "a,é\n".encode() * 50 + b"a,\xe9\n"
    for block in (1, 3, 7, 1000):
        with pytest.raises(FileRefusedError, match="line 51 holds the byte 0xe9"):
            read(content, block=block)


def test_the_hash_is_that_of_the_bytes_of_the_file() -> None:
    content = gzip.compress(b"a,b\n" * 1000)
    text = TextRecords(io.BytesIO(content), compressed=True, quoted=True)
    list(text.batches())

    assert text.content_hash == hashlib.sha256(content).hexdigest()

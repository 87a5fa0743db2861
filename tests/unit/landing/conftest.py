"""Fixtures of the landing tests: an empty landing folder, and a warehouse to load it into."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.unit.landing.folder import Landing, Warehouse


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    root = tmp_path / "landing"
    root.mkdir()
    return Landing(root)


@pytest.fixture
def warehouse() -> Iterator[Warehouse]:
    connection = duckdb.connect(":memory:")
    yield Warehouse(connection)
    connection.close()

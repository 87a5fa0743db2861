"""A build file that dbt can work on, with raw tables that a test fills by hand."""

from collections.abc import Callable

import pytest

from tests.dbt.invocation import Dbt
from tests.dbt.raw_schema import RawSchema


@pytest.fixture(scope="session")
def dbt(tmp_path_factory: pytest.TempPathFactory) -> Dbt:
    return Dbt(tmp_path_factory.mktemp("dbt"))


@pytest.fixture(scope="module")
def fresh_raw(dbt: Dbt) -> Callable[[], RawSchema]:
    """Makes an empty raw schema in place of whatever the build file holds."""

    def make() -> RawSchema:
        for path in dbt.build_file.parent.glob("build.duckdb*"):
            path.unlink()
        return RawSchema(dbt.build_file)

    return make

"""Column lineage is read off the SQL once for a version of the project, and said of every run all the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from dagster import AssetKey, Output, TableColumnDep, TableColumnLineage

from orchestration.warehouse import column_lineage
from orchestration.warehouse.column_lineage import LINEAGE, KnownLineage

MADE_FROM = {"total": [TableColumnDep(AssetKey(["core", "fact"]), name) for name in ("price", "pieces")], "day": []}


class Described:
    """What dagster-dbt says of outputs: a seed has no lineage, a model that cannot be read neither."""

    asked: list[bool] = []  # noqa: RUF012 - one record for the test

    def __init__(self, built: Iterator[Output[None]], invocation: Any) -> None:
        self._built = built

    def fetch_row_counts(self) -> Self:
        return self

    def fetch_column_metadata(self, *, with_column_lineage: bool) -> Iterator[Output[None]]:
        self.asked.append(with_column_lineage)
        for output in self._built:
            kind = output.output_name.split("__")[0]
            lineage = {LINEAGE: TableColumnLineage(MADE_FROM)} if with_column_lineage and kind == "model" else {}
            kind = kind.removesuffix("_unread")
            yield output.with_metadata({"rows": 1, "unique_id": f"{kind}.zhiying.{output.output_name}", **lineage})


@pytest.fixture(autouse=True)
def _dbt(monkeypatch: pytest.MonkeyPatch) -> None:
    Described.asked = []
    monkeypatch.setattr(column_lineage, "DbtEventIterator", Described)


def described(folder: Path, *names: str, of: str = "v1") -> dict[str, Any]:
    """Lineage by output, in the order in which the outputs came."""
    built = [Output(None, output_name=name) for name in names]
    outputs = KnownLineage(folder, of).with_metadata(built, invocation=None)  # type: ignore[arg-type]
    said = {output.output_name: output.metadata for output in outputs}
    assert all("rows" in metadata for metadata in said.values())
    return {name: metadata[LINEAGE].value if LINEAGE in metadata else None for name, metadata in said.items()}


def as_sets(lineage: TableColumnLineage) -> dict[str, set[TableColumnDep]]:
    return {column: set(deps) for column, deps in lineage.deps_by_column.items()}


def test_what_is_known_is_not_read_again_and_said_as_before(tmp_path: Path) -> None:
    first = described(tmp_path / "target", "seed__a", "model__b", "snapshot__c", "model__d")
    again = described(tmp_path / "target", "seed__a", "model__b", "snapshot__c", "model__d")
    assert Described.asked == [True, False]
    assert list(first) == list(again) == ["seed__a", "model__b", "snapshot__c", "model__d"]
    for said in (first, again):
        assert said["seed__a"] is said["snapshot__c"] is None
        assert as_sets(said["model__b"]) == as_sets(TableColumnLineage(MADE_FROM))


@pytest.mark.parametrize("change", [{"of": "v2"}, {"more": "model__new"}], ids=["another version", "another model"])
def test_what_is_not_known_is_read(tmp_path: Path, change: dict[str, str]) -> None:
    described(tmp_path, "model__b")
    said = described(tmp_path, "model__b", *filter(None, [change.get("more")]), of=change.get("of", "v1"))
    assert Described.asked == [True, True]
    assert None not in said.values()


def test_a_model_that_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    for _ in range(2):
        assert described(tmp_path, "model_unread__b") == {"model_unread__b": None}
    assert Described.asked == [True, True]


def test_a_part_of_what_is_known_is_known(tmp_path: Path) -> None:
    described(tmp_path, "model__b", "model__d")
    described(tmp_path, "model__e")
    assert set(described(tmp_path, "model__d", "model__e")) == {"model__d", "model__e"}
    assert Described.asked == [True, True, False]
    assert not list(tmp_path.glob("*.tmp"))

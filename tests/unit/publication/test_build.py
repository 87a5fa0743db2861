from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from orchestration.publication.build import VerificationError, build_publication, table_content, verify_schema
from orchestration.publication.promise import PromisedColumn, promised_tables
from orchestration.resources.warehouse import connect
from tests.sample import ITEM, PROMISED, promised_table, write_build_file


@pytest.fixture
def build_file(tmp_path: Path) -> Path:
    file = tmp_path / "build.duckdb"
    write_build_file(file)
    return file


@pytest.fixture
def published(tmp_path: Path, build_file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    target = tmp_path / "publication.duckdb"
    build_publication(build_file, target, tmp_path / "parquet", PROMISED, memory_limit="1GB")
    with connect(target, read_only=True) as connection:
        yield connection


def test_a_publication_holds_the_promised_rows_in_their_order(published: duckdb.DuckDBPyConnection) -> None:
    assert published.execute("from core.dim_item").fetchall() == [
        ("film:1", "1", "One"),
        ("film:2", "2", "Two"),
        ("film:3", "3", "Tree"),
        ("knowledge:3", "3", "Three [live]"),
    ]


def test_the_mirror_holds_the_same_rows(tmp_path: Path, published: duckdb.DuckDBPyConnection) -> None:
    mirrored = published.execute(
        f"from read_parquet('{tmp_path}/parquet/recommendations/user_item.parquet')"
    ).fetchall()
    assert mirrored == published.execute("from recommendations.user_item").fetchall()


def test_descriptions_travel_with_the_tables(published: duckdb.DuckDBPyConnection) -> None:
    comments = published.execute("select comment from duckdb_columns() where table_name = 'dim_item'").fetchall()
    assert comments == [("The item_key's value.",), ("The item_id's value.",), ("The title's value.",)]


def test_recommend_gives_the_first_n_of_each_side(published: duckdb.DuckDBPyConnection) -> None:
    asked = "select target_domain, rank from recommend('ann', n := 2)"
    assert published.execute(asked).fetchall() == [("film", 1), ("film", 2), ("knowledge", 1), ("knowledge", 2)]
    assert published.execute("select rank from recommend('ann', 2, 'film')").fetchall() == [(1,), (2,)]
    assert published.execute("from recommend('nobody')").fetchall() == []


def test_similar_takes_an_id_or_a_key(published: duckdb.DuckDBPyConnection) -> None:
    for asked in ("1", "film:1"):
        assert published.execute("select title from similar(?)", [asked]).fetchall() == [("Two",)]


def test_recommend_names_the_item_and_says_why_in_both_languages(published: duckdb.DuckDBPyConnection) -> None:
    asked = "select item_key, item_id, reason, reason_zh from recommend('ann', 1, 'film')"
    assert published.execute(asked).fetchall() == [("film:1", "1", "Because.", "因为。")]


@pytest.mark.parametrize("item", ["3", "film:3"])
def test_explain_names_the_past_items_with_their_shares_once_a_side(
    published: duckdb.DuckDBPyConnection, item: str
) -> None:
    asked = (
        "select target_domain, rank, past_item, past_share, past_item_2, past_share_2, past_item_3, past_share_3, "
        "shared_topics, reason, reason_zh, propensity, model_version from explain('ann', ?)"
    )
    told = (3, "Two", 0.5, "Three [live]", 0.25, None, None, "drama", "Because.", "因为。", 0.9, "v1")
    assert published.execute(asked, [item]).fetchall() == [("film", *told), ("knowledge", *told)]
    assert published.execute("from explain('bob', ?)", [item]).fetchall() == []


def test_a_promised_table_that_is_missing_stops_the_publication(tmp_path: Path, build_file: Path) -> None:
    missing = promised_table("core.dim_topic", {"topic_key": "varchar"}, ("topic_key",))
    with pytest.raises(VerificationError, match=r"core\.dim_topic cannot be copied as promised"):
        build_publication(build_file, tmp_path / "p.duckdb", tmp_path / "q", [missing], memory_limit="1GB")


def test_a_column_that_cannot_have_the_promised_type_stops_the_publication(tmp_path: Path, build_file: Path) -> None:
    wrong = promised_table("core.dim_item", {"item_key": "text", "title": "integer"}, ("item_key",))
    with pytest.raises(VerificationError, match="cannot be copied as promised"):
        build_publication(build_file, tmp_path / "p.duckdb", tmp_path / "q", [wrong], memory_limit="1GB")


@pytest.mark.parametrize(
    "columns",
    [{"item_key": "text", "item_id": "text"}, {"item_key": "text", "item_id": "text", "name": "text"}],
)
def test_another_schema_than_promised_is_noticed(published: duckdb.DuckDBPyConnection, columns: dict[str, str]) -> None:
    with pytest.raises(VerificationError, match=r"core\.dim_item: the file has 3 columns"):
        verify_schema(published, promised_table("core.dim_item", columns, ("item_key",)))


@pytest.mark.parametrize(
    "change",
    [
        "update core.dim_item set title = 'Zwei' where item_id = '2'",
        "delete from core.dim_item where item_id = '2'",
        "insert into core.dim_item select * from core.dim_item",
        "update core.dim_item set title = null where item_id = '1'",
    ],
)
def test_the_checksum_notices_every_change_of_content(build_file: Path, change: str) -> None:
    with connect(build_file) as connection:
        before = table_content(connection, "core.dim_item", ITEM)
        connection.execute(change)
        assert table_content(connection, "core.dim_item", ITEM).checksum != before.checksum


def test_the_checksum_does_not_depend_on_the_order_of_rows(build_file: Path) -> None:
    with connect(build_file) as connection:
        before = table_content(connection, "core.dim_item", ITEM)
        connection.execute("create table core.sorted as from core.dim_item order by item_key")
        assert table_content(connection, "core.sorted", ITEM) == before


def node(**changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "schema": "core",
        "alias": "dim_item",
        "description": "One row per item.",
        "original_file_path": "models/core/dim_item.sql",
        "columns": {"item_key": {"name": "item_key", "data_type": "varchar", "description": "Key."}},
        "config": {"meta": {"published": True, "order_by": ["item_key"]}},
    }
    return {**base, **changes}


def test_the_promise_is_what_is_marked_as_published() -> None:
    hidden = node(alias="int_item", config={"meta": {}})
    promised = promised_tables({"nodes": {"a": node(), "b": hidden}, "sources": {}})
    assert [t.qualified_name for t in promised] == ["core.dim_item"]
    assert promised[0].columns == (PromisedColumn("item_key", "varchar", "Key."),)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (node(columns={}), "no columns"),
        (node(columns={"a": {"name": "a"}}), "no data_type"),
        (node(config={"meta": {"published": True}}), "order_by"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused(broken: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        promised_tables({"nodes": {"a": broken}, "sources": {}})

"""The contract is one file: it is checked when it is read, and what is derived from it is up to date."""

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from orchestration.landing import generate
from orchestration.landing.contract import CONTRACT_PATH, ContractError, load_contract, project_contract
from orchestration.landing.generate import DBT_SOURCES_PATH, DOCS_PATH, render_dbt_sources, render_docs
from orchestration.landing.raw_schema import ensure_raw_schema


def changed(tmp_path: Path, change: Any) -> Path:
    """The contract of the project with a change, in a file."""
    document = yaml.safe_load(CONTRACT_PATH.read_text(encoding="utf-8"))
    change(document)
    path = tmp_path / "contract.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def events(document: Any) -> Any:
    return next(entry for entry in document["tables"] if (entry["source"], entry["table"]) == ("film", "events"))


def test_the_documentation_page_is_up_to_date() -> None:
    assert DOCS_PATH.read_text(encoding="utf-8") == render_docs(), "run python -m orchestration.landing.generate"


def test_the_dbt_sources_are_up_to_date() -> None:
    assert DBT_SOURCES_PATH.read_text(encoding="utf-8") == render_dbt_sources(), (
        "run python -m orchestration.landing.generate"
    )


def test_both_files_are_written_by_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "DOCS_PATH", tmp_path / "docs" / "landing.md")
    monkeypatch.setattr(generate, "DBT_SOURCES_PATH", tmp_path / "dbt" / "_sources.yml")
    generate.main()
    assert (tmp_path / "docs" / "landing.md").read_text(encoding="utf-8") == render_docs()
    assert (tmp_path / "dbt" / "_sources.yml").read_text(encoding="utf-8") == render_dbt_sources()


def test_the_documentation_page_says_every_table_column_and_code() -> None:
    page = render_docs()
    for table in project_contract().tables:
        assert f"### `{table.path}`" in page
        for column in table.columns:
            assert f"| {column.name}{'*' if column.required else ''} | {column.type} | {column.description}" in page
    assert "Where event_type is rating, value is from 1 to 5 in steps of 0.5 and is required." in page


def test_the_dbt_sources_are_the_raw_tables_as_they_are_made() -> None:
    connection = duckdb.connect(":memory:")
    ensure_raw_schema(connection, project_contract())
    made: dict[str, dict[str, str]] = {}
    for table, column, data_type in connection.execute(
        "select table_name, column_name, data_type from duckdb_columns() where schema_name = 'raw'"
    ).fetchall():
        made.setdefault(table, {})[column] = data_type
    made.pop("file_state")
    declared = {
        table.get("identifier", table["name"]): {column["name"]: column["data_type"] for column in table["columns"]}
        for source in yaml.safe_load(render_dbt_sources())["sources"]
        for table in source["tables"]
    }
    assert declared == made


def test_every_table_of_the_landing_zone_is_in_the_contract() -> None:
    assert [table.path for table in project_contract().tables] == [
        "knowledge/users",
        "knowledge/contents",
        "knowledge/events",
        "film/users",
        "film/films",
        "film/credits",
        "film/events",
        "identity/account_links",
        "social/follows",
        "marketing/campaigns",
        "marketing/exposures",
        "marketing/responses",
        "privacy/consents",
        "privacy/erasure_requests",
    ]


def test_both_platforms_deliver_events_in_the_same_form() -> None:
    contract = project_contract()
    film, knowledge = contract.table("film", "events"), contract.table("knowledge", "events")
    renamed = ["film_id" if column.name == "content_id" else column.name for column in knowledge.columns]
    assert renamed == [column.name for column in film.columns]
    assert film.rules == knowledge.rules


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("version"), "the contract: lacks version"),
        (lambda d: d.update(owner="me"), "the contract: has unknown keys owner"),
        (lambda d: d["tables"].append(d["tables"][0]), "a table is there twice"),
        (lambda d: events(d).update(key=["value"]), "table film/events: key column 'value' must be a required column"),
        (lambda d: events(d)["columns"].append(events(d)["columns"][0]), "table film/events: a column is there twice"),
        (lambda d: events(d)["columns"][0].update(type="uuid"), "column 'event_id': type 'uuid' is none of text, "),
        (
            lambda d: events(d)["columns"][0].update(codes="colour"),
            "column 'event_id': code set 'colour' is not defined",
        ),
        (lambda d: events(d)["columns"][5].update(codes="arm"), "column 'value': only text can be coded"),
        (lambda d: events(d)["columns"][0].update(range=[1, 2]), "column 'event_id': only a number can have a range"),
        (lambda d: events(d)["columns"][5].update(range=[2, 1]), "column 'value': range must be"),
        (lambda d: events(d)["columns"][0].update(planned=True), "column 'event_id': only a timestamp can be planned"),
        (lambda d: events(d)["columns"][0].update(account="film"), "column 'event_id': a user id must be personal"),
        (lambda d: events(d)["columns"][1].update(account="place"), "account of 'user_id' must be a platform or"),
        (lambda d: events(d)["columns"][5].update(name="_id"), "column '_id' must not start with '_'"),
        (lambda d: events(d)["rules"][0].update(when={"event_type": "seen"}), "`when` needs a code of a coded column"),
        (lambda d: events(d)["rules"][0].update(when={}), "`when` must name one column and a code"),
        (lambda d: events(d)["rules"][0].update(column="worth"), "column 'worth' is not defined"),
        (lambda d: events(d)["rules"][0].update(step=-1), "`step` must be positive"),
        (lambda d: d["code_sets"]["arm"].update(codes=[True]), "code set 'arm': codes must be text"),
        (lambda d: d["code_sets"]["arm"].update(codes=["a", "a"]), "code set 'arm': a code is there twice"),
    ],
)
def test_a_contract_that_contradicts_itself_is_refused(tmp_path: Path, change: Any, message: str) -> None:

    with pytest.raises(ContractError, match=re.escape(message)):
        load_contract(changed(tmp_path, change))


def test_unknown_names_are_errors() -> None:
    with pytest.raises(KeyError, match="film/books"):
        project_contract().table("film", "books")
    with pytest.raises(KeyError, match="no column 'worth'"):
        project_contract().table("film", "events").column("worth")
    assert project_contract().table("film", "events").column("value").type == "number"

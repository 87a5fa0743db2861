"""Each generic test is run on a tiny good and a tiny bad table: it passes on the one and fails on the other."""

import shutil

import pytest
import yaml

from tests.dbt.invocation import Dbt
from tests.dbt.raw_schema import PROJECT

# Generic test -> arguments, a good table, and bad tables by what is wrong with them. Tables are SQL.
CASES = {
    "unique_key": (
        {"columns": ["a", "b"]},
        "select * from (values (1, 1), (1, 2), (2, 1)) as t (a, b)",
        {
            "repeated": "select * from (values (1, 1), (1, 2), (1, 1)) as t (a, b)",
            "part_is_null": "select * from (values (1, 1), (1, null)) as t (a, b)",
        },
    ),
    "no_nulls": (
        {"columns": ["a", "b"]},
        "select * from (values (1, 1), (1, 2)) as t (a, b)",
        {"one_null": "select * from (values (1, 1), (1, null)) as t (a, b)"},
    ),
    "resolved_share": (
        {"column": "a", "to": "source('tables', 'parents')", "field": "parent_key", "min_share": 0.5},
        "select * from (values (1), (2), (9), (null)) as t (a)",
        {
            "all_null": "select cast(null as integer) as a from range(3)",
            "orphans": "select * from (values (1), (8), (9)) as t (a)",
        },
    ),
    "accepted_range": (
        {"column": "a", "at_least": 0, "at_most": 1},
        "select * from (values (0), (0.5), (1), (null)) as t (a)",
        {
            "too_low": "select * from (values (0.5), (-0.1)) as t (a)",
            "too_high": "select * from (values (0.5), (1.1)) as t (a)",
        },
    ),
    "finite": (
        {"column": "a"},
        "select * from (values (0.0), (-1e300)) as t (a)",
        {
            "nan": "select * from (values (1.0), ('nan'::double)) as t (a)",
            "infinite": "select * from (values (1.0), ('-inf'::double)) as t (a)",
            "null": "select * from (values (1.0), (null)) as t (a)",
        },
    ),
    "one_history": (
        {"key": "k", "valid_from": "f", "valid_to": "t"},
        "select * from (values (1, 1, 3), (1, 3, null), (2, 5, null)) as t (k, f, t)",
        {
            "overlap": "select * from (values (1, 1, 4), (1, 3, null)) as t (k, f, t)",
            "gap": "select * from (values (1, 1, 2), (1, 3, null)) as t (k, f, t)",
            "none_open": "select * from (values (1, 1, 3), (1, 3, 4)) as t (k, f, t)",
            "two_open": "select * from (values (1, 1, null), (1, 3, null)) as t (k, f, t)",
            "empty_version": "select * from (values (1, 1, 1), (1, 1, null)) as t (k, f, t)",
            "inverted": "select * from (values (1, 3, 1), (1, 1, null)) as t (k, f, t)",
        },
    ),
    "one_open_state": (
        {"key": "k"},
        "select * from (values (1, null), (1, 3), (2, 5)) as t (k, dbt_valid_to)",
        {
            "two_open": "select * from (values (1, null), (1, null)) as t (k, dbt_valid_to)",
            "key_is_null": "select * from (values (null, 1)) as t (k, dbt_valid_to)",
        },
    ),
    "dense_ranks": (
        {"partition_by": ["k"], "rank": "r", "member": "m"},
        "select * from (values ('x', 1, 'a'), ('x', 2, 'b'), ('y', 1, 'a')) as t (k, r, m)",
        {
            "hole": "select * from (values ('x', 1, 'a'), ('x', 3, 'b')) as t (k, r, m)",
            "starts_at_2": "select * from (values ('x', 2, 'a'), ('x', 3, 'b')) as t (k, r, m)",
            "rank_twice": "select * from (values ('x', 1, 'a'), ('x', 1, 'b')) as t (k, r, m)",
            "rank_null": "select * from (values ('x', 1, 'a'), ('x', null, 'b')) as t (k, r, m)",
            "member_twice": "select * from (values ('x', 1, 'a'), ('x', 2, 'a')) as t (k, r, m)",
            "list_of_nobody": "select * from (values (null, 1, 'a')) as t (k, r, m)",
        },
    ),
    "same_count_as": (
        {"other": "source('tables', 'parents')"},
        "select * from range(3)",
        {"lost_one": "select * from range(2)", "one_more": "select * from range(4)"},
    ),
    "same_rows_as": (
        {"columns": ["parent_key"], "other": "source('tables', 'parents')"},
        "select * from (values (3), (1), (2)) as t (parent_key)",
        {
            "lost_one": "select * from (values (3), (1)) as t (parent_key)",
            "all_lost": "select 1 as parent_key where false",
            "changed_one": "select * from (values (3), (1), (4)) as t (parent_key)",
            "one_twice": "select * from (values (3), (3), (1)) as t (parent_key)",
        },
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Status of every test run on every table, from one dbt invocation: (generic test, table) -> status."""
    folder = tmp_path_factory.mktemp("generic")
    project = folder / "project"
    (project / "models").mkdir(parents=True)
    shutil.copytree(PROJECT / "tests" / "generic", project / "tests" / "generic")
    shutil.copy(PROJECT / "profiles.yml", project)
    settings = {"name": "trial", "profile": "zhiying", "flags": {"send_anonymous_usage_stats": False}}
    (project / "dbt_project.yml").write_text(yaml.safe_dump(settings))
    dbt = Dbt(folder, project)
    tables = [{"name": "parents"}]
    for test, (_, good, bad) in CASES.items():
        for name, sql in {"good": good, **bad}.items():
            (project / "models" / f"{test}__{name}.sql").write_text(f"select * from ({sql})")
    models = [
        {"name": f"{test}__{name}", "data_tests": [{test: {"name": f"{test}__on__{name}", "arguments": arguments}}]}
        for test, (arguments, _, bad) in CASES.items()
        for name in ("good", *bad)
    ]
    sources = [{"name": "tables", "schema": "main", "tables": tables}]
    (project / "models" / "cases.yml").write_text(yaml.safe_dump({"models": models, "sources": sources}))
    (project / "macros").mkdir()
    start = "{% macro parents() %}create or replace table parents as from (values (1), (2), (3)) as t (parent_key){% endmacro %}"
    (project / "macros" / "parents.sql").write_text(start)
    settings["on-run-start"] = ["{{ parents() }}"]
    (project / "dbt_project.yml").write_text(yaml.safe_dump(settings))
    ran = dbt("build")
    statuses = {uid.split(".")[2]: status for uid, status in ran.statuses.items() if uid.startswith("test.")}
    assert len(statuses) == sum(1 + len(bad) for _, _, bad in CASES.values()), ran.output
    return {tuple(name.split("__on__")): status for name, status in statuses.items()}


@pytest.mark.parametrize("test", CASES)
def test_a_generic_test_passes_on_a_good_table(outcomes, test):
    assert outcomes[test, "good"] == "pass"


@pytest.mark.parametrize(("test", "fault"), [(test, fault) for test, case in CASES.items() for fault in case[2]])
def test_a_generic_test_fails_on_a_bad_table(outcomes, test, fault):
    assert outcomes[test, fault] == "fail"


def test_every_generic_test_of_the_project_is_tried():
    assert {path.stem for path in (PROJECT / "tests" / "generic").glob("*.sql")} == set(CASES)

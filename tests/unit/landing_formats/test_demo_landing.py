"""The demo landing zone against the landing contract: it loads, and what does not is refused for the reason that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.landing.check import check_landing
from orchestration.landing.contract import project_contract
from orchestration.landing.report import LoadReport
from simulation.demo import NEXT_DAYS, DemoSummary, write_demo_day, write_demo_landing
from simulation.world import build_world


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoSummary:
    return write_demo_landing(tmp_path_factory.mktemp("demo") / "landing", days=21)


@pytest.fixture(scope="module")
def report(demo: DemoSummary) -> LoadReport:
    return check_landing(demo.landing_dir)


def test_all_tables_of_the_contract_are_delivered_but_credits(demo: DemoSummary) -> None:
    """MovieTweetings names no directors or actors, and real films get no invented ones."""
    expected = {table.path for table in project_contract().tables} - {"film/credits"}

    assert set(demo.rows_by_table) == expected


def test_every_good_row_loads_and_every_bad_one_does_not(demo: DemoSummary, report: LoadReport) -> None:
    for table in report.tables:
        name = f"{table.source}/{table.table_name}"
        assert table.rows_loaded == demo.rows_by_table.get(name, 0), name
        assert table.rows_quarantined == demo.bad_rows.get(name, 0), name
        assert not table.is_over_limit, name


def test_repeated_files_are_the_only_duplicates(demo: DemoSummary, report: LoadReport) -> None:
    outcome = {file.file: file for file in report.files}

    assert sum(table.rows_duplicate for table in report.tables) == sum(
        outcome[path].rows_read for path in demo.repeated
    )


def test_the_broken_files_are_the_only_ones_refused(demo: DemoSummary, report: LoadReport) -> None:
    refused = {file.file: file.reason or "" for file in report.files if file.status == "refused"}

    assert set(refused) == set(demo.broken)
    assert len(set(refused.values())) == 4


def test_each_bad_row_is_refused_for_one_column(report: LoadReport) -> None:
    rows = [refusal for refusal in report.refusals if refusal.row_number is not None]

    assert rows
    assert all("; " not in refusal.reason for refusal in rows)
    assert {refusal.column_name for refusal in rows} >= {
        "value",
        "event_type",
        "occurred_at",
        "user_id",
        "amount",
        "currency",
    }


def test_one_file_has_a_column_that_the_contract_does_not_know(report: LoadReport) -> None:
    assert [file.unknown_columns for file in report.files if file.unknown_columns] == [("app_version",)]


def test_the_days_after_the_demo_load_too(tmp_path: Path) -> None:
    for day in NEXT_DAYS:
        write_demo_day(tmp_path, day)

    report = check_landing(tmp_path)

    assert {file.status for file in report.files} == {"new"}
    assert sum(table.rows_quarantined for table in report.tables) == 0


@pytest.mark.parametrize("name", sorted(build_world(7).tables))
def test_the_world_s_tables_have_columns_of_the_contract_only(name: str) -> None:
    table = project_contract().table(*name.split("/"))
    columns = build_world(7).tables[name].column_names

    assert set(table.required_columns) <= set(columns) <= {column.name for column in table.columns}

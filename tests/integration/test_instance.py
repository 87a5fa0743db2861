"""Dagster's instance of a home."""

import os
from collections.abc import Iterator

import pytest
from dagster import DagsterInstance, DagsterRunStatus
from sqlalchemy import create_engine, text

from orchestration.instance import (
    LAUNCHED_BY_COMMAND_LINE,
    HomeBusyError,
    light_commits,
    only_run_of,
    only_ui_of,
    open_instance,
    settle_runs,
)
from orchestration.settings import Settings


@pytest.fixture
def instance(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", os.environ.get("DAGSTER_HOME", ""))  # put back afterwards
    with open_instance(settings) as instance:
        yield instance


def started_run(instance: DagsterInstance, tags: dict[str, str]) -> str:
    run = instance.create_run_for_job(_job(), tags=tags, status=DagsterRunStatus.STARTED)
    return run.run_id


def _job():  # type: ignore[no-untyped-def]
    from dagster import job, op

    @op
    def nothing() -> None:
        pass

    @job
    def empty() -> None:
        nothing()

    return empty


def test_a_second_run_in_the_same_home_is_refused_while_the_first_works(settings: Settings) -> None:
    with only_run_of(settings), pytest.raises(HomeBusyError, match="Another run works in"), only_run_of(settings):
        pass
    with only_run_of(settings):
        pass


def test_runs_that_were_killed_are_marked_as_failed(settings: Settings, instance: DagsterInstance) -> None:
    dead = {started_run(instance, LAUNCHED_BY_COMMAND_LINE), started_run(instance, {})}
    assert set(settle_runs(settings, instance)) == dead
    assert {run.status for run in instance.get_runs()} == {DagsterRunStatus.FAILURE}
    assert settle_runs(settings, instance) == []


def test_a_run_of_a_web_ui_that_is_up_is_let_be(settings: Settings, instance: DagsterInstance) -> None:
    started_run(instance, {})
    with only_ui_of(settings), pytest.raises(HomeBusyError, match="A run of the web UI works in"):
        settle_runs(settings, instance)
    assert [run.status for run in instance.get_runs()] == [DagsterRunStatus.STARTED]


def test_one_writer_at_a_time_and_no_telemetry(instance: DagsterInstance) -> None:
    assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
    assert not instance.telemetry_enabled


def test_commits_are_light_only_as_long_as_the_instance_is_open(settings: Settings) -> None:
    url = f"sqlite:///{settings.home}/record.db"

    def synchronous() -> int:
        with create_engine(url).connect() as connection:
            return int(connection.execute(text("pragma synchronous")).scalar_one())

    with light_commits():
        assert synchronous() == 1
    assert synchronous() == 2

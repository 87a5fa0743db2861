"""Dagster's instance of a home."""

import os
from collections.abc import Iterator

import pytest
from dagster import DagsterInstance, DagsterRunStatus
from sqlalchemy import create_engine, text

from orchestration.instance import (
    LAUNCHED_BY_COMMAND_LINE,
    HomeBusyError,
    bury_dead_runs,
    light_commits,
    only_run_of,
    open_instance,
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


def test_only_runs_that_a_killed_command_line_left_are_buried(instance: DagsterInstance) -> None:
    ours = started_run(instance, LAUNCHED_BY_COMMAND_LINE)
    theirs = started_run(instance, {})
    assert bury_dead_runs(instance) == [ours]
    states = {run.run_id: run.status for run in instance.get_runs()}
    assert states == {ours: DagsterRunStatus.FAILURE, theirs: DagsterRunStatus.STARTED}
    assert bury_dead_runs(instance) == []


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

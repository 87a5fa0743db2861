"""A landing folder with three ratings by two people: the smallest input, and what can go wrong with a run over it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.e2e.conftest import Home, Say

RATINGS = """event_id,user_id,film_id,event_type,occurred_at,value
e1,u1,f1,rating,2026-01-01,5
e2,u1,f2,rating,2026-01-02,3
e3,u2,f1,rating,2026-01-03,4
"""


# Who is held out for evaluation is drawn by keys that depend on the secret; with this one it is nobody.
SECRET = {"ZHIYING_SECRET": "that of two people and three ratings"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, say: Say) -> Home:
    home = Home(tmp_path_factory.mktemp("small") / "home", say)
    home.environment = SECRET
    file = home.landing / "film" / "events" / "ratings.csv"
    file.parent.mkdir(parents=True)
    file.write_text(RATINGS)
    return home


@pytest.fixture(scope="module")
def interrupted(home: Home) -> subprocess.CompletedProcess[str]:
    """A run that somebody stops with Ctrl-C while dbt builds."""
    command = [str(Path(sys.executable).parent / "zhiying"), "run", "--home", str(home.path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | home.environment
    )
    end = time.monotonic() + 60
    while not any("START" in log.read_text() for log in home.path.glob("reports/run-*.log")) and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, out, error)


@pytest.fixture(scope="module")
def published(home: Home, interrupted: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The run after the interrupted one."""
    directory = Path.cwd()
    status, said = home.zhiying("run")
    assert status == 0, said
    assert Path.cwd() == directory, "the run has left the process in another working directory"
    return said


def test_an_interrupted_run_says_so_and_is_no_fault_of_the_data(interrupted: subprocess.CompletedProcess[str]) -> None:
    assert interrupted.returncode == 130
    assert "zhiying: interrupted; readers keep the publication that they had" in interrupted.stderr


def test_two_people_are_enough_for_a_publication(home: Home, published: dict[str, Any]) -> None:
    """u2 is recommended the film that only u1 has seen; for u1, who has seen everything, nothing is left."""
    assert published["is_new"]
    assert home.ask("select item_key, rank from recommendations.user_item") == [("film:f2", 1)]


def test_that_somebody_has_no_list_is_said(home: Home, published: dict[str, Any]) -> None:
    warned = {check["name"] for check in published["checks"]["warned"]}
    assert "people_without_a_list" in warned
    assert home.one("select status from quality.check_result where check_name = 'people_without_a_list'") == "warned"


def test_the_report_of_a_run_that_could_evaluate_nobody_says_so(home: Home, published: dict[str, Any]) -> None:
    page = Path(published["report"]).read_text()
    assert "<h1>Published</h1>" in page
    assert "people_without_a_list" in page
    assert "Nobody could be evaluated" in page
    assert Path(published["log"]).name in page


def test_a_time_before_the_first_event_is_the_calls_fault(home: Home, published: dict[str, Any]) -> None:
    before = home.publication
    status, said = home.zhiying("run", "--as-of", "2020-01-01")
    assert status == 2
    assert "nothing had happened yet: the first event is of 2026-01-01" in said["errors"][0]
    assert home.publication == before


def test_a_failed_test_of_dbt_is_named_and_nothing_is_published(home: Home, published: dict[str, Any]) -> None:
    before = home.publication
    with duckdb.connect(str(home.path / "warehouse" / "build.duckdb")) as connection:
        connection.execute("update raw.film__events set value = 9 where event_id = 'e1'")
    status, said = home.zhiying("run", "--full-refresh")
    assert status == 1
    assert said["errors"][0].startswith("dbt_up_to_features: Failure in test accepted_range_")
    page = Path(said["report"]).read_text()
    assert "<h1>Not published: readers keep the publication that they had</h1>" in page
    assert "dbt_up_to_features: Failure in test accepted_range_" in page
    assert home.publication == before

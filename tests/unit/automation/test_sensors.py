import os
from pathlib import Path

import pytest
from dagster import SensorResult, SkipReason, build_sensor_context

from orchestration.automation.sensors import LandingCursor, build_sensors, listing_fingerprint
from orchestration.settings import Settings


def runs(ticks: list[tuple[float, str]]) -> list[float]:
    cursor, due_at = LandingCursor(), []
    for now, listing in ticks:
        cursor, is_due = cursor.after(listing, now)
        if is_due:
            due_at.append(now)
    return due_at


def test_files_at_rest_start_one_run() -> None:
    assert runs([(0, "a"), (30, "a"), (60, "a"), (90, "a")]) == [30]


def test_a_burst_starts_one_run_when_it_is_over() -> None:
    assert runs([(0, "a"), (30, "ab"), (60, "abc"), (90, "abcd"), (120, "abcd"), (150, "abcd")]) == [120]


def test_a_later_file_starts_another_run() -> None:
    assert runs([(0, "a"), (30, "a"), (60, "ab"), (90, "ab")]) == [30, 90]


def test_a_folder_that_never_rests_is_loaded_after_a_quarter_of_an_hour() -> None:
    due = runs([(30.0 * tick, str(tick)) for tick in range(40)])
    assert due == [900.0]


def test_the_listing_changes_with_new_and_with_changed_files(tmp_path: Path) -> None:
    assert listing_fingerprint(tmp_path) == ""
    assert listing_fingerprint(tmp_path / "missing") == ""
    folder = tmp_path / "film" / "events"
    folder.mkdir(parents=True)
    file = folder / "a.csv"
    file.write_text("event_id\n")
    first = listing_fingerprint(tmp_path)
    assert first == listing_fingerprint(tmp_path)
    (folder / "_not_read.csv").write_text("x")
    assert listing_fingerprint(tmp_path) == first
    os.utime(file, ns=(1, 1))
    second = listing_fingerprint(tmp_path)
    assert second != first
    (folder / "b.csv").write_text("event_id\n")
    assert listing_fingerprint(tmp_path) not in {first, second}


def test_the_sensor_requests_one_run_for_what_arrived_and_none_for_what_did_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    [landing_sensor] = build_sensors(settings)
    cursor: str | None = None

    def tick() -> list[str | None]:
        nonlocal cursor
        result = landing_sensor(build_sensor_context(cursor=cursor))
        if isinstance(result, SkipReason):
            return []
        assert isinstance(result, SensorResult)
        cursor = result.cursor
        return [request.run_key for request in result.run_requests or []]

    assert tick() == []  # an empty folder
    for name in ("a.csv", "b.csv"):
        file = settings.landing / "film" / "events" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("event_id\n")
    assert tick() == []  # still arriving, for all it knows
    first = tick()
    assert len(first) == 1
    assert tick() == []
    file.write_text("event_id\n1\n")
    assert tick() == []
    second = tick()
    assert len(second) == 1
    assert second != first

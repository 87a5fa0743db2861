from datetime import datetime
from pathlib import Path

import pytest

from models_ml.exploration import ExplorationConfig
from orchestration.recommendations.steps import exploration_config
from orchestration.settings import Settings, SettingsError, parse_time


def read(tmp_path: Path, **variables: str) -> Settings:
    return Settings.from_environment(variables, working_directory=tmp_path)


def test_without_variables_the_home_is_in_the_working_directory(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings.home == tmp_path / ".zhiying"
    assert settings.landing == tmp_path / ".zhiying" / "landing"
    assert settings.decisions_dir == tmp_path / ".zhiying" / "decisions"
    assert settings.exports_dir == tmp_path / ".zhiying" / "exports"


def test_variables_replace_defaults(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        ZHIYING_HOME="elsewhere",
        ZHIYING_LANDING="/data/landing",
        ZHIYING_TIME_ZONE="Asia/Shanghai",
        ZHIYING_LIST_LENGTH="7",
        ZHIYING_CANDIDATES="als_joint, rising",
        ZHIYING_BLEND_CALIBRATIONS="score, reciprocal_rank",
        ZHIYING_EASE_ITEMS="500",
        ZHIYING_CHOOSE_AS_OF="Yes",
        ZHIYING_EXPLORATION_SHARE="0.25",
        ZHIYING_EXPLORATION_FIRST_PLACE="8",
        ZHIYING_EXPLORATION_MOST_INTERACTIONS="20",
        ZHIYING_EXPLORATION_MOST_ITEMS="5000",
        ZHIYING_EXPLORATION_FAVOUR="0",
        ZHIYING_EXPLORATION_FIT="2",
        ZHIYING_PLAN_DAYS="14",
        ZHIYING_HANDOVER_DAYS="2",
        ZHIYING_TASTE_CLUSTERS="8",
        ZHIYING_TASTE_MIN_ITEMS="10",
        ZHIYING_AS_OF="2026-01-31T08:00:00+08:00",
        OTHER="ignored",
    )
    assert settings.home == tmp_path / "elsewhere"
    assert settings.landing == Path("/data/landing")
    assert settings.time_zone == "Asia/Shanghai"
    assert settings.list_length == 7
    assert settings.candidates == ("als_joint", "rising")
    assert settings.blend_calibrations == ("score", "reciprocal_rank")
    assert (settings.ease_items, settings.choose_as_of) == (500, True)
    assert not read(tmp_path, ZHIYING_CHOOSE_AS_OF="no").choose_as_of
    assert exploration_config(settings) == ExplorationConfig(0.25, 8, 20, 5000, 0.0, 2.0, settings.seed)
    assert (settings.plan_days, settings.handover_days) == (14, 2)
    assert (settings.taste_clusters, settings.taste_min_items) == (8, 10)
    assert settings.as_of == datetime(2026, 1, 31)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ZHIYING_HOMME", "x", "not a setting"),
        ("ZHIYING_TIME_ZONE", "Mars/Olympus", "not an IANA time zone"),
        ("ZHIYING_LIST_LENGTH", "0", "at least 1"),
        ("ZHIYING_LIST_LENGTH", "many", "invalid literal"),
        ("ZHIYING_MAX_QUARANTINE_SHARE", "1.5", "between 0 and 1"),
        ("ZHIYING_AS_OF", "yesterday", "not an ISO 8601 time"),
        ("ZHIYING_MEMORY_LIMIT", "plenty", "not a size"),
        ("ZHIYING_SEED", "-1", "negative"),
        ("ZHIYING_CANDIDATES", " , ", "names nothing"),
        ("ZHIYING_EASE_ITEMS", "0", "at least 1"),
        ("ZHIYING_CHOOSE_AS_OF", "perhaps", "neither yes nor no"),
        ("ZHIYING_EXPLORATION_SHARE", "1", "less than 1"),
        ("ZHIYING_EXPLORATION_FIRST_PLACE", "0", "at least 1"),
        ("ZHIYING_EXPLORATION_MOST_INTERACTIONS", "-1", "negative"),
        ("ZHIYING_EXPLORATION_MOST_ITEMS", "0", "at least 1"),
        ("ZHIYING_EXPLORATION_FAVOUR", "-0.5", "at least 0"),
        ("ZHIYING_EXPLORATION_FAVOUR", "inf", "finite"),
        ("ZHIYING_EXPLORATION_FAVOUR", "nan", "finite"),
        ("ZHIYING_EXPLORATION_FIT", "-1", "at least 0"),
        ("ZHIYING_PLAN_DAYS", "0", "between 1 and 60"),
        ("ZHIYING_PLAN_DAYS", "61", "between 1 and 60"),
        ("ZHIYING_HANDOVER_DAYS", "0", "between 1 and 60"),
        ("ZHIYING_HANDOVER_DAYS", "8", "if 7 are planned"),
        ("ZHIYING_TASTE_CLUSTERS", "1", "at least 2"),
        ("ZHIYING_TASTE_MIN_ITEMS", "0", "at least 1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, variable: str, value: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        read(tmp_path, **{variable: value})
    assert variable in str(refused.value)


def test_exploration_without_settings_is_that_of_the_library(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert exploration_config(settings) == ExplorationConfig(seed=settings.seed)


def test_a_secret_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    settings = read(tmp_path)
    first = settings.secret({})
    assert settings.secret({}) == first
    assert len(first) == 64
    assert (settings.restricted_dir / "secret").stat().st_mode & 0o777 == 0o600
    assert settings.secret({"ZHIYING_SECRET": "given, and long enough"}) == b"given, and long enough"


def test_a_secret_that_is_none_is_refused(tmp_path: Path) -> None:
    settings = read(tmp_path)
    with pytest.raises(SettingsError, match="shorter than 16"):
        settings.secret({"ZHIYING_SECRET": "short"})
    settings.secret({})
    (settings.restricted_dir / "secret").write_text("")
    with pytest.raises(SettingsError, match="holds no secret"):
        settings.secret({})


def test_the_secret_does_not_show_in_the_settings(tmp_path: Path) -> None:
    assert "hush" not in repr(read(tmp_path, ZHIYING_SECRET="hush"))


def test_the_fingerprint_changes_with_what_is_published_and_with_nothing_else(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings.fingerprint() == read(tmp_path).fingerprint()
    assert settings.fingerprint() == settings.with_options(memory_limit="1GB", keep_publications=2).fingerprint()
    for changed in (
        {"time_zone": "Asia/Shanghai"},
        {"list_length": 3},
        {"as_of": datetime(2020, 1, 1)},
        {"seed": 1},
        {"candidates": ("als",)},
        {"blend_calibrations": ("reciprocal_rank",)},
        {"ease_items": 500},
        {"choose_as_of": True},
        {"exploration_share": 0.1},
        {"exploration_first_place": 8},
        {"exploration_most_interactions": 20},
        {"exploration_most_items": 5000},
        {"exploration_favour": 0.0},
        {"exploration_fit": 0.0},
        {"plan_days": 14},
        {"handover_days": 2},
        {"taste_clusters": 8},
        {"taste_min_items": 10},
    ):
        assert settings.with_options(**changed).fingerprint() != settings.fingerprint()


def test_a_home_that_cannot_be_written_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match=r"cannot be written.*--home"):
        read(tmp_path, ZHIYING_HOME=str(tmp_path / "file" / "home")).prepare_home()


def test_personal_folders_are_closed_to_others(tmp_path: Path) -> None:
    settings = read(tmp_path)
    settings.prepare_home()
    assert settings.restricted_dir.stat().st_mode & 0o777 == 0o700
    assert settings.warehouse_file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31)),
        ("2026-01-31T10:00:00", datetime(2026, 1, 31, 10)),
        ("2026-01-31T10:00:00Z", datetime(2026, 1, 31, 10)),
        ("2026-01-31T10:00:00-05:00", datetime(2026, 1, 31, 15)),
    ],
)
def test_times_become_utc(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment

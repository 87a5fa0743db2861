"""What tests at every level share."""

import os
from pathlib import Path

import pytest

from orchestration.settings import Settings

# Builds of OpenBLAS that start a thread a core fight with the recommenders' own threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in several processes, a file stays in one, as do all that live in the demo's home; the longest go first."""
    for item in items:
        in_demo = "demo" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("demo" if in_demo else item.path.name))
    longest = ("e2e", "integration", "dbt")
    items.sort(key=lambda item: longest.index(part) if (part := _level(item)) in longest else len(longest))


def _level(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own `ZHIYING_*` variables must not decide what a test sees."""
    for name in [name for name in os.environ if name.startswith("ZHIYING_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings over an empty home."""
    settings = Settings(home=tmp_path / "home", landing=tmp_path / "landing")
    settings.prepare_home()
    settings.landing.mkdir()
    return settings

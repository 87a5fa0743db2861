"""What tests at every level share."""

import os
from pathlib import Path

import pytest

from orchestration.settings import Settings

# Builds of OpenBLAS that start a thread a core fight with the recommenders' own threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


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

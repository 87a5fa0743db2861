"""What tests at every level share."""

import os
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from orchestration.settings import Settings

# Builds of OpenBLAS that start a thread a core fight with the recommenders' own threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


# Files whose tests live in the demo's home, which is made once.
_IN_DEMO = frozenset({"tests/e2e/test_demo.py", "tests/e2e/test_ui.py"})


class ByHome(LoadScopeScheduling):
    """Where tests run in several processes, a file stays in one, as do all that live in the demo's home.

    Marks of a group do not do this: pytest-xdist 3.8 writes them into ids that pytest 9 does not read.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return "demo" if file in _IN_DEMO else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByHome:
    """See `ByHome`."""
    return ByHome(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest go first, so that no process is left alone with them in the end."""
    for item in items:
        file = item.nodeid.split("::")[0]
        if _level(item) == "e2e" and "demo" in getattr(item, "fixturenames", ()) and file not in _IN_DEMO:
            raise pytest.UsageError(f"{file} lives in the demo's home, which would be made twice: name it in _IN_DEMO")
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

"""One demo home for all end-to-end tests: made once, then lived in."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.cli import call
from orchestration.publication.store import PublicationStore

Say = Callable[..., tuple[int, dict[str, Any]]]


class Home:
    """A home, and what a person can see of it.

    Args:
        path: Its folder.
        run: Calls the command line and returns the exit status and the JSON that it printed.

    Attributes:
        environment: Variables that calls see from now on, beside those of the process.
    """

    def __init__(self, path: Path, run: Say) -> None:
        self.path = path
        self.landing = path / "landing"
        self.environment: dict[str, str] = {}
        self._run = run

    def zhiying(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return self._run(*arguments, "--home", str(self.path), "--json")

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.path / "published" / "current.duckdb"), read_only=True) as connection:
            return connection.execute(sql, list(values)).fetchall()

    def one(self, sql: str, *values: object) -> Any:
        return self.ask(sql, *values)[0][0]

    @property
    def publication(self) -> str:
        current = PublicationStore(self.path / "published").current()
        assert current is not None
        return current.publication_id

    @property
    def content(self) -> dict[str, str]:
        """Checksum by table, of the tables that speak of the data and not of the run."""
        current = PublicationStore(self.path / "published").current()
        assert current is not None
        about_the_run = {"meta.publication", "quality.check_result"}
        return {name: value for name, value in current.document["content"].items() if name not in about_the_run}


@pytest.fixture(scope="session")
def say(tmp_path_factory: pytest.TempPathFactory) -> Say:
    """Calls the command line in this process, with its standard output kept apart."""

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        out = tmp_path_factory.mktemp("out") / "stdout"
        kept = os.dup(1)
        with out.open("w") as file:
            os.dup2(file.fileno(), 1)
            try:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr("sys.stdout", file)
                    status = call(list(arguments))
            finally:
                os.dup2(kept, 1)
                os.close(kept)
        text = out.read_text()
        return status, json.loads(text) if text.strip() else {}

    return run


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, say: Say) -> tuple[Home, dict[str, Any]]:
    """The home after `zhiying demo`, and what that command said."""
    home = Home(tmp_path_factory.mktemp("demo") / "home", say)
    status, said = home.zhiying("demo")
    assert status == 0, said
    return home, said

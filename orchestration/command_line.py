"""What the commands of `zhiying` share: options, settings of a call, the publication that is read, and how answers are printed.

What a command does is in `cli` and beside it (`campaign_commands`).
"""

import json
import os
import shlex
import shutil
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer

from orchestration.publication.store import PublicationStore
from orchestration.settings import Settings

DONE, DATA_AT_FAULT, CALL_AT_FAULT, INTERRUPTED = 0, 1, 2, 130

Home = Annotated[
    Path | None,
    typer.Option("--home", help="Folder with everything a run writes. Default: ZHIYING_HOME, or .zhiying here."),
]
Landing = Annotated[
    Path | None, typer.Option("--landing", help="Folder that the platforms deliver to. Default: landing in the home.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


class CallError(Exception):
    """The call cannot be carried out as it was made; the message says what to do."""

    exit_status = CALL_AT_FAULT


def settings_of_call(home: Path | None, landing: Path | None = None, *, as_of: datetime | None = None) -> Settings:
    """Settings from the environment and the options of a call, which come first.

    Raises:
        SettingsError: If a setting cannot be used.
    """
    environment = dict(os.environ)
    for name, value in (("ZHIYING_HOME", home), ("ZHIYING_LANDING", landing)):
        if value is not None:
            environment[name] = str(value)
    return Settings.from_environment(environment).with_options(as_of=as_of)


def open_publication(settings: Settings) -> duckdb.DuckDBPyConnection:
    """A reader of what is published now.

    Raises:
        CallError: If nothing is.
    """
    file = PublicationStore(settings.published_dir).current_file
    if not file.exists():
        raise CallError(f"Nothing is published in {settings.home} yet; run `zhiying demo` or `zhiying run` first")
    # A SQL prompt over published tables has no business in the file system.
    return duckdb.connect(str(file), read_only=True, config={"enable_external_access": False})


def program() -> str:
    """How this command can be called again from where the person is."""
    if shutil.which("zhiying"):
        return "zhiying"
    installed = Path(sys.executable).parent / "zhiying"
    here = Path.cwd()
    return shlex.quote(str(installed.relative_to(here) if installed.is_relative_to(here) else installed))


def options_as_given(home: Path | None, landing: Path | None = None) -> str:
    """` --home DIR` and ` --landing DIR` as the person gave them, or empty: for commands that are shown to be pasted."""
    given = (("--home", home), ("--landing", landing))
    return "".join(f" {name} {shlex.quote(str(value))}" for name, value in given if value is not None)


def standard_output() -> Any:
    """A console for answers."""
    from rich.console import Console

    # A pipe has no width of its own; what is cut there would be lost to `grep`.
    return Console() if sys.stdout.isatty() else Console(width=240)


def print_json(document: Any) -> None:
    """Prints one JSON document."""
    print(json.dumps(document, indent=2, default=str, ensure_ascii=False))

"""dbt: its manifest, kept fresh, and its command line with the build file of this home.

Which models run in which pass is decided in `orchestration.warehouse`.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from dagster import TableColumn, TableSchema
from dagster_dbt import DbtCliResource
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.duckdb.environments import Environment
from dbt.adapters.duckdb.environments.local import LocalEnvironment

from orchestration.settings import DBT_PROJECT_DIR
from orchestration.versions import warehouse_version

_BUILD_FILE_VARIABLE = "ZHIYING_BUILD_DB"
_MEMORY_VARIABLE = "ZHIYING_MEMORY_LIMIT"
_TARGET = DBT_PROJECT_DIR / "target"


def dbt_executable() -> str:
    """The `dbt` that belongs to this Python, whatever the search path says."""
    return str(Path(sys.executable).parent / "dbt")


def point_dbt_at(build_file: Path, memory_limit: str) -> None:
    """Lets dbt's profile, in this process and in those it starts, open the given build file."""
    os.environ[_BUILD_FILE_VARIABLE] = str(build_file)
    os.environ[_MEMORY_VARIABLE] = memory_limit
    # A part of the graph may be selected whose tests also look at tables that are not built yet; those tests wait.
    os.environ.setdefault("DBT_INDIRECT_SELECTION", "buildable")


def release_build_file() -> None:
    """Closes the connection that reading table metadata leaves open in this process (seen in dbt-duckdb 1.11)."""
    environment: Environment | None = vars(DuckDBConnectionManager)["_ENV"]
    if isinstance(environment, LocalEnvironment):
        environment.close()  # type: ignore[no-untyped-call]
    DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]


def dbt_resource() -> DbtCliResource:
    """The dbt command line over the project and its own profile."""
    return DbtCliResource(
        project_dir=str(DBT_PROJECT_DIR), profiles_dir=str(DBT_PROJECT_DIR), dbt_executable=dbt_executable()
    )


def source_schema(schema: str, table: str) -> TableSchema:
    """Columns of a table that Python writes, as its dbt source documents them.

    Raises:
        LookupError: If there is no such source.
    """
    columns = _source(schema, table)["columns"].values()
    return TableSchema([TableColumn(c["name"], c["data_type"], c["description"]) for c in columns])


def source_description(schema: str, table: str) -> str:
    """What a table that Python writes holds, as its dbt source documents it.

    Raises:
        LookupError: If there is no such source.
    """
    return str(_source(schema, table)["description"]).strip()


def _source(schema: str, table: str) -> Mapping[str, Any]:
    for source in load_manifest()["sources"].values():
        if (source["schema"], source["identifier"]) == (schema, table):
            found: Mapping[str, Any] = source
            return found
    raise LookupError(f"{schema}.{table} is no dbt source")


def load_manifest() -> Mapping[str, Any]:
    """Dbt's manifest of the project as it is on disk, parsed again only when a source of it has changed.

    Raises:
        RuntimeError: If dbt cannot parse the project; the message holds what dbt says.
    """
    path = _TARGET / "manifest.json"
    _TARGET.mkdir(exist_ok=True)
    # Two processes that start at once (the web server and its code server, say) must not parse into one another.
    with (_TARGET / ".parse.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        parsed = _TARGET / ".parsed_version"
        version = warehouse_version()
        if not path.exists() or not parsed.exists() or parsed.read_text() != version:
            _parse()
            parsed.write_text(version)
    return _read_manifest(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read_manifest(path: Path, modified_ns: int) -> Mapping[str, Any]:
    manifest: Mapping[str, Any] = json.loads(path.read_text())
    return manifest


def _parse() -> None:
    environment = {_BUILD_FILE_VARIABLE: ":memory:", _MEMORY_VARIABLE: "1GB", **os.environ}
    done = subprocess.run(
        [
            dbt_executable(),
            "--quiet",
            "parse",
            "--project-dir",
            str(DBT_PROJECT_DIR),
            "--profiles-dir",
            str(DBT_PROJECT_DIR),
        ],
        capture_output=True,
        text=True,
        env={**environment, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
        cwd=DBT_PROJECT_DIR,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"dbt cannot parse {DBT_PROJECT_DIR}:\n{done.stdout}{done.stderr}")

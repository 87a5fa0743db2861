"""dbt's command line over a build file of its own, for tests of the dbt project."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.dbt.raw_schema import PROJECT

PASS_1 = ("--exclude", "tag:after_models", "--exclude-resource-type", "unit_test")
WITHOUT_TESTS = ("test", "unit_test")


@dataclass(frozen=True)
class DbtRun:
    """What one dbt invocation did."""

    succeeded: bool
    output: str
    statuses: dict[str, str]  # unique id of the node -> success, pass, warn, fail, error, skipped

    def named(self, *statuses: str) -> set[str]:
        """Names of the nodes that ended in one of the statuses; a generic test has the name dbt makes for it."""
        return {
            unique_id.split(".")[2] if unique_id.startswith("test.") else unique_id.split(".")[-1]
            for unique_id, status in self.statuses.items()
            if status in statuses
        }


class Dbt:
    """dbt over one project and one build file, always at the same place, so that a parse is used again.

    Args:
        folder: Folder for the build file and what dbt writes.
        project: The dbt project.
    """

    def __init__(self, folder: Path, project: Path = PROJECT) -> None:
        self.build_file = folder / "build.duckdb"
        self.target = folder / "target"
        self._project = project

    def __call__(self, *arguments: str) -> DbtRun:
        """Runs dbt; a failure is returned, not raised."""
        results = self.target / "run_results.json"
        results.unlink(missing_ok=True)
        done = subprocess.run(
            [str(Path(sys.executable).parent / "dbt"), "--no-use-colors", *arguments],
            cwd=self._project,
            env={
                **os.environ,
                "ZHIYING_BUILD_DB": str(self.build_file),
                "DBT_PROFILES_DIR": str(self._project),
                "DBT_TARGET_PATH": str(self.target),
                "DBT_LOG_PATH": str(self.target / "logs"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        found = json.loads(results.read_text())["results"] if results.exists() else []
        return DbtRun(
            succeeded=done.returncode == 0,
            output=done.stdout + done.stderr,
            statuses={result["unique_id"]: result["status"] for result in found},
        )

    def manifest(self) -> dict[str, object]:
        """The manifest of the last invocation."""
        return json.loads((self.target / "manifest.json").read_text())

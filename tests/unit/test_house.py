"""The house rules: who may import whom."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A package may not import, anywhere in it, the packages named beside it.
FORBIDDEN = {
    "models_ml": {"orchestration", "simulation", "dagster", "dagster_dbt", "dbt", "duckdb"},
    "simulation": {"orchestration", "dagster", "dagster_dbt", "dbt"},
}

# Stations in the way of the data: one may use what stands before it, never what stands after it.
STATIONS = ("landing", "warehouse", "recommendations", "marketing", "publication", "automation")


def imported_modules(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def violations(package: str, source: str) -> set[str]:
    return {module for module in imported_modules(source) if module.split(".")[0] in FORBIDDEN[package]}


def later_stations(station: str, source: str) -> set[str]:
    later = STATIONS[STATIONS.index(station) + 1 :]
    return {m for m in imported_modules(source) if m.startswith("orchestration.") and m.split(".")[1] in later}


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_a_package_imports_only_downwards(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = {str(file.relative_to(ROOT)): violations(package, file.read_text()) for file in files}
    assert {file: modules for file, modules in found.items() if modules} == {}


def test_no_recommender_rests_on_the_science_of_campaigns() -> None:
    """Which is why a change there trains nothing anew."""
    files = [file for file in sorted((ROOT / "models_ml").rglob("*.py")) if file.parent.name != "campaigns"]
    assert len(files) > 30
    found = {
        module
        for file in files
        for module in imported_modules(file.read_text())
        if module.startswith("models_ml.campaigns")
    }
    assert found == set()


@pytest.mark.parametrize("station", STATIONS)
def test_a_station_reads_only_what_stands_before_it(station: str) -> None:
    found = {
        str(file.relative_to(ROOT)): later_stations(station, file.read_text())
        for file in sorted((ROOT / "orchestration" / station).rglob("*.py"))
    }
    assert {file: modules for file, modules in found.items() if modules} == {}


def test_the_rule_sees_a_forbidden_import() -> None:
    assert violations("models_ml", "from dagster import asset") == {"dagster"}
    assert violations("simulation", "import orchestration.settings as s") == {"orchestration.settings"}
    assert violations("models_ml", "import numpy") == set()
    assert later_stations("landing", "from orchestration.publication.store import x") == {
        "orchestration.publication.store"
    }


def test_every_module_opens_with_its_place() -> None:
    files = [
        file for package in ("orchestration", "models_ml", "simulation") for file in (ROOT / package).rglob("*.py")
    ]
    assert [str(file) for file in files if not ast.get_docstring(ast.parse(file.read_text()))] == []

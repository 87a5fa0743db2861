"""Which code made a table: content hashes over the project's own source files.

A version is a hash of what is on disk, not a commit, so that an uncommitted change counts and a release without git works.
"""

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from orchestration.settings import DBT_PROJECT_DIR, PROJECT_DIR

_SOURCE_ENDINGS = frozenset({".py", ".sql", ".yml", ".csv", ".md"})
_WRITTEN_BY_TOOLS = frozenset({"target", "logs", "__pycache__"})


def product_version() -> str:
    """The released version of the package."""
    return version("zhiying")


def models_version() -> str:
    """Version of everything that decides what a trained model looks like; the science of campaigns does not."""
    return _hash_sources([PROJECT_DIR / "models_ml"], without="campaigns")


def warehouse_version() -> str:
    """Version of everything that decides what the warehouse's incremental tables look like."""
    return _hash_sources([DBT_PROJECT_DIR])


def code_version() -> str:
    """Version of everything that decides what is published."""
    return _hash_sources([PROJECT_DIR / "orchestration", PROJECT_DIR / "models_ml", DBT_PROJECT_DIR])


def _hash_sources(folders: Iterable[Path], without: str | None = None) -> str:
    """Hash of names and content of the sources; `without` names a subfolder that is left out."""
    left_out = _WRITTEN_BY_TOOLS | {without}
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder.parent)
            if path.suffix in _SOURCE_ENDINGS and not left_out.intersection(relative.parts):
                digest.update(relative.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]

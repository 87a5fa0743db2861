"""What must be on disk before something else is: files and folders that outlive a power failure."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Has the system write a file or a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(file: Path, text: str) -> None:
    """Writes a file whole or not at all, whoever reads or writes it meanwhile; what is unfinished is hidden."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    sync(scratch)
    os.replace(scratch, file)

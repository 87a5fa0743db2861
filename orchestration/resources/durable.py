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

"""A folder in memory, where there is such a thing: a commit there does not wait for a disk that others keep busy.

What a store does is the same. Only a failure of the machine, which no test makes, would show the difference.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PLACE: Final = "/dev/shm"


def place() -> str | None:
    """Where to make folders; None, for the usual place, if this machine has none in memory."""
    return PLACE if os.access(PLACE, os.W_OK) else None


@contextmanager
def new_folder() -> Generator[Path]:
    """An empty folder, removed in the end."""
    with tempfile.TemporaryDirectory(prefix="ghasi-test-", dir=place(), ignore_cleanup_errors=True) as folder:
        yield Path(folder)

"""Where the tests of this folder keep their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import in_memory


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """An empty folder of each test's own."""
    with in_memory.new_folder() as folder:
        yield folder

"""A command runner for each test, and logging as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from .command_runner import CommandRunner


@pytest.fixture
def runner(tmp_path: Path) -> CommandRunner:
    """A folder with a key file, and a clock that stands at `NOW`."""
    return CommandRunner(tmp_path)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command owns its process, and sets what other libraries log; here other tests come after it."""
    pool, ours = logging.getLogger("psycopg.pool"), logging.getLogger("ghasi_handoff")
    level, handlers = pool.level, list(ours.handlers)
    yield
    pool.setLevel(level)
    ours.handlers[:] = handlers

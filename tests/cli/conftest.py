"""A command runner for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from .command_runner import CommandRunner


@pytest.fixture
def runner(tmp_path: Path) -> CommandRunner:
    """A folder with a key file, and a clock that stands at `NOW`."""
    return CommandRunner(tmp_path)

"""Each command once as it is installed: the executable, in a process of its own. What it can do is shown elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from .command_runner import run_executable
from .every_command import WORKS, command_names, prepared


def test_every_command_is_here() -> None:
    """No command is left out of the table."""
    assert sorted(WORKS) == sorted(command_names())


@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=[pytest.mark.thorough] if name == "demo" else []) for name in WORKS]
)
def test_a_command_runs_as_installed(tmp_path: Path, command: str) -> None:
    """The installed executable does the command's work, by the clock of the machine, and says so."""
    names = prepared(tmp_path)
    arguments, said = (text.format(**names) for text in WORKS[command])
    done = run_executable(*command.split(), *arguments.split())
    assert (done.returncode, done.stderr) == (0, b"")
    assert said in done.stdout.decode("utf-8")

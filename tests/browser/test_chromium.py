"""The browser itself: what happens where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .chromium import VARIABLE

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("options", "status"), [([], 0), (["--no-skips"], 1)])
def test_missing_chromium_is_named(monkeypatch: pytest.MonkeyPatch, options: list[str], status: int) -> None:
    """Where there is no Chromium, the run names it and each test that it left out, and in the gate fails."""
    monkeypatch.setenv(VARIABLE, "/nowhere/chromium")
    command = [sys.executable, "-m", "pytest", "-q", "tests/browser/test_happy_path.py", "-k", "keyboard", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "no Chromium: " in done.stdout, done.stdout + done.stderr
    assert "  tests/browser/test_happy_path.py::test_keyboard_is_enough" in done.stdout
    assert done.returncode == status

"""Each planted mistake of the handshake makes the test fail that is there to catch it; without one, all of these pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .mutants import MUTANTS

HERE = Path(__file__).parent


def run(tests: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.handshake.mutants",
        "-p",
        "no:cacheprovider",
        *options,
    ]
    files = [str(HERE / test) for test in tests]
    return subprocess.run([*command, *files], cwd=HERE.parents[1], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_is_caught(name: str) -> None:
    """Exit code 1: the test ran, and failed."""
    done = run([MUTANTS[name][1]], "--mutant", name)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-1000:]
    assert "1 failed" in done.stdout


def test_without_a_mistake_they_pass() -> None:
    """The same tests, as they are: a test that always fails would catch everything."""
    tests = sorted({test for _, test in MUTANTS.values()})
    done = run(tests)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{len(tests)} passed" in done.stdout

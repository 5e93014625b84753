"""Each planted mistake of the handshake makes the test fail that is there to catch it; without one, all of these pass."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .mutants import MUTANTS

HERE = Path(__file__).parent
TESTS = sorted({test for _, test in MUTANTS.values()})

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """What became of each test, by the mistake that was planted, or by its own name where none was."""
    options = ["-q", "-p", "no:cacheprovider", "-p", "tests.handshake.mutants", "--mutants"]
    command = [sys.executable, "-m", "pytest", *options, *(str(HERE / test) for test in TESTS)]
    done = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line.get("mutant") or line["test"]: line["outcome"] for line in lines}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_is_caught(name: str, outcomes: dict[str, str]) -> None:
    """The test ran, and failed."""
    assert outcomes[name] == "failed"


# xdist takes what stands before the last "::" for a unit of its own, which would run all of this again.
@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.replace("::", " "))
def test_without_a_mistake_it_passes(test: str, outcomes: dict[str, str]) -> None:
    """The same test, as it is: one that always fails would catch everything."""
    assert outcomes[test] == "passed"

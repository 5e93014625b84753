"""Statements -> the modules that a new interpreter has loaded after them."""

from __future__ import annotations

import json
import subprocess
import sys


def modules_after(statements: str) -> set[str]:
    """The names of all loaded modules."""
    program = f"{statements}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))

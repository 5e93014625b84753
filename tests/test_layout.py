"""The tests mirror the source, so that whoever changes a module finds its tests by name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent
PACKAGE: Final = TESTS.parent / "src" / "ghasi_handoff"
# Modules of the core without a test module of their name, each with the reason.
WITHOUT: Final = {
    "__init__": "re-exports: test_public_names.py",
    "_handoff": "what MintedHandoff and VerifiedHandoff share: test_mint.py, test_verify.py",
    "_outbox": "values and a protocol: each store's own tests",
    "_outbox_async": "the same",
    "_version": "one literal",
}
FOLDERS: Final = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())


def test_each_module_of_the_core_has_its_tests() -> None:
    """``_token.py`` is tested by ``tests/test_token.py``, and so on; nothing is excused that has a test module."""
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    tested = {name for name in modules if (TESTS / f"test_{name.strip('_')}.py").exists()}
    assert modules - tested == WITHOUT.keys()


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_of_the_package_has_its_tests(folder: str) -> None:
    """The tests of ``ghasi_handoff/stores/`` are in ``tests/stores/``, and so on."""
    assert list((TESTS / folder).rglob("test_*.py"))

"""Modules of the pure core -> what they import -> what the allow-list below does not have. ``make contracts`` runs it.

The core does no I/O: no socket, database, file, log, thread or event loop. import-linter can forbid packages by name,
but not all others, and it takes ``urllib.parse`` and ``urllib.request`` for one. See docs/adr/0032.

Every import statement counts: at the top, inside a function, and under ``if TYPE_CHECKING``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[1] / "src" / "ghasi_handoff"
# Globs below the package. A new module beside these at the top of the package is in the core without being listed.
CORE: Final = (
    "[!_]*.py",
    "_[!_]*.py",
    "rotation/*.py",
    "handshake/_consume_answers.py",
    "handshake/_consume_call.py",
    "handshake/_deliveries.py",
    "handshake/_steps.py",
    "handshake/_trace.py",
    "landing/_answer.py",
    "stores/_handoff_log.py",
)
# Exactly these: "urllib.parse" does not allow "urllib".
STANDARD_LIBRARY: Final = frozenset(
    {
        "__future__",
        "binascii",
        "collections.abc",
        "contextlib",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "hashlib",
        "hmac",
        "inspect",  # is it a coroutine?
        "ipaddress",
        "json",
        "re",
        "secrets",  # the system's random bytes
        "time",  # time.time, as the default of clock=
        "types",
        "typing",
        "urllib.parse",
    }
)
# With all their modules.
THIRD_PARTY: Final = frozenset({"cryptography", "pydantic", "pydantic_core", "typing_extensions"})
# I/O, or an import that this script could not see.
BUILTINS: Final = frozenset({"__import__", "breakpoint", "eval", "exec", "input", "open", "print"})


def core_modules(package: Path) -> dict[str, Path]:
    """The modules of the core by name. A glob that matches nothing is an error: its module was moved or renamed."""
    found = {}
    for pattern in CORE:
        paths = list(package.glob(pattern))
        if not paths:
            raise SystemExit(f"core_imports.py: no module matches {pattern!r}; mend the list CORE")
        for path in paths:
            found[module_name(path, package)] = path
    return found


def module_name(path: Path, package: Path) -> str:
    """The dotted name of a module, or of a package by its ``__init__.py``."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def uses(tree: ast.Module, package: Path) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a module imports, and of each builtin above. Submodules by their own names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "." * node.level + (node.module or "")
        elif isinstance(node, ast.ImportFrom) and node.module:
            folder = package.parent.joinpath(*node.module.split("."))
            for alias in node.names:
                submodule = (folder / alias.name).is_dir() or (folder / f"{alias.name}.py").exists()
                yield node.lineno, f"{node.module}.{alias.name}" if submodule else node.module
        elif isinstance(node, ast.Name) and node.id in BUILTINS:
            yield node.lineno, node.id


def refused(package: Path) -> list[str]:
    """A line for each use that the core may not make."""
    core = core_modules(package)
    allowed = STANDARD_LIBRARY | core.keys()
    return sorted(
        {
            f"{path.relative_to(package.parent)}:{line}: the pure core may not use {name}"
            for path in core.values()
            for line, name in uses(ast.parse(path.read_text("utf-8")), package)
            if name not in allowed and name.partition(".")[0] not in THIRD_PARTY
        }
    )


def main() -> int:
    """Say what is refused; fail if anything is."""
    found = refused(PACKAGE)
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        print(f"The imports of the pure core's {len(core_modules(PACKAGE))} modules are on the allow-list.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

"""The published vectors and the programs that read them, for the tests of tokens and of consume calls."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from ghasi_handoff import KeyRing, SigningKey

from .minter_and_verifier import at
from .node import node

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "tests" / "vectors"


# Two programs that share no code with the library, nor with each other.
PROGRAMS: Final = {
    "python": lambda: [sys.executable, "-I", str(FOLDER / "verify_stdlib.py")],
    "node": lambda: [node(), str(ROOT / "docs" / "spec" / "verify.mjs")],
}


def check(program: str, files: Iterable[Path]) -> subprocess.CompletedProcess[str]:
    """Run the program on these files."""
    command = [*PROGRAMS[program](), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def assert_agrees(program: str, files: list[Path]) -> None:
    """The program comes to the result that each vector states."""
    done = check(program, files)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert sum(line.startswith("ok ") for line in done.stdout.splitlines()) == len(files)


def assert_rejects_each(program: str, texts: Mapping[str, str], folder: Path) -> None:
    """The program says of each of these texts, written to a file each, that it is no right vector."""
    files = [folder / f"{name}.json" for name in texts]
    for file, text in zip(files, texts.values(), strict=True):
        file.write_text(text, "ascii")
    done = check(program, files)
    assert done.returncode == 1
    noticed = {line.split()[1].rstrip(":") for line in done.stdout.splitlines() if line.startswith("FAIL ")}
    assert noticed == {file.name for file in files}


def assert_written_by(maker: str, files: list[Path], root: Path) -> None:
    """The program `maker` writes these files again, byte by byte. `root` is empty, and stands for this repository's."""
    folder = root / FOLDER.relative_to(ROOT)
    folder.mkdir(parents=True)
    for name in (f"{maker}.py", "usual_facts.py", "vector_files.py"):
        shutil.copy(FOLDER / name, folder)
    # Without the environment's and the user's packages.
    program = [sys.executable, "-E", "-s", "-m", f"tests.vectors.{maker}"]
    subprocess.run(program, cwd=root, check=True, capture_output=True, timeout=120)
    there = files[0].parent.relative_to(FOLDER)
    written = {path.name: path.read_bytes() for path in (folder / there).glob("*.json")}
    assert written == {path.name: path.read_bytes() for path in files}


def load(path: Path) -> dict[str, Any]:
    """A vector's members."""
    vector: dict[str, Any] = json.loads(path.read_text("ascii"))
    return vector


def ring_of(vector: dict[str, Any]) -> KeyRing:
    """A vector's keys, as the library has them."""
    return KeyRing(
        SigningKey(
            kid=facts["kid"],
            secret=bytes.fromhex(facts["secret_hex"]),
            created_at=at(facts["sign_from"]),
            sign_from=at(facts["sign_from"]),
            verify_until=None if facts["verify_until"] is None else at(facts["verify_until"]),
            revoked_at=None if facts["revoked_at"] is None else at(facts["revoked_at"]),
        )
        for facts in vector["keys"]
    )


def flip(text: str, position: int) -> str:
    """The text with another character at this position."""
    return text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]

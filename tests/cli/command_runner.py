"""Runs commands: in this process, in one of its own, or as the real executable; a key file, a clock that is set by hand."""

from __future__ import annotations

import errno
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner, Result

from ghasi_handoff import KeyRing
from ghasi_handoff.cli import main
from tests.forked_commands import folder_of_commands
from tests.minter_and_verifier import AUDIENCE, ISSUER, NOW, TENANT, Clock, key

# What the command line reads, and what would make its output behave otherwise than a user's.
VARIABLES = (
    "GHASI_HANDOFF_KEYS",
    "GHASI_HANDOFF_KEYS_FILE",
    "GHASI_HANDOFF_KEYS_PURPOSE",
    "GHASI_HANDOFF_KEK",
    "GHASI_HANDOFF_KEK_FILE",
    "GHASI_HANDOFF_ISSUER",
    "GHASI_HANDOFF_AUDIENCE",
    "GHASI_HANDOFF_STORE_URL",
    "GHASI_HANDOFF_LOG_URL",
    "GHASI_HANDOFF_CONSUMER_URL",
    "NO_COLOR",
    "PYTHONIOENCODING",
    "PYTHONUNBUFFERED",
)
PAYLOAD = {
    "adults": 2,
    "check_in": "2026-12-24",
    "check_out": "2026-12-27",
    "children_ages": [4, 9],
    "currency": "EUR",
    "locale": "ar-EG",
    "property_id": "htl_0042",
    "quoted_total_minor": 45900,
    "rate_plan_id": "bar",
    "room_type_id": "dbl",
}
# What a token of `CommandRunner.mint` says of itself, beside its id.
TOKEN_FACTS = {
    "kid": "2026-11",
    "issuer": ISSUER,
    "audience": AUDIENCE,
    "tenant": TENANT,
    "issued_at": "2026-11-23T09:30:00Z",
    "expires_at": "2026-11-23T09:35:00Z",
    "payload": PAYLOAD,
}
STAY_OPTIONS = (
    *("--property-id", "htl_0042", "--check-in", "2026-12-24", "--check-out", "2026-12-27", "--adults", "2"),
    *("--room-type-id", "dbl", "--rate-plan-id", "bar", "--child-age", "4", "--child-age", "9"),
    *("--currency", "EUR", "--quoted-total-minor", "45900", "--locale", "ar-EG"),
)


def executable() -> str:
    """The installed `ghasi-handoff`, of the interpreter that runs the tests."""
    found = shutil.which("ghasi-handoff", path=str(Path(sys.executable).parent))
    assert found, "the package is not installed with its entry point"
    return found


def forked_executable() -> str:
    """`ghasi-handoff` in a process of its own, for a fifth of the executable's price; see tests/forked_commands.py."""
    return str(folder_of_commands() / "ghasi-handoff")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without anything that the command line reads, and `extra`."""
    return {name: value for name, value in os.environ.items() if name not in VARIABLES} | dict(extra or {})


def run_executable(
    *arguments: str | bytes, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the installed executable to its end."""
    return _run(executable(), arguments, stdin, env)


def run_forked(
    *arguments: str | bytes, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a process of its own to its end."""
    return _run(forked_executable(), arguments, stdin, env)


def _run(
    program: str, arguments: Sequence[str | bytes], stdin: bytes, env: Mapping[str, str] | None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [program, *arguments], input=stdin, capture_output=True, env=environment(env), timeout=60, check=False
    )


def run_in_terminal(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Run a command in a process of its own, with a terminal for standard output and standard error."""
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [forked_executable(), *arguments], stdin=subprocess.DEVNULL, stdout=inner, stderr=inner, env=environment(env)
    )
    os.close(inner)
    shown = b""
    try:
        while piece := os.read(outer, 4096):
            shown += piece
    except OSError as exc:  # how Linux says that nobody holds the other end any more
        if exc.errno != errno.EIO:
            raise
    finally:
        os.close(outer)
    return process.wait(timeout=60), shown


class Done(NamedTuple):
    """What came of a command."""

    returncode: int
    stdout: str
    stderr: str


def run_here(*arguments: str, stdin: str = "", **variables: str) -> Done:
    """Run a command in this process, by the clock of the machine, with no other of its variables than these."""
    env = {name: None for name in os.environ if name.startswith("GHASI_HANDOFF")} | variables
    result = CliRunner().invoke(main, arguments, input=stdin, env=env, catch_exceptions=False)
    return Done(result.exit_code, result.stdout, result.stderr)


@dataclass
class CommandRunner:
    """Runs commands in this process, by default at `NOW`."""

    folder: Path
    ring: KeyRing = field(default_factory=lambda: KeyRing([key("2026-11")]))
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        path = Path(self.key_file)
        path.write_text(
            self.ring.to_json(), encoding="utf-8"
        )  # not keyfile.save: no test of this folder needs its fsync
        path.chmod(0o600)

    @property
    def key_file(self) -> str:
        return str(self.folder / "keys.json")

    @property
    def store(self) -> str:
        return str(self.folder / "replay.db")

    @property
    def parties(self) -> tuple[str, ...]:
        """The options that mint, verify and redeem share."""
        return ("--keys", self.key_file, "--issuer", ISSUER, "--audience", AUDIENCE, "--tenant", TENANT)

    def run(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, color: bool = False
    ) -> Result:
        """Run a command. What is not one of its own endings, an unexpected exception, comes out of here."""
        variables: dict[str, str | None] = {**dict.fromkeys(VARIABLES), **(env or {})}
        return CliRunner().invoke(
            main, arguments, input=stdin, env=variables, obj=self.clock, color=color, catch_exceptions=False
        )

    def facts(self, *arguments: str, stdin: bytes = b"", exit_code: int = 0) -> dict[str, Any]:
        """Run a command with ``--json`` and return its one object."""
        result = self.run(*arguments[:1], "--json", *arguments[1:], stdin=stdin)
        return only_object(result, exit_code)

    def mint(self, *more: str) -> str:
        """A token, as `mint` prints it."""
        result = self.run("mint", *self.parties, *STAY_OPTIONS, *more)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result.stdout.removesuffix("\n")

    def verify(self, *more: str) -> Sequence[str]:
        """The arguments of verify."""
        return ("verify", *self.parties, *more)

    def redeem(self, *more: str) -> Sequence[str]:
        """The arguments of redeem."""
        return ("redeem", *self.parties, "--store-url", f"sqlite:///{self.store}", *more)

    def file(self, name: str, content: bytes) -> str:
        """A file in the folder."""
        path = self.folder / name
        path.write_bytes(content)
        return str(path)


def only_object(result: Result, exit_code: int = 0) -> dict[str, Any]:
    """The one JSON object that a command printed, on one line of ASCII, and nothing else anywhere."""
    assert (result.exit_code, result.stderr) == (exit_code, ""), result.output
    assert result.stdout.isascii()
    assert result.stdout.count("\n") == 1
    assert result.stdout.endswith("}\n")
    facts = json.loads(result.stdout)
    assert isinstance(facts, dict)
    return facts


def vectors(expect: str) -> list[dict[str, Any]]:
    """The specification's vectors with this outcome. Without those whose token is no text: that cannot be an argument."""
    found = [vector for vector in _VECTORS if vector["expect"] == expect and isinstance(vector["token"], str)]
    assert found
    return found


_FOLDER = Path(__file__).parents[1] / "vectors"
_VECTORS = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(_FOLDER.glob("*.json"))]
OUTCOMES = sorted({vector["expect"] for vector in _VECTORS})

__all__ = [
    "AUDIENCE",
    "ISSUER",
    "NOW",
    "OUTCOMES",
    "PAYLOAD",
    "STAY_OPTIONS",
    "TENANT",
    "TOKEN_FACTS",
    "CommandRunner",
    "Done",
    "environment",
    "executable",
    "forked_executable",
    "only_object",
    "run_executable",
    "run_forked",
    "run_here",
    "run_in_terminal",
    "vectors",
]

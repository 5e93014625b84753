"""Commands in processes of their own: pipes, terminals, closed streams, and a missing click.

Where Python itself opens or ends the streams, it is the installed executable; else a fork, which is cheaper.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .command_runner import (
    AUDIENCE,
    ISSUER,
    STAY_OPTIONS,
    TENANT,
    environment,
    executable,
    forked_executable,
    run_executable,
    run_forked,
    run_in_terminal,
)
from .test_inspect import forged

ESCAPES = forged(b'{"a":"\x1b[2J"}')


def in_shell(program: str, script: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run `program`, $0, as a shell script says."""
    command = ["/bin/sh", "-c", script, program, *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, timeout=60, check=False)


def test_the_whole_way(tmp_path: Path) -> None:
    """Make keys, mint, verify from a pipe, redeem, and be refused as a replay: with the real clock and real processes."""
    env = {
        "GHASI_HANDOFF_KEYS_FILE": str(tmp_path / "keys.json"),
        "GHASI_HANDOFF_ISSUER": ISSUER,
        "GHASI_HANDOFF_AUDIENCE": AUDIENCE,
    }
    assert run_forked("keys", "init", env=env).returncode == 0
    minted = run_forked("mint", "--tenant", TENANT, *STAY_OPTIONS, env=env)
    assert (minted.returncode, minted.stderr) == (0, b"")
    token = minted.stdout
    verified = run_forked("verify", "--tenant", TENANT, "-", stdin=token, env=env)
    assert (verified.returncode, verified.stderr) == (0, b"")
    redeem = ("redeem", "--tenant", TENANT, "--store-url", f"sqlite:///{tmp_path}/replay.db", "--json", "-")
    first = run_forked(*redeem, stdin=token, env=env)
    assert (first.returncode, json.loads(first.stdout)["first"]) == (0, True)
    second = run_forked(*redeem, stdin=token, env=env)
    assert (second.returncode, json.loads(second.stdout)["code"]) == (1, "replayed")


def test_signing_string_comes_out_byte_for_byte() -> None:
    """No end of line is added or changed in a pipe."""
    done = run_forked("signing-string", forged(b"\r\n\xff\n"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"ghasi-handoff/v1\nHMAC-SHA256\nevil\n")
    assert done.stdout.endswith(b"\n\r\n\xff\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", ESCAPES),
        ("signing-string", ESCAPES),
        ("inspect", "--json", "a", "b"),
        ("--help",),
        ("mint", "--help"),
        ("--version",),
        pytest.param(("demo",), marks=pytest.mark.thorough),
        pytest.param(("demo", "--json"), marks=pytest.mark.thorough),
    ],
)
def test_a_broken_pipe_is_quiet(arguments: tuple[str, ...]) -> None:
    """Whoever stops reading, as `head` does, gets no complaint, not even of help; the exit code is the shell's for it."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        done = subprocess.run(
            [forked_executable(), *arguments],
            stdout=output,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.thorough
def test_a_reader_that_stops_midway(tmp_path: Path) -> None:
    """The demo ends when its reader does, and its temporary folder goes with it."""
    reader, writer = os.pipe()
    with subprocess.Popen(
        [executable(), "demo"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment({"TMPDIR": str(tmp_path)}),
    ) as process:
        os.close(writer)
        assert os.read(reader, 13) == b"ghasi-handoff"
        os.close(reader)
        _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (141, b"")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said() -> None:
    """Output that cannot be written is an error, not a success and not a traceback."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [executable(), "inspect", forged(b"{}")],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == b"error: standard output cannot be written: No space left on device\n"


def test_standard_input_that_cannot_be_read(tmp_path: Path) -> None:
    """A standard input that was opened to be written is said to be so."""
    done = in_shell(forked_executable(), 'exec "$0" inspect - 0>"$1"', str(tmp_path / "file"))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"error: configuration: standard input: ")


def test_closed_streams() -> None:
    """Without standard input there is no token; without standard output the exit code still tells the truth."""
    done = in_shell(executable(), 'exec "$0" inspect - <&-')
    assert (done.returncode, done.stderr) == (2, b"error: configuration: standard input is closed\n")
    assert in_shell(executable(), 'exec "$0" inspect "$1" >&-', forged(b"{}")).returncode == 0
    assert in_shell(executable(), 'exec "$0" signing-string "$1" >&-', forged(b"{}")).returncode == 0
    assert in_shell(executable(), 'exec "$0" inspect x 2>&-').returncode == 1


@pytest.mark.parametrize("content", [b"\xff\xfe\xfd", b"A" * 3_000_000])
def test_hostile_standard_input(content: bytes) -> None:
    """Bytes that are no text, or far too many: refused, with the code, and no traceback."""
    done = run_forked("inspect", "-", stdin=content)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"refused: malformed: ")
    assert done.stderr.count(b"\n") == 1


def test_endless_standard_input_ends() -> None:
    """No more is read than a token can have."""
    done = in_shell(forked_executable(), 'yes | "$0" inspect -')
    assert done.returncode == 1
    assert b"more than 4096 characters" in done.stderr


def test_an_argument_that_is_not_text() -> None:
    """A token argument outside UTF-8 is malformed."""
    done = run_executable("inspect", b"ghasi1.\xff.a.b")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"refused: malformed: ")


@pytest.mark.parametrize(
    "encoding", ["ascii", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("latin-1", "utf-8"))]
)
def test_any_terminal_encoding(tmp_path: Path, encoding: str) -> None:
    """A path with letters that the output's encoding lacks is shown somehow, not with a traceback."""
    path = tmp_path / "clés-한.json"
    done = run_executable("keys", "init", "--keys", str(path), env={"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, b"")
    assert path.exists()


def test_colour_on_a_terminal() -> None:
    """A terminal gets colour; with NO_COLOR it gets none; a pipe never does."""
    token = forged(b"{}")
    code, shown = run_in_terminal(["inspect", token])
    assert (code, shown.startswith(b"\x1b[31m")) == (0, True)
    code, shown = run_in_terminal(["inspect", token], {"NO_COLOR": "1"})
    assert (code, b"\x1b" in shown) == (0, False)
    assert b"\x1b" not in run_forked("inspect", token).stdout


def test_a_forged_payload_does_not_reach_a_terminal_raw() -> None:
    """The signing string of a token that nobody verified may hold commands to the terminal: then it is not shown there."""
    code, shown = run_in_terminal(["signing-string", ESCAPES], {"NO_COLOR": "1"})
    assert code == 2
    assert shown.startswith(b"error: configuration: ")
    assert b"\x1b" not in shown
    assert run_forked("signing-string", ESCAPES).stdout.endswith(b'{"a":"\x1b[2J"}')
    code, shown = run_in_terminal(["signing-string", "--json", ESCAPES])
    assert (code, b"\x1b" in shown) == (0, False)
    code, shown = run_in_terminal(["signing-string", forged(b"{}")])
    assert (code, shown[-2:]) == (0, b"{}")


def test_bytes_that_are_no_text_do_not_reach_a_terminal_raw() -> None:
    """To some terminals the single byte 9B begins a command, as ESC [ does; outside UTF-8 it is not shown there either."""
    code, shown = run_in_terminal(["signing-string", forged(b"\x9b2J")], {"NO_COLOR": "1"})
    assert code == 2
    assert shown.startswith(b"error: configuration: ")
    assert b"\x9b" not in shown


WITHOUT_CLICK = "import sys; sys.modules['click'] = None; sys.argv[0] = 'ghasi-handoff'; "


@pytest.mark.parametrize("arguments", [[], ["mint", "--json"]])
def test_without_click(arguments: list[str]) -> None:
    """Where the extra is not installed, the command says what to install, with --json too, and exits with 2."""
    program = WITHOUT_CLICK + "from ghasi_handoff.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment(), capture_output=True, timeout=60, check=False
    )
    message = "the command line needs the package click: install ghasi-handoff[cli]"
    assert done.returncode == 2
    if arguments:
        facts = {"ok": False, "code": "configuration", "message": message}
        assert (json.loads(done.stdout), done.stderr) == (facts, b"")
    else:
        assert (done.stdout, done.stderr) == (b"", f"ghasi-handoff: {message}\n".encode())


def test_the_library_does_not_import_click() -> None:
    """`import ghasi_handoff` works without click, and does not import it where it is."""
    for program in (
        WITHOUT_CLICK + "import ghasi_handoff",
        "import sys, ghasi_handoff; sys.exit(any(name.split('.')[0] == 'click' for name in sys.modules))",
    ):
        assert (
            subprocess.run([sys.executable, "-c", program], env=environment(), timeout=60, check=False).returncode == 0
        )

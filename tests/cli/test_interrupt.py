"""Ctrl-C: exit code 130, one word on standard error, nothing on standard output, and nothing half written."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from .command_runner import environment, executable
from .every_command import prepared

# A shell that starts this in the background ignores SIGINT, and that would be inherited.
WITH_SIGINT: Final = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)


@contextmanager
def started(arguments: str, folder: Path) -> Generator[subprocess.Popen[bytes]]:
    """The installed executable at work, in a process group of its own, as a terminal starts it."""
    with subprocess.Popen(
        [sys.executable, "-c", WITH_SIGINT, executable(), *arguments.split()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({"TMPDIR": str(folder)}),
        start_new_session=True,
    ) as process:
        yield process


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C, as a terminal sends it."""
    os.killpg(process.pid, signal.SIGINT)


def assert_interrupted(process: subprocess.Popen[bytes]) -> None:
    """It ends as interrupted, and says no more than that."""
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, b"", b"interrupted\n")


@pytest.mark.parametrize("json", ["", " --json"])
def test_a_command_that_reads(tmp_path: Path, json: str) -> None:
    """While it waits for standard input; with --json too, there is no object."""
    with started(f"inspect -{json}", tmp_path) as process:
        assert process.stdin is not None
        process.stdin.write(b"ghasi1.")
        process.stdin.flush()
        pipe = process.stdin.fileno()
        wait_until(process, lambda: unread(pipe) == 0)
        interrupt(process)
        assert_interrupted(process)


@pytest.mark.parametrize(
    "arguments",
    [
        "keys rotate --keys {keys} --peer http://127.0.0.1:{port}/",
        "outbox drain --store-url {undelivered} --keys {keys} --consumer-url http://127.0.0.1:{port} --now --json",
    ],
)
def test_a_command_that_calls(tmp_path: Path, arguments: str) -> None:
    """While the other side does not answer: the key file is as it was, and what was to be delivered still waits."""
    names = prepared(tmp_path)
    before = Path(names["keys"]).read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        port = server.getsockname()[1]
        with started(arguments.format(**names, port=port), tmp_path) as process:
            connection, _ = server.accept()
            with connection:
                interrupt(process)
                assert_interrupted(process)
    assert Path(names["keys"]).read_bytes() == before
    with SQLiteReplayStore(tmp_path / "undelivered.db", outbox=True) as store:
        assert store.outbox is not None
        assert (store.outbox.stats().pending, store.outbox.stats().dead) == (1, 1)


@pytest.mark.parametrize("arguments", ["store maintain --store-url {store}", "handoff maintain --log-url {log}"])
def test_a_command_that_maintains(tmp_path: Path, arguments: str) -> None:
    """While it waits for a lock that the service holds; the file is then free for others."""
    names = prepared(tmp_path)
    file = tmp_path / ("replay.db" if "store" in arguments else "log.db")
    with closing(sqlite3.connect(file, isolation_level=None)) as service:
        service.execute("BEGIN IMMEDIATE")
        with started(arguments.format(**names), tmp_path) as process:
            wait_until(process, lambda: file in open_files(process))
            interrupt(process)
            service.execute("ROLLBACK")
            assert_interrupted(process)
        service.execute("BEGIN IMMEDIATE")


@pytest.mark.thorough
def test_the_demo(tmp_path: Path) -> None:
    """In the middle of the story: the temporary folder goes."""
    with started("demo", tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b" 2  "):  # both services are up
                break
        interrupt(process)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, b"interrupted\n")
    assert list(tmp_path.iterdir()) == []


def unread(pipe: int) -> int:
    """How many bytes nobody has taken out of a pipe."""
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0])


def open_files(process: subprocess.Popen[bytes]) -> set[Path]:
    """The files that a process has open."""
    found = set()
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            found.add(link.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def wait_until(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    """Wait until the process has come to a certain point. It must not end before."""
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)

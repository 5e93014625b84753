"""/proc -> a server and all processes below it -> stopped, or killed. As a program: kills them when the tests are gone.

PostgreSQL is many processes, each in a session of its own, so that no process group reaches them all. Linux only.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

PATIENCE_SECONDS = 20
_STOPPED, _GONE = "Tt", "ZX"


def family(pid: int, table: dict[int, tuple[str, int]] | None = None) -> list[int]:
    """The process and all below it, parents first; empty if there is no such process."""
    table = _processes() if table is None else table
    found = [pid] if pid in table else []
    for member in found:  # grows while it is read
        found += [child for child, (_, parent) in table.items() if parent == member]
    return found


def freeze(pid: int) -> list[int]:
    """Stop the process and all below it (SIGSTOP), and return them. Stopped processes start no others, so it is all."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        table = _processes()
        members = family(pid, table)
        running = [member for member in members if table[member][0] not in _STOPPED + _GONE]
        if not running:
            return members
        for member in running:
            _send(member, signal.SIGSTOP)
        time.sleep(0.001)
    raise TimeoutError(f"process {pid} does not stop")


def thaw(pid: int) -> None:
    """Let the process and all below it go on (SIGCONT), children first."""
    for member in reversed(family(pid)):
        _send(member, signal.SIGCONT)


def kill(pid: int) -> None:
    """Kill the process and all below it (SIGKILL) at one moment, and wait until they are gone."""
    members = freeze(pid)
    for member in members:
        _send(member, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(is_running(member) for member in members):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} and those below it do not die")
        time.sleep(0.001)


def is_running(pid: int) -> bool:
    """Whether there is such a process. One that has died and waits to be reaped is none."""
    return _processes().get(pid, ("X", 0))[0] not in _GONE


def watch(*folders: str) -> None:
    """Read "+pid" and "-pid", line by line; at the end of input, or without a parent, kill those left and tidy up."""
    pids: set[int] = set()
    parent, rest = os.getppid(), b""
    # Forked children of the tests hold the pipe open, too: hence the look at the parent.
    while os.getppid() == parent:
        if not select.select([0], [], [], 0.5)[0]:
            continue
        read = os.read(0, 4096)
        if not read:
            break
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            (pids.add if line.startswith(b"+") else pids.discard)(int(line[1:]))
    for pid in pids:
        with contextlib.suppress(TimeoutError):
            kill(pid)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _processes() -> dict[int, tuple[str, int]]:
    """State and parent of each process."""
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                text = Path("/proc", entry, "stat").read_text("utf-8", errors="replace")
                # The name stands in parentheses and may hold anything.
                state, parent = text.rpartition(")")[2].split()[:2]
                table[int(entry)] = (state, int(parent))
    return table


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    watch(*sys.argv[1:])

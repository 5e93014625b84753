"""`ghasi-handoff` in a new process each time, without a new import each time: one process imports it and forks.

Each command has its process, with the arguments, folder, environment and standard streams of whoever called it. So the
pages can run a hundred commands as a reader does. That the installed executable does the same is shown by
tests/cli/test_each_command.py.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn

# Starts in 20 ms: without site-packages.
_CALLER: Final = """\
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode("ascii"))
    server.shutdown(socket.SHUT_WR)
    answer = server.makefile("rb").read()
sys.exit(int(answer))
"""


_started: Final[list[ForkedCommands]] = []


class ForkedCommands:
    """A folder with a `ghasi-handoff` for PATH, and the process behind it, until it is closed.

    Attributes:
        folder: What to put first on PATH.
    """

    def __init__(self) -> None:
        self._kept = tempfile.TemporaryDirectory(prefix="commands-")
        self.folder = Path(self._kept.name)
        address = self.folder / "socket"
        (self.folder / "caller.py").write_text(_CALLER.format(address=str(address)), "utf-8")
        command = self.folder / "ghasi-handoff"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{self.folder}/caller.py" "$@"\n', "utf-8")
        command.chmod(0o755)
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(address)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONUTF8": "1"},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        """End the process, and remove the folder."""
        self._process.communicate(timeout=60)  # the end of its standard input is the end of it
        self._kept.cleanup()


@functools.cache
def folder_of_commands() -> Path:
    """What to put first on PATH in this process, until `end_commands`."""
    _started.append(ForkedCommands())
    return _started[0].folder


def end_commands() -> None:
    """End what `folder_of_commands` has started."""
    while _started:
        _started.pop().close()
    folder_of_commands.cache_clear()


def serve(address: str) -> None:
    """Run a command for each connection, in a process of its own, until standard input ends."""
    from ghasi_handoff.cli import main

    for name in ("handshake", "stores.postgres", "stores.redis", "sync_contract"):  # which commands import as they run
        import_module(f"ghasi_handoff.{name}")
    gc.freeze()
    running: dict[int, tuple[int, socket.socket]] = {}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin, *running], [], [])
            for ended in running.keys() & ready:
                pid, caller = running.pop(ended)
                os.close(ended)
                _, status = os.waitpid(pid, 0)
                caller.sendall(str(os.waitstatus_to_exitcode(status)).encode("ascii"))
                caller.shutdown(socket.SHUT_WR)  # to close it is not enough: another command may have a copy
                caller.close()
            if listener in ready:
                caller, _ = listener.accept()
                pid = os.fork()
                if pid == 0:
                    _become(caller)
                    _run(main)
                running[os.pidfd_open(pid)] = (pid, caller)
            if sys.stdin in ready:
                return


def _run(main: Callable[[], object]) -> NoReturn:
    try:
        main()
    except SystemExit as exc:
        if isinstance(exc.code, str):
            print(exc.code, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exc.code if isinstance(exc.code, int) else 1)  # the interpreter's end takes as long as a command
    raise AssertionError("a command ends with SystemExit")


def _become(connection: socket.socket) -> None:
    """Take over the caller's streams, arguments, folder and environment."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    arguments, folder, environment = json.loads(connection.makefile("rb").read())
    connection.close()
    sys.argv = ["ghasi-handoff", *arguments]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)


if __name__ == "__main__":
    serve(sys.argv[1])

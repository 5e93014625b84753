"""One service as a process on loopback: started, asked, killed. It never outlives this process. `Service`."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from ghasi_handoff.errors import ConfigurationError

LOOPBACK: Final = "127.0.0.1"
NAMES: Final = {"consumer": "bff-consumer", "booking": "bff-tenant-booking"}
# A new interpreter on a busy machine takes its time.
_PATIENCE_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 5.0
_LOG_LINE: Final = re.compile(r"\d\d:\d\d:\d\d \S+ +(.*)")


class ServiceError(Exception):
    """A service did not start, or has ended by itself. The text says which."""


def bound_socket(port: int) -> socket.socket:
    """A socket bound to a port of loopback, which others of this user may bind too. It does not listen."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((LOOPBACK, port))
    except OSError:
        bound.close()
        raise
    return bound


def held_port(number: int, option: str) -> socket.socket:
    """Hold a port without listening: connections are refused while its service is down, and nobody else gets it."""
    try:
        if number:
            # SO_REUSEPORT would share a port with another demo of this user. So try without it first.
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((LOOPBACK, number))
                probe.listen(1)
        return bound_socket(number)
    except OSError as exc:
        raise ConfigurationError(f"{option} {number} cannot be used: {exc.strerror}") from exc


class Service:
    """One of the two, which can be started, stopped and killed, and comes back at the same port."""

    def __init__(self, which: str, port: socket.socket, log: Path | None) -> None:
        self.name = NAMES[which]
        self._port: int = port.getsockname()[1]
        self.origin = f"http://{LOOPBACK}:{self._port}"
        self.environment: Mapping[str, str] = {}
        self._which = which
        self._log = log
        self._read = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._running().pid

    def start(self) -> None:
        """Start it, and wait until it answers. `ServiceError` if it ends instead."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start it."""
        with ExitStack() as stack:
            output = None if self._log is None else stack.enter_context(self._log.open("ab"))
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                # -P: never a module of that name in the present folder.
                [sys.executable, "-P", "-m", "ghasi_handoff.demo", self._which, str(self._port)],
                # The service ends when this pipe is closed, and it is closed however this process ends.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                env=self.environment,
                # Ctrl-C in a terminal goes to this process alone, which then stops both.
                process_group=0,
            )

    def wait(self) -> None:
        """Wait until it answers. `ServiceError` if it ends instead."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while not self._answers():
            self.check_running()
            if time.monotonic() > until:
                raise ServiceError(f"{self.name} did not answer for {_PATIENCE_SECONDS:g} s")
            time.sleep(0.02)

    def check_running(self) -> None:
        """`ServiceError` if it has ended."""
        status = self._running().poll()
        if status is not None:
            how = f"with status {status}" if status >= 0 else f"by signal {-status}"
            lines = self.log_text().splitlines()
            said = f"; it said: {lines[-1]}" if lines else ""
            raise ServiceError(f"{self.name} has ended {how}{said}")

    def kill(self) -> None:
        """End it as a power failure would: SIGKILL."""
        with self._running() as process:
            process.kill()
        self._process = None

    def stop(self) -> None:
        """Let it end in peace; if it does not, kill it. Does nothing if it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        finally:
            self.kill()

    def logged(self) -> list[str]:
        """What it has logged since the last call, without requests, times and its name."""
        if self._log is None:
            return []
        with self._log.open("rb") as file:
            file.seek(self._read)
            # A line that is being written is left for the next time.
            complete = file.read().rpartition(b"\n")[0]
        self._read += len(complete) + 1 if complete else 0
        found = [_LOG_LINE.fullmatch(line) for line in complete.decode("utf-8", "replace").splitlines()]
        return [match[1] for match in found if match is not None and not match[1].startswith("http ")]

    def log_text(self) -> str:
        """Everything in its log."""
        return "" if self._log is None else self._log.read_text("utf-8", "replace")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
            caller.settimeout(1)
            return caller.connect_ex((LOOPBACK, self._port)) == 0

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServiceError(f"{self.name} does not run")
        return self._process

"""A command -> a process with a log -> killed with all below it, even when the tests die. Linux only."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from .. import server_watcher, servers


class Process:
    """A process of the tests. As a context it is started, and killed in the end.

    Args:
        command: What to start.
        log: Where its output is kept.
        environment: All of its environment; by default that of the tests.
    """

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = command
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[Any] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        servers.watch(self._process.pid)

    def kill(self) -> None:
        """Kill it, and wait until it is gone. Does nothing if it does not run."""
        if self._process is not None:
            server_watcher.kill(self._process.pid)
            self._process.wait(servers.PATIENCE_SECONDS)
            servers.unwatch(self._process.pid)
            self._process = None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait_until(self, done: Callable[[], bool], what: str) -> None:
        """Wait for a sign of it.

        Raises:
            RuntimeError: It has ended, or the sign has not come; the message has the end of its log.
        """

        def over() -> bool:
            return done() or not self.alive

        try:
            servers.wait_until(over, what)
        except TimeoutError as exc:
            raise RuntimeError(f"{exc}: {self.output()[-2000:]}") from exc
        if not done():
            raise RuntimeError(f"{self._command[0]} has ended: {self.output()[-2000:]}")

    def output(self) -> str:
        """What it has written so far."""
        return self._log.read_text("utf-8", errors="replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

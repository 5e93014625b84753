"""function -> a process of its own, which a test talks to, or kills.

Each is forked from a process that has imported what it needs and has no threads, so one more costs milliseconds, where a
new interpreter would cost a second. It shares nothing with the tests but one pipe.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self

PATIENCE_SECONDS: Final = 60
KILLED: Final = -signal.SIGKILL

# The last four are what httpx2 imports only when a client is used.
IMPORTED: Final = [
    "tests.handshake.handshake_process", "tests.keyfile.saving_process", "tests.keyfile.watching_process",
    "anyio._backends._asyncio", "h11", "httpcore2", "truststore",
]  # fmt: skip

_context: Final = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(IMPORTED)


class OwnProcess:
    """Runs `function`, which gets its end of the pipe and then `arguments`. Killed when the block ends."""

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        self._pipe, its_end = _context.Pipe()
        self._process = _context.Process(target=function, args=(its_end, *arguments), daemon=True)
        self._process.start()
        its_end.close()

    def hear(self) -> Any:
        """The next object that the process sends. Raises EOFError if it has ended instead."""
        assert self._pipe.poll(PATIENCE_SECONDS), "it says nothing"
        return self._pipe.recv()

    def tell(self, what: object) -> None:
        """Say something to it."""
        self._pipe.send(what)

    def kill(self) -> None:
        """As kill -9."""
        self._process.kill()

    def end(self) -> int:
        """Hang up, wait until it has ended, and return its exit code; of a signal, the negative number."""
        self._pipe.close()
        self._process.join(PATIENCE_SECONDS)
        code = self._process.exitcode
        assert code is not None, "it does not end"
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        self.end()


def wait_for_the_end(pipe: Connection) -> None:
    """In such a process: wait until the test hangs up, or is gone."""
    try:
        pipe.recv()
    except EOFError:
        return

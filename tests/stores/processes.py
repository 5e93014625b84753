"""test <-> a process of its own that uses stores: a line of JSON each way."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

ANSWER_SECONDS: Final = 30.0
_PROGRAM: Final = Path(__file__).with_name("store_process.py")


class StoreProcess:
    """One process that runs store_process.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, str(_PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self._heard = b""
        self._unanswered = 0

    def say(self, what: str, *arguments: object) -> None:
        """Ask for something; `hear` gets the answer."""
        self._unanswered += 1
        self._to.write(json.dumps([what, *arguments]).encode("utf-8") + b"\n")
        self._to.flush()

    def hear(self) -> Any:
        """The next line.

        Raises:
            AssertionError: None came, or the process has ended.
        """
        until = time.monotonic() + ANSWER_SECONDS
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self._from], [], [], max(0.0, until - time.monotonic()))
            more = os.read(self._from.fileno(), 65536) if ready else b""
            assert more, "the process ended" if ready else "the process did not answer"
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        self._unanswered -= 1
        return json.loads(line)

    def ask(self, what: str, *arguments: object) -> Any:
        """`say`, then `hear`."""
        self.say(what, *arguments)
        return self.hear()

    def kill(self) -> list[Any]:
        """Kill it with SIGKILL, and return the whole lines it had still written."""
        self._process.kill()
        rest = self._heard + self._from.read()
        self._heard = b""
        self._process.wait()
        return [json.loads(line) for line in rest.split(b"\n")[:-1]]

    def wait(self) -> int:
        """Let it end by itself; its exit status."""
        self._to.close()
        return self._process.wait(ANSWER_SECONDS)

    def rest(self) -> bool:
        """Make it ready for another test, if it has answered all and does still run."""
        ready = self._process.poll() is None and self._unanswered == 0 and not self._heard
        return ready and bool(self.ask("reset"))

    def end(self) -> None:
        """End it if it has not ended yet."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._from.close()
        with suppress(BrokenPipeError):  # something it never read
            self._to.close()


class StartProcess(Protocol):
    """Starts a process."""

    def __call__(self) -> StoreProcess: ...


def together(seconds: float = 0.05) -> float:
    """A moment soon, on the clock that all processes share: who waits for it until then starts with the others."""
    return time.monotonic() + seconds

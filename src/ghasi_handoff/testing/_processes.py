"""Steps -> a process of its own that has the same store -> outcomes. It can be killed, and can kill itself."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ghasi_handoff.testing._entries import Step, broken

if TYPE_CHECKING:
    from ghasi_handoff.testing._stage import Stage

# A new interpreter on a busy machine takes its time.
PATIENCE_SECONDS: Final = 60.0


class StoreProcess(AbstractContextManager["StoreProcess"]):
    """A new interpreter with a store at the same place. It imports the test class `kit` by its name."""

    def __init__(self, kit: type[Stage[Any]], place: Path) -> None:
        # Spawned, not forked: a fork of a process with threads, connections and locks is another promise.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, kit, str(place)), daemon=True)
        try:
            self._process.start()
        finally:
            theirs.close()

    def perform(self, steps: Sequence[Step], *, then_die: bool = False) -> None:
        """Ask for all steps; `hear` gets the outcomes one by one. A process that dies does so before the last one."""
        self._connection.send((then_die, list(steps)))

    def hear(self) -> Any:
        """What the process says next. At first it says None: it is ready."""
        if not self._connection.poll(PATIENCE_SECONDS):
            broken(f"a process with the store said nothing for {PATIENCE_SECONDS:g} s")
        try:
            return self._connection.recv()
        except EOFError:
            self._process.join(PATIENCE_SECONDS)
            broken(
                f"a process with the store ended with {self._process.exitcode}; its standard error says why. "
                "The test class must stand at the top of a module that can be imported"
            )

    def wait(self) -> None:
        self._process.join(PATIENCE_SECONDS)
        if self._process.exitcode is None:
            broken("a process that should have killed itself goes on")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._connection.close()


def _serve(connection: Connection, kit: type[Stage[Any]], place: str) -> None:
    stage = kit()
    with stage.stage(Path(place)):
        store = stage.open()
        connection.send(None)
        while True:
            try:
                dies, steps = connection.recv()
            except EOFError:
                return
            for number, step in enumerate(steps, 1):
                outcome = stage.perform(store, step)
                if dies and number == len(steps):
                    os.kill(os.getpid(), signal.SIGKILL)
                connection.send(outcome)

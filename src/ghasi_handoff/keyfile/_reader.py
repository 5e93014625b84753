"""interval, requests -> one read at a time, in one daemon thread of each process."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final


class Reader:
    """Calls `read`, a bound method that never raises, every `interval` seconds and when it is asked.

    It holds no reference to the method's object: when that goes, the thread ends.
    """

    def __init__(self, read: Callable[[], None], interval: float) -> None:
        self._read = weakref.WeakMethod(read, lambda _: self._wake.set())
        self._interval = interval
        self._asked_at = -float("inf")
        self._closed = False
        self.start()
        readers.add(self)

    def start(self) -> None:
        """Begin in this process: nothing is inherited by a fork, where a lock may be held and no thread runs."""
        # Between two runs of the garbage collector this may outlive the ring that it reads for.
        if not self._closed and self._read() is not None:
            self._lock = threading.Lock()
            self._wake = threading.Event()
            self._asked: Future[None] | None = None
            threading.Thread(target=self._run, name="ghasi-handoff-keys", daemon=True).start()

    def ask(self, timeout: float) -> Future[None] | None:
        """The read to wait for; None where there is none.

        At most one per interval. Who comes while it is under way waits for the same one, but not once the first of
        them has waited for `timeout` seconds in vain: a flood must not pile up behind a read that hangs.
        """
        with self._lock:
            if self._closed:
                return None
            since = time.monotonic() - self._asked_at
            if self._asked is None:
                if since < self._interval:
                    return None
                self._asked_at = time.monotonic()
                self._asked = Future()
                # From now on it cannot be cancelled: a guest who goes must not end the others' wait.
                self._asked.set_running_or_notify_cancel()
                self._wake.set()
            elif since >= timeout:
                return None
            return self._asked

    def close(self) -> None:
        """End the thread, and the wait of those who have asked."""
        self._closed = True
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._interval)
            self._wake.clear()
            read = None if self._closed else self._read()
            with self._lock:
                asked = self._asked  # who asks from now on may mean a file that this read misses
            if read is not None:
                read()
            if asked is not None:
                with self._lock:
                    self._asked = None
                asked.set_result(None)
            if read is None:
                return
            del read


# All that are alive, for a fork: the child has none of its parent's threads.
readers: Final[weakref.WeakSet[Reader]] = weakref.WeakSet()


def _after_fork() -> None:
    for reader in list(readers):
        reader.start()


os.register_at_fork(after_in_child=_after_fork)

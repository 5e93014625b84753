"""Group commit from a thread: the driver of stores whose transactions block. Serves threads and event loops alike."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from ghasi_handoff._limits import GROUP_COMMIT_IDLE_SECONDS, MAX_BATCH
from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import Consumption
from ghasi_handoff.stores._batches import Batches
from ghasi_handoff.stores._group_commit import Abort, Caller, Entry, Note, Outcome, Run, no_answer, raise_or_return
from ghasi_handoff.stores._opening import REPLAY_STORE
from ghasi_handoff.stores._task_commit import LoopCaller, settle_all


class ThreadCaller(Caller):
    """A caller in a thread."""

    __slots__ = ("_done",)

    def __init__(self, entry: Entry, deadline: float) -> None:
        super().__init__(entry, deadline)
        self._done = threading.Lock()
        self._done.acquire()

    def wait(self) -> bool:
        """Whether the answer came before the deadline."""
        return self._done.acquire(timeout=max(0.0, self.deadline - time.monotonic()))

    def wake(self) -> None:
        """The answer is there."""
        self._done.release()


class ThreadedGroupCommit:
    """Runs batches in one thread, made at the first consume and ended when idle. Another thread calls `abort`."""

    def __init__(self, run: Run, note: Note, abort: Abort, *, timeout: float, product: str) -> None:
        self._batches = Batches(run, note, self._watched, timeout=timeout, product=product)
        self._abort = abort
        self._timeout = timeout
        self._product = product
        self._start_over()
        self._closed = False

    def _start_over(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: list[Caller] = []
        self._thread: threading.Thread | None = None
        self._overdue_at: float | None = None  # when the transaction in flight has taken too long; None: none in flight

    def consume(self, entry: Entry) -> Consumption:
        """Wait for the answer in this thread."""
        caller = ThreadCaller(entry, time.monotonic() + self._timeout)
        self._submit(caller)
        if not caller.wait():
            self._leave(caller)
        return raise_or_return(caller.outcome or no_answer(self._product, self._timeout), entry.handoff_id)

    async def consume_async(self, entry: Entry) -> Consumption:
        """Wait for the answer in this event loop, whichever it is."""
        loop = asyncio.get_running_loop()
        caller = LoopCaller(entry, time.monotonic() + self._timeout)
        self._submit(caller)
        give_up = loop.call_later(self._timeout, self._leave, caller)
        try:
            return raise_or_return(await caller.future, entry.handoff_id)
        finally:
            give_up.cancel()

    def close(self) -> None:
        """Take no more, and answer those who wait. None hangs longer than the timeout."""
        if self._pid != os.getpid():
            self._start_over()
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._timeout)

    def _submit(self, caller: Caller) -> None:
        if self._pid != os.getpid():
            self._start_over()  # a forked child has none of its parent's threads, and perhaps a lock that was held
        with self._changed:
            if self._closed:
                raise REPLAY_STORE.closed(caller.entry.handoff_id)
            self._waiting.append(caller)
            if self._thread is None:
                name = f"ghasi-handoff-{self._product}".lower()
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()
            else:
                self._changed.notify()

    def _leave(self, caller: Caller) -> None:
        """A caller's time is up: nothing of its own is begun any more, and what hangs is ended."""
        with self._changed:
            if caller in self._waiting:
                self._waiting.remove(caller)
            hangs = self._overdue_at is not None and self._overdue_at <= time.monotonic() + 0.001
        if isinstance(caller, LoopCaller):
            caller.settle(no_answer(self._product, self._timeout))
        if hangs:
            self._abort()

    def _work(self) -> None:
        batch: list[Caller] = []
        try:
            while True:
                with self._changed:
                    while not self._waiting:
                        idle = self._closed or not self._changed.wait(GROUP_COMMIT_IDLE_SECONDS)
                        if idle and not self._waiting:
                            self._thread = None
                            return
                    batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                present = [caller for caller in batch if not (isinstance(caller, LoopCaller) and caller.future.done())]
                if present:
                    _deliver(present, self._batches.outcomes(present))
                batch = []
        finally:
            # Only after an error that no store should raise; it goes on to the thread's hook. Nobody waits for it.
            with self._changed:
                if self._thread is threading.current_thread():
                    self._thread = None
                    batch, self._waiting = batch + self._waiting, []
            if batch:
                _deliver(batch, [ReplayStoreError(f"{self._product}: the batch failed")] * len(batch))

    @contextmanager
    def _watched(self, overdue_at: float) -> Generator[None]:
        self._overdue_at = overdue_at
        try:
            yield
        finally:
            self._overdue_at = None


def _deliver(batch: Sequence[Caller], outcomes: Sequence[Outcome]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[LoopCaller]] = {}
    for caller, outcome in zip(batch, outcomes, strict=True):
        caller.outcome = outcome
        if isinstance(caller, LoopCaller):
            by_loop.setdefault(caller.future.get_loop(), []).append(caller)
        elif isinstance(caller, ThreadCaller):
            caller.wake()
    for loop, callers in by_loop.items():
        try:
            loop.call_soon_threadsafe(settle_all, callers)
        except RuntimeError:  # the loop was closed: nobody waits there any more
            if not loop.is_closed():
                raise

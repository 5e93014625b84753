"""Consumes of many callers -> batches -> one answer each. The mechanism under the SQLite and PostgreSQL stores.

A commit waits for the disk, and a disk writes sixty-four rows as fast as one. So there is one batch in flight, and the
consumes that arrive meanwhile make the next. There is no timer: a lone consume starts at once.

`plan_batch` decides what is asked of the store and who gets which answer. It is pure. `ThreadedGroupCommit` drives it
from a thread of its own, `TaskGroupCommit` from an asyncio task of its own, so that no caller that gives up or is
cancelled ends a batch that carries the consumes of others.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import Consumption

MAX_BATCH: Final = 256
IDLE_SECONDS: Final = 10.0
MARGIN_SECONDS: Final = 0.05
REFUSALS_NOTED_PER_HANDOFF: Final = 8


class Entry(NamedTuple):
    """What a consume hands to a store. Sorts by handoff id: batches that lock in one order cannot deadlock."""

    handoff_id: str
    scope: str
    redemption_id: str
    consumed_at: int

    @property
    def key(self) -> tuple[str, str]:
        """What is unique: two scopes may hold the same id."""
        return self.handoff_id, self.scope


Outcome: TypeAlias = Consumption | ReplayStoreError
# One transaction: an answer for each entry, in order; or one error when it is unknown what became of any of them.
Run: TypeAlias = Callable[[Sequence[Entry], float], "Sequence[Outcome] | ReplayStoreError"]
AsyncRun: TypeAlias = Callable[[Sequence[Entry], float], "Awaitable[Sequence[Outcome] | ReplayStoreError]"]


def plan_batch(
    entries: Sequence[Entry],
) -> Generator[Sequence[Entry], Sequence[Outcome] | ReplayStoreError, list[Outcome]]:
    """Yields what to run in one transaction, is sent what came of it, and returns the outcome of each entry.

    Of entries with one id the first to arrive is run; the others get its answer. A transaction that failed, or whose
    end is unknown, is run again entry by entry: consuming is idempotent, and one bad entry must not fail the others.
    """
    firsts: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        firsts.setdefault(entry.key, entry)
    batch = sorted(firsts.values())
    found: dict[tuple[str, str], Outcome] = {}
    outcomes = yield batch
    if not isinstance(outcomes, ReplayStoreError):
        found = {entry.key: outcome for entry, outcome in zip(batch, outcomes, strict=True)}
    elif len(batch) == 1:
        found = {batch[0].key: outcomes}  # its caller may ask again
    else:
        for entry in batch:
            alone = yield [entry]
            found[entry.key] = alone if isinstance(alone, ReplayStoreError) else alone[0]
    answers: list[Outcome] = []
    for entry in entries:
        outcome = found[entry.key]
        if isinstance(outcome, Consumption) and outcome.first and firsts[entry.key] is not entry:
            outcome = Consumption(outcome.holder, first=False, consumed_at=outcome.consumed_at)
        answers.append(outcome)
    return answers


def refusals(entries: Iterable[Entry], outcomes: Iterable[Outcome]) -> list[Entry]:
    """The entries that found another's holder: a few for each handoff, sorted, for the note to support."""
    noted: dict[tuple[str, str], set[Entry]] = {}
    for entry, outcome in zip(entries, outcomes, strict=True):
        if isinstance(outcome, Consumption) and outcome.holder != entry.redemption_id:
            of_one = noted.setdefault(entry.key, set())
            if len(of_one) < REFUSALS_NOTED_PER_HANDOFF:
                of_one.add(entry)
    return sorted(entry for of_one in noted.values() for entry in of_one)


def answer(outcome: Outcome, handoff_id: str) -> Consumption:
    """The answer, or a fresh exception: one object raised in two callers would mix up their tracebacks."""
    if isinstance(outcome, ReplayStoreError):
        raise ReplayStoreError(str(outcome), handoff_id=handoff_id) from outcome.__cause__
    return outcome


class _Waiter:
    """A caller in a thread."""

    __slots__ = ("_done", "deadline", "entry", "outcome")

    def __init__(self, entry: Entry, deadline: float) -> None:
        self.entry = entry
        self.deadline = deadline
        self.outcome: Outcome | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def wait(self) -> bool:
        return self._done.acquire(timeout=max(0.0, self.deadline - time.monotonic()))

    def wake(self) -> None:
        self._done.release()


class _LoopWaiter:
    """A caller in an event loop."""

    __slots__ = ("deadline", "entry", "future", "outcome")

    def __init__(self, entry: Entry, deadline: float, future: asyncio.Future[Outcome]) -> None:
        self.entry = entry
        self.deadline = deadline
        self.future = future
        self.outcome: Outcome | None = None

    @property
    def gone(self) -> bool:
        return self.future.done()


def overdue(batch: Iterable[_Waiter | _LoopWaiter], wanted: Sequence[Entry], now: float, margin: float) -> float | None:
    """When a transaction over `wanted` has taken too long: a little before the first caller that waits for it gives up.

    So the caller learns the store's own reason, and what was given up is not consumed a moment later. None if nobody
    waits any more.
    """
    keys = {entry.key for entry in wanted}
    return min((w.deadline - margin for w in batch if w.deadline - margin > now and w.entry.key in keys), default=None)


class ThreadedGroupCommit:
    """Runs batches in one thread, made at the first consume and ended when idle.

    Args:
        run: One transaction over sorted entries with distinct keys, until the deadline of `time.monotonic`.
        note: Notes refused replays, best effort; must not raise for a store's failure.
        abort: Ends whatever transaction hangs. Called from another thread.
        timeout: Seconds until a caller gets its answer or an error.
        product: Begins the texts of errors.
    """

    def __init__(
        self,
        run: Run,
        note: Callable[[Sequence[Entry], float], None],
        abort: Callable[[], None],
        *,
        timeout: float,
        product: str,
    ) -> None:
        self._run = run
        self._note = note
        self._abort = abort
        self._timeout = timeout
        self._margin = min(MARGIN_SECONDS, timeout / 10)
        self._product = product
        self._start_over()
        self._closed = False

    def _start_over(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: list[_Waiter | _LoopWaiter] = []
        self._thread: threading.Thread | None = None
        self._overdue_at: float | None = None  # when the transaction in flight has taken too long; None: none in flight

    def consume(self, entry: Entry) -> Consumption:
        """Wait for the answer in this thread.

        Raises:
            ReplayStoreError: No sure answer.
        """
        waiter = _Waiter(entry, time.monotonic() + self._timeout)
        self._submit(waiter)
        if not waiter.wait():
            self._leave(waiter)
        if waiter.outcome is None:
            waiter.outcome = self._too_late()
        return answer(waiter.outcome, entry.handoff_id)

    async def consume_async(self, entry: Entry) -> Consumption:
        """Wait for the answer in this event loop, whichever it is.

        Raises:
            ReplayStoreError: No sure answer.
        """
        loop = asyncio.get_running_loop()
        waiter = _LoopWaiter(entry, time.monotonic() + self._timeout, loop.create_future())
        self._submit(waiter)
        give_up = loop.call_later(self._timeout, self._leave, waiter)
        try:
            return answer(await waiter.future, entry.handoff_id)
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

    def _submit(self, waiter: _Waiter | _LoopWaiter) -> None:
        if self._pid != os.getpid():
            self._start_over()  # a forked child has none of its parent's threads, and perhaps a lock that was held
        with self._changed:
            if self._closed:
                raise ReplayStoreError("the store is closed", handoff_id=waiter.entry.handoff_id)
            self._waiting.append(waiter)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name=f"ghasi-handoff-{self._product}".lower(), daemon=True
                )
                self._thread.start()
            else:
                self._changed.notify()

    def _leave(self, waiter: _Waiter | _LoopWaiter) -> None:
        """A caller's time is up: nothing of its own is begun any more, and what hangs is ended."""
        with self._changed:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            hangs = self._overdue_at is not None and self._overdue_at <= time.monotonic() + 0.001
        if isinstance(waiter, _LoopWaiter) and not waiter.future.done():
            waiter.future.set_result(self._too_late())
        if hangs:
            self._abort()

    def _too_late(self) -> ReplayStoreError:
        return ReplayStoreError(f"{self._product}: no answer within {self._timeout:g} s")

    def _work(self) -> None:
        batch: list[_Waiter | _LoopWaiter] = []
        try:
            while True:
                with self._changed:
                    while not self._waiting:
                        if (self._closed or not self._changed.wait(IDLE_SECONDS)) and not self._waiting:
                            self._thread = None
                            return
                    batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                outcomes = self._decide([w for w in batch if not (isinstance(w, _LoopWaiter) and w.gone)])
                self._deliver(*outcomes)
                batch = []
        finally:
            # Only after an error that no store should raise; it goes on to the thread's hook. Nobody waits for it.
            with self._changed:
                if self._thread is threading.current_thread():
                    self._thread = None
                    batch, self._waiting = batch + self._waiting, []
            if batch:
                self._deliver(batch, [ReplayStoreError(f"{self._product}: the batch failed")] * len(batch))

    def _decide(self, batch: list[_Waiter | _LoopWaiter]) -> tuple[list[_Waiter | _LoopWaiter], list[Outcome]]:
        if not batch:
            return [], []
        entries = [waiter.entry for waiter in batch]
        plan = plan_batch(entries)
        wanted = next(plan)
        reason = self._too_late()
        outcomes: list[Outcome] | None = None
        while outcomes is None:
            overdue_at = overdue(batch, wanted, time.monotonic(), self._margin)
            try:
                if overdue_at is None:
                    wanted = plan.send(
                        reason
                    )  # everybody who asked for it has left, or an earlier try took all the time
                else:
                    self._overdue_at = overdue_at
                    came_of_it = self._run(wanted, overdue_at)
                    reason = came_of_it if isinstance(came_of_it, ReplayStoreError) else reason
                    wanted = plan.send(came_of_it)
            except StopIteration as end:
                outcomes = end.value
            finally:
                self._overdue_at = None
        refused = refusals(entries, outcomes)
        overdue_at = overdue(batch, refused, time.monotonic(), self._margin)
        if overdue_at is not None:
            self._overdue_at = overdue_at
            try:
                self._note(refused, overdue_at)
            finally:
                self._overdue_at = None
        return batch, outcomes

    @staticmethod
    def _deliver(batch: Sequence[_Waiter | _LoopWaiter], outcomes: Sequence[Outcome]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_LoopWaiter]] = {}
        for waiter, outcome in zip(batch, outcomes, strict=True):
            waiter.outcome = outcome
            if isinstance(waiter, _Waiter):
                waiter.wake()
            else:
                by_loop.setdefault(waiter.future.get_loop(), []).append(waiter)
        for loop, waiters in by_loop.items():
            try:
                loop.call_soon_threadsafe(_settle, waiters)
            except RuntimeError:  # the loop was closed: nobody waits there any more
                if not loop.is_closed():
                    raise


def _settle(waiters: Iterable[_LoopWaiter]) -> None:
    for waiter in waiters:
        if not waiter.future.done() and waiter.outcome is not None:
            waiter.future.set_result(waiter.outcome)


class _Line:
    """Who waits in one event loop, and the task that serves them."""

    __slots__ = ("task", "waiting")

    def __init__(self) -> None:
        self.waiting: list[_LoopWaiter] = []
        self.task: asyncio.Task[None] | None = None


class TaskGroupCommit:
    """Runs batches in an asyncio task, one for each event loop that has callers.

    Args:
        run: As for `ThreadedGroupCommit`, awaited.
        note: As for `ThreadedGroupCommit`, awaited.
        abort: Ends whatever transaction hangs in this event loop.
        timeout: Seconds until a caller gets its answer or an error.
        product: Begins the texts of errors.
    """

    def __init__(
        self,
        run: AsyncRun,
        note: Callable[[Sequence[Entry], float], Awaitable[None]],
        abort: Callable[[], None],
        *,
        timeout: float,
        product: str,
    ) -> None:
        self._run = run
        self._note = note
        self._abort = abort
        self._timeout = timeout
        self._margin = min(MARGIN_SECONDS, timeout / 10)
        self._product = product
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
        self._closed = False

    async def consume(self, entry: Entry) -> Consumption:
        """Wait for the answer.

        Raises:
            ReplayStoreError: No sure answer.
        """
        if self._closed:
            raise ReplayStoreError("the store is closed", handoff_id=entry.handoff_id)
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = _Line()
        deadline = loop.time() + self._timeout
        waiter = _LoopWaiter(entry, deadline, loop.create_future())
        line.waiting.append(waiter)
        if line.task is None or line.task.done():  # done: cancelled with its loop's other tasks before it began
            line.task = loop.create_task(self._work(line))
        give_up = loop.call_at(deadline, self._expire, waiter)
        try:
            return answer(await waiter.future, entry.handoff_id)
        finally:
            give_up.cancel()

    async def aclose(self) -> None:
        """Take no more, and let this event loop's batches end. None hangs longer than the timeout."""
        self._closed = True
        line = self._lines.get(asyncio.get_running_loop())
        if line is not None and line.task is not None:
            await asyncio.wait([line.task])

    def _expire(self, waiter: _LoopWaiter) -> None:
        if not waiter.future.done():
            waiter.future.set_result(self._too_late())

    def _too_late(self) -> ReplayStoreError:
        return ReplayStoreError(f"{self._product}: no answer within {self._timeout:g} s")

    async def _work(self, line: _Line) -> None:
        batch: list[_LoopWaiter] = []
        try:
            while line.waiting:
                batch = [waiter for waiter in line.waiting[:MAX_BATCH] if not waiter.gone]
                del line.waiting[:MAX_BATCH]
                if batch:
                    outcomes = await self._decide(batch)
                    for waiter, outcome in zip(batch, outcomes, strict=True):
                        waiter.outcome = outcome
                    _settle(batch)
        finally:
            # The task was cancelled with its event loop, or a store raised what it should not: nobody waits for it.
            line.task = None
            for waiter in (*batch, *line.waiting):
                if not waiter.gone:
                    waiter.future.set_result(ReplayStoreError(f"{self._product}: the batch was ended"))
            line.waiting.clear()

    async def _decide(self, batch: list[_LoopWaiter]) -> list[Outcome]:
        loop = asyncio.get_running_loop()
        entries = [waiter.entry for waiter in batch]
        plan = plan_batch(entries)
        wanted = next(plan)
        reason = self._too_late()
        outcomes: list[Outcome] | None = None
        while outcomes is None:
            overdue_at = overdue(batch, wanted, loop.time(), self._margin)
            try:
                if overdue_at is None:
                    wanted = plan.send(reason)
                else:
                    hangs = loop.call_at(overdue_at, self._abort)
                    try:
                        came_of_it = await self._run(wanted, overdue_at)
                    finally:
                        hangs.cancel()
                    reason = came_of_it if isinstance(came_of_it, ReplayStoreError) else reason
                    wanted = plan.send(came_of_it)
            except StopIteration as end:
                outcomes = end.value
        refused = refusals(entries, outcomes)
        overdue_at = overdue(batch, refused, loop.time(), self._margin)
        if overdue_at is not None:
            hangs = loop.call_at(overdue_at, self._abort)
            try:
                await self._note(refused, overdue_at)
            finally:
                hangs.cancel()
        return outcomes

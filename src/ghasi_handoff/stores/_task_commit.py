"""Group commit from an asyncio task: the driver of stores whose transactions are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from ghasi_handoff._limits import MAX_BATCH
from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import Consumption
from ghasi_handoff.stores._batches_async import AsyncBatches
from ghasi_handoff.stores._group_commit import (
    Abort,
    AsyncNote,
    AsyncRun,
    Caller,
    Entry,
    Outcome,
    no_answer,
    raise_or_return,
)
from ghasi_handoff.stores._opening import REPLAY_STORE


class LoopCaller(Caller):
    """A caller in an event loop, that of this very moment."""

    __slots__ = ("future",)

    def __init__(self, entry: Entry, deadline: float) -> None:
        super().__init__(entry, deadline)
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: Outcome) -> None:
        """Answer the caller, in its event loop, unless it has its answer or was cancelled."""
        if not self.future.done():
            self.future.set_result(outcome)


def settle_all(callers: Iterable[LoopCaller]) -> None:
    """Answer callers of this event loop by their outcomes."""
    for caller in callers:
        if caller.outcome is not None:
            caller.settle(caller.outcome)


@dataclass(slots=True)
class _Line:
    """Who waits in one event loop, and the task that serves them."""

    waiting: list[LoopCaller] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class TaskGroupCommit:
    """Runs batches in an asyncio task, one for each event loop that has callers."""

    def __init__(self, run: AsyncRun, note: AsyncNote, abort: Abort, *, timeout: float, product: str) -> None:
        self._batches = AsyncBatches(run, note, self._watched, timeout=timeout, product=product)
        self._abort = abort
        self._timeout = timeout
        self._product = product
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
        self._closed = False

    async def consume(self, entry: Entry) -> Consumption:
        """Wait for the answer."""
        if self._closed:
            raise REPLAY_STORE.closed(entry.handoff_id)
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = _Line()
        deadline = loop.time() + self._timeout
        caller = LoopCaller(entry, deadline)
        line.waiting.append(caller)
        if line.task is None or line.task.done():  # done: cancelled with its loop's other tasks before it began
            line.task = loop.create_task(self._work(line))
        give_up = loop.call_at(deadline, caller.settle, no_answer(self._product, self._timeout))
        try:
            return raise_or_return(await caller.future, entry.handoff_id)
        finally:
            give_up.cancel()

    async def aclose(self) -> None:
        """Take no more, and let this event loop's batches end. None hangs longer than the timeout."""
        self._closed = True
        line = self._lines.get(asyncio.get_running_loop())
        if line is not None and line.task is not None:
            await asyncio.wait([line.task])

    async def _work(self, line: _Line) -> None:
        batch: list[LoopCaller] = []
        try:
            while line.waiting:
                batch = [caller for caller in line.waiting[:MAX_BATCH] if not caller.future.done()]
                del line.waiting[:MAX_BATCH]
                if batch:
                    outcomes = await self._batches.outcomes(batch)
                    for caller, outcome in zip(batch, outcomes, strict=True):
                        caller.settle(outcome)
        finally:
            # The task was cancelled with its event loop, or a store raised what it should not: nobody waits for it.
            line.task = None
            for caller in (*batch, *line.waiting):
                caller.settle(ReplayStoreError(f"{self._product}: the batch was ended"))
            line.waiting.clear()

    @contextmanager
    def _watched(self, overdue_at: float) -> Generator[None]:
        hangs = asyncio.get_running_loop().call_at(overdue_at, self._abort)
        try:
            yield
        finally:
            hangs.cancel()

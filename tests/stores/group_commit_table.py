"""The smallest thing that group commit can drive: a table in memory, and the drivers over it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import Consumption
from ghasi_handoff.stores._group_commit import Entry, Outcome
from ghasi_handoff.stores._task_commit import TaskGroupCommit
from ghasi_handoff.stores._thread_commit import ThreadedGroupCommit

from .entries import NOW, SCOPE, handoff_id, redemption_id

# Far more than any of this takes. Who waits longer waits in vain.
PATIENCE = 60.0


def an_entry(number: int, by: int = 1) -> Entry:
    return Entry(handoff_id(NOW, number), SCOPE, redemption_id(by), NOW)


class Table:
    """The smallest transaction: a dict, that can fail as a whole or for one id, or stand still."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], tuple[str, int]] = {}
        self.batches: list[list[Entry]] = []
        self.deadlines: list[float] = []
        self.broken: set[str] = set()
        self.on_run: Callable[[], None] = lambda: None
        self.on_run_async: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)
        self.noted: list[Entry] = []

    def run(self, entries: Sequence[Entry], deadline: float) -> Sequence[Outcome] | ReplayStoreError:
        self.batches.append(list(entries))
        self.deadlines.append(deadline)
        self.on_run()
        if any(entry.handoff_id in self.broken for entry in entries):
            return ReplayStoreError(f"broken {len(self.batches)}")
        outcomes: list[Outcome] = []
        for entry in entries:
            first = entry.key not in self.held
            holder, at = self.held.setdefault(entry.key, (entry.redemption_id, entry.consumed_at))
            outcomes.append(Consumption(holder, first=first, consumed_at=at))
        return outcomes

    def note(self, entries: Sequence[Entry], deadline: float) -> None:
        self.noted += entries

    async def run_async(self, entries: Sequence[Entry], deadline: float) -> Sequence[Outcome] | ReplayStoreError:
        await self.on_run_async()
        return self.run(entries, deadline)

    async def note_async(self, entries: Sequence[Entry], deadline: float) -> None:
        self.note(entries, deadline)

    def threaded(self, *, timeout: float = PATIENCE, abort: Callable[[], None] = lambda: None) -> Threads:
        return Threads(self.run, self.note, abort, timeout=timeout, product="Table")

    def tasked(self, *, timeout: float = PATIENCE) -> Tasks:
        return Tasks(self.run_async, self.note_async, lambda: None, timeout=timeout, product="Table")

    @contextmanager
    def in_flight_in_thread(self) -> Generator[tuple[Threads, ThreadPoolExecutor, threading.Event]]:
        """A driver whose transaction for `an_entry(0)` stands still until the event is set; and threads for more callers."""
        reached, over = threading.Event(), threading.Event()

        def wait() -> None:
            if not reached.is_set():
                reached.set()
                assert over.wait(PATIENCE)

        self.on_run = wait
        commits = self.threaded()
        with ThreadPoolExecutor(20) as threads:
            first = threads.submit(commits.consume, an_entry(0))
            assert reached.wait(PATIENCE)
            commits.wait_for(1)
            try:
                yield commits, threads, over
            finally:
                over.set()
            assert first.result().first
        commits.close()

    @asynccontextmanager
    async def in_flight(self) -> AsyncGenerator[tuple[Tasks, asyncio.Task[Consumption], asyncio.Event]]:
        """A driver whose transaction for `an_entry(0)` stands still until the event is set; and the task that waits for it."""
        begun, over = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            begun.set()
            await over.wait()

        self.on_run_async = wait
        commits = self.tasked()
        first = asyncio.create_task(commits.consume(an_entry(0)))
        await begun.wait()
        yield commits, first, over
        await commits.aclose()


class Threads(ThreadedGroupCommit):
    """Callers in threads, each with a patience of its own; tells how many have come."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.came = threading.Semaphore(0)

    def _submit(self, caller: Any) -> None:
        super()._submit(caller)
        self.came.release()

    def wait_for(self, callers: int) -> None:
        """Until so many more callers are queued."""
        for _ in range(callers):
            assert self.came.acquire(timeout=PATIENCE)

    def consume_within(self, seconds: float, entry: Entry) -> Consumption:
        """As `consume`, by a caller who is more or less patient than the others."""
        self._timeout, before = seconds, self._timeout
        try:
            return self.consume(entry)
        finally:
            self._timeout = before


class Tasks(TaskGroupCommit):
    """Callers in tasks, each with a patience of its own."""

    async def consume_within(self, seconds: float, entry: Entry) -> Consumption:
        """As `consume`, by a caller who is more or less patient than the others."""
        self._timeout, before = seconds, self._timeout
        asking = asyncio.create_task(self.consume(entry))
        await asyncio.sleep(0)
        self._timeout = before
        return await asking

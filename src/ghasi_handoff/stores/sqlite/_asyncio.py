"""The replay store, its outbox and the handoff log for asyncio: threads do the work, as the driver has no asyncio."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Self

from ghasi_handoff._limits import DEFAULT_LEEWAY, DEFAULT_STORE_TIMEOUT_SECONDS
from ghasi_handoff.replay import (
    Consumption,
    OutboxEntry,
    OutboxStats,
    ReplayTrace,
    StoreReport,
    StoreStats,
    check_entry,
)
from ghasi_handoff.stores._group_commit import Entry
from ghasi_handoff.stores._handoff_log import ConsumeCall, HandoffQuery, HandoffRecord
from ghasi_handoff.stores.sqlite._handoff_log import SQLiteHandoffLog
from ghasi_handoff.stores.sqlite._outbox import SQLiteOutbox
from ghasi_handoff.stores.sqlite._replay_store import SQLiteReplayStore


class _Store(SQLiteReplayStore):
    """A store whose batches also take entries from event loops."""

    async def consume_async(self, entry: Entry) -> Consumption:
        return await self._commits.consume_async(entry)


class AsyncSQLiteReplayStore:
    """`SQLiteReplayStore` for asyncio: a thread of its own does the work, so the event loop never waits for the disk.

    A caller that is cancelled or times out leaves the question open, never half answered: the same call repeated gets
    the truth.

    Args:
        path: The file.
        outbox: Also write an outbox entry, in the transaction of the consume that wins.
        timeout: How long a consume may take at most. Seconds or a timedelta, up to 60 s.
        clock: Returns Unix seconds; read only to purge.

    Raises:
        ConfigurationError: An argument is not valid.
        ReplayStoreError: The SQLite library of this Python is older than 3.37.
    """

    guarantees = SQLiteReplayStore.guarantees

    def __init__(
        self,
        path: str | os.PathLike[str],
        outbox: bool = False,
        *,
        timeout: float | timedelta = DEFAULT_STORE_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = _Store(path, outbox, timeout=timeout, clock=clock)
        self._outbox = None if self._store.outbox is None else AsyncSQLiteOutbox(self._store.outbox)

    @property
    def outbox(self) -> AsyncSQLiteOutbox | None:
        """The outbox, if this store writes one."""
        return self._outbox

    async def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ghasi_handoff.ReplayStore.consume`.

        Raises:
            ReplayStoreError: As `SQLiteReplayStore.consume`.
        """
        check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
        return await self._store.consume_async(Entry(handoff_id, scope, redemption_id, consumed_at))

    async def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """As `SQLiteReplayStore.purge`; `progress` is called in another thread."""
        return await asyncio.to_thread(self._store.purge, now, progress=progress)

    async def create_schema(self) -> None:
        """As `SQLiteReplayStore.create_schema`."""
        await asyncio.to_thread(self._store.create_schema)

    async def check(self, *, leeway: timedelta = DEFAULT_LEEWAY) -> StoreReport:
        """As `SQLiteReplayStore.check`."""
        return await asyncio.to_thread(self._store.check, leeway=leeway)

    async def stats(self) -> StoreStats:
        """As `SQLiteReplayStore.stats`."""
        return await asyncio.to_thread(self._store.stats)

    async def trace(self, handoff_id: str, scope: str | None = None) -> ReplayTrace:
        """As `SQLiteReplayStore.trace`."""
        return await asyncio.to_thread(self._store.trace, handoff_id, scope)

    async def aclose(self) -> None:
        """Close the file once running work is done. The store cannot be used afterwards."""
        await asyncio.to_thread(self._store.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


class AsyncSQLiteOutbox:
    """`SQLiteOutbox` for asyncio, in threads."""

    def __init__(self, outbox: SQLiteOutbox) -> None:
        self._outbox = outbox

    async def lease(self, now: int, *, limit: int, seconds: int, whether_due: bool = True) -> list[OutboxEntry]:
        """See `Outbox.lease`."""
        return await asyncio.to_thread(self._outbox.lease, now, limit=limit, seconds=seconds, whether_due=whether_due)

    async def settle(self, handoff_id: str, scope: str, redemption_id: str) -> bool:
        """See `Outbox.settle`."""
        return await asyncio.to_thread(self._outbox.settle, handoff_id, scope, redemption_id)

    async def postpone(self, entry: OutboxEntry, *, due_at: int, outcome: str) -> None:
        """See `Outbox.postpone`."""
        await asyncio.to_thread(self._outbox.postpone, entry, due_at=due_at, outcome=outcome)

    async def bury(self, entry: OutboxEntry, *, dead_at: int, outcome: str) -> None:
        """See `Outbox.bury`."""
        await asyncio.to_thread(self._outbox.bury, entry, dead_at=dead_at, outcome=outcome)

    async def revive(self) -> int:
        """See `Outbox.revive`."""
        return await asyncio.to_thread(self._outbox.revive)

    async def entries(self, *, limit: int) -> list[OutboxEntry]:
        """See `Outbox.entries`."""
        return await asyncio.to_thread(self._outbox.entries, limit=limit)

    async def stats(self) -> OutboxStats:
        """See `Outbox.stats`."""
        return await asyncio.to_thread(self._outbox.stats)


class AsyncSQLiteHandoffLog:
    """`SQLiteHandoffLog` for asyncio: threads do the work, so the event loop never waits for the disk.

    Args:
        path: The file.
        timeout: How long an operation may take at most.
        clock: Returns Unix seconds.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float | timedelta = DEFAULT_STORE_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = SQLiteHandoffLog(path, timeout=timeout, clock=clock)

    async def record(self, record: HandoffRecord) -> None:
        """See `HandoffLog.record`."""
        await asyncio.to_thread(self._log.record, record)

    async def consume(self, call: ConsumeCall, recorded_at: int) -> HandoffRecord | None:
        """See `HandoffLog.consume`."""
        return await asyncio.to_thread(self._log.consume, call, recorded_at)

    async def revoke(self, handoff_id: str) -> HandoffRecord:
        """See `HandoffLog.revoke`."""
        return await asyncio.to_thread(self._log.revoke, handoff_id)

    async def find(self, handoff_id: str) -> HandoffRecord | None:
        """See `HandoffLog.find`."""
        return await asyncio.to_thread(self._log.find, handoff_id)

    async def search(self, query: HandoffQuery) -> list[HandoffRecord]:
        """See `HandoffLog.search`."""
        return await asyncio.to_thread(self._log.search, query)

    async def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """As `SQLiteHandoffLog.purge`; `progress` is called in another thread."""
        return await asyncio.to_thread(self._log.purge, now, progress=progress)

    async def create_schema(self) -> None:
        """As `SQLiteHandoffLog.create_schema`."""
        await asyncio.to_thread(self._log.create_schema)

    async def aclose(self) -> None:
        """Close the file once running work is done."""
        await asyncio.to_thread(self._log.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

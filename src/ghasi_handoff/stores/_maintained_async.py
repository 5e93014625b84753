"""What a store and a handoff log offer their operator, beside their one decision. Protocols, for asyncio. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from ghasi_handoff._limits import DEFAULT_LEEWAY
from ghasi_handoff._outbox_async import AsyncOutbox
from ghasi_handoff._store_reports import ReplayTrace, StoreReport, StoreStats
from ghasi_handoff.replay import AsyncReplayStore
from ghasi_handoff.stores._handoff_log import AsyncHandoffLog


class AsyncMaintained(Protocol):
    """What stores and handoff logs have in common."""

    async def create_schema(self) -> None:
        """Make what is needed, if it is not there. Safe to repeat."""
        ...

    async def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Remove what no token, and no operator, can need any more. Returns how many.

        Args:
            now: Unix seconds or an aware datetime; by default the clock's reading.
            progress: Called after each chunk with the number removed so far.
        """
        ...


class AsyncMaintainedStore(AsyncReplayStore, AsyncMaintained, Protocol):
    """A replay store that its operator can make, check, count, purge and search. Every store with a URL is one."""

    @property
    def outbox(self) -> AsyncOutbox | None:
        """The outbox, if this store writes one."""
        ...

    async def check(self, *, leeway: timedelta = DEFAULT_LEEWAY) -> StoreReport:
        """Ask the live store for everything that could break its promises.

        Args:
            leeway: How far its clock may be from ours.
        """
        ...

    async def stats(self) -> StoreStats:
        """How much the store holds."""
        ...

    async def trace(self, handoff_id: str, scope: str | None = None) -> ReplayTrace | None:
        """Everything that the store holds of one handoff, for support. Changes nothing.

        Args:
            handoff_id: The handoff.
            scope: The text of its `Scope`. A store whose keys need it (Redis) answers None without it; others ignore it
                and report every scope.
        """
        ...


class AsyncMaintainedLog(AsyncHandoffLog, AsyncMaintained, Protocol):
    """A handoff log that its operator can make and purge. Every handoff log with a URL is one."""

"""What a handoff log offers its issuer, and store and log their operator. Protocols, for asyncio. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol, Self

from ghasi_handoff._limits import DEFAULT_LEEWAY
from ghasi_handoff._outbox_async import AsyncOutbox
from ghasi_handoff._store_reports import ReplayTrace, StoreReport, StoreStats
from ghasi_handoff.replay import AsyncReplayStore
from ghasi_handoff.stores._handoff_log import ConsumeCall, HandoffQuery, HandoffRecord


class AsyncHandoffLog(Protocol):
    """Where an issuer remembers what it issued. Every method is durable before it returns."""

    async def record(self, record: HandoffRecord) -> None:
        """Add a row, before its token is in the world.

        Raises:
            HandoffLogError: It is not sure that the row is there. Repeating the call is safe.
        """
        ...

    async def consume(self, call: ConsumeCall, recorded_at: int) -> HandoffRecord | None:
        """Mark the row consumed if it is still issued, matches the call and is not too late; then give the row, if any.

        One atomic, guarded update: of several calls at once one wins. The state never changes a second time.

        Raises:
            HandoffLogError: The outcome is unknown. Repeating the call is safe.
        """
        ...

    async def revoke(self, handoff_id: str) -> HandoffRecord:
        """Mark the row revoked if it is still issued; then give the row. One that is consumed stays so.

        Raises:
            UnknownHandoffError: There is no such row.
            HandoffLogError: The outcome is unknown. Repeating the call is safe.
        """
        ...

    async def find(self, handoff_id: str) -> HandoffRecord | None:
        """The row, if there is one. Changes nothing."""
        ...

    async def search(self, query: HandoffQuery) -> list[HandoffRecord]:
        """The rows that match, the newest first. Changes nothing."""
        ...


class AsyncClosing:
    """What is closed at the end of its `async with` block."""

    async def aclose(self) -> None:
        """Nothing to release. Here so that all stores and logs can be closed alike."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


class AsyncMaintained(Protocol):
    """What stores and handoff logs have in common."""

    async def create_schema(self) -> None:
        """Make what is needed, if it is not there. Safe to repeat."""
        ...

    async def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Remove what no token, and no operator, can need any more. Returns how many."""
        ...


class AsyncMaintainedStore(AsyncReplayStore, AsyncMaintained, Protocol):
    """A replay store that its operator can make, check, count, purge and search. Every store with a URL is one."""

    @property
    def outbox(self) -> AsyncOutbox | None:
        """The outbox, if this store writes one."""
        ...

    async def check(self, *, leeway: timedelta = DEFAULT_LEEWAY) -> StoreReport:
        """Ask the live store for everything that could break its promises."""
        ...

    async def stats(self) -> StoreStats:
        """How much the store holds."""
        ...

    async def trace(self, handoff_id: str, scope: str | None = None) -> ReplayTrace | None:
        """Everything that the store holds of one handoff, for support. Changes nothing.

        A store whose keys need the text of the `Scope` (Redis) answers None without it; others ignore it and report
        every scope.
        """
        ...


class AsyncMaintainedLog(AsyncHandoffLog, AsyncMaintained, Protocol):
    """A handoff log that its operator can make and purge. Every handoff log with a URL is one."""

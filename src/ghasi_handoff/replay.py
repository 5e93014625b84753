"""handoff id, redemption id -> holder. The protocol of replay stores: one atomic act decides. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from ghasi_handoff._limits import HORIZON_SECONDS, MAX_SECONDS, PURGE_OVERDUE_SECONDS
from ghasi_handoff._signing_string import as_handoff_id
from ghasi_handoff._times import read_clock, to_seconds
from ghasi_handoff.errors import ConfigurationError, InvalidHandoffInputError, ReplayStoreError

__all__ = [
    "HORIZON_SECONDS",
    "AsyncOutbox",
    "AsyncReplayStore",
    "Consumption",
    "Hazard",
    "Outbox",
    "OutboxEntry",
    "OutboxStats",
    "ReplayRecord",
    "ReplayRefusal",
    "ReplayStore",
    "ReplayTrace",
    "StoreGuarantees",
    "StoreReport",
    "StoreStats",
    "check_entry",
]


@dataclass(frozen=True, slots=True)
class Consumption:
    """A store's answer: who the handoff belongs to from now on.

    Attributes:
        holder: The redemption id that holds the handoff: the caller's own, or another's.
        first: Whether this very call made it so. Never decide by it: after a commit whose reply was lost, nobody sees
            it true.
        consumed_at: Unix seconds of the consume that won, by the clock of the caller that won.
    """

    holder: str
    first: bool
    consumed_at: int


@dataclass(frozen=True, slots=True)
class StoreGuarantees:
    """What a store promises when it runs as documented.

    Attributes:
        durable: A consume that was answered survives the end of the process and the crash of the machine.
        shared: All machines of a service see the same entries.
        survives_failover: No answered consume is lost when another server takes over.
        outbox: It can write an outbox entry in the transaction of the consume that wins.
    """

    durable: bool
    shared: bool
    survives_failover: bool
    outbox: bool


@dataclass(frozen=True, slots=True)
class Hazard:
    """One thing about a live store that can break its promises.

    Attributes:
        code: Stable, in lower case with underscores, for alerts: ``evicting_policy``, ``clock_differs``.
        text: What is wrong, with the value that was found.
        remedy: What the operator does about it.
    """

    code: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What `check` found on a live store.

    Attributes:
        server: Product and version that answered, such as ``PostgreSQL 18.4``.
        settings: The settings that were looked at, by name.
        hazards: Empty when the store may be trusted as documented.
    """

    server: str
    settings: dict[str, str]
    hazards: tuple[Hazard, ...]

    @property
    def ok(self) -> bool:
        """Whether no hazard was found."""
        return not self.hazards


@dataclass(frozen=True, slots=True)
class StoreStats:
    """How much a store holds. None stands for what it cannot tell.

    Attributes:
        entries: Redemptions held. On PostgreSQL, above 100 000, the planner's estimate.
        oldest_at: Time of the oldest handoff id held, Unix seconds.
        newest_at: Time of the newest handoff id held, Unix seconds.
        purged_before: Ids before this time are refused: they may have been purged. Unix seconds.
        refused: Replays noted for support.
        outbox: Entries of the outbox that wait for delivery.
        size_bytes: Bytes of all this, indexes included.
    """

    entries: int | None
    oldest_at: int | None
    newest_at: int | None
    purged_before: int | None
    refused: int | None
    outbox: int | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A redemption of which the issuer has not been told for certain.

    Attributes:
        handoff_id: The handoff.
        scope: The issuer, LF, the audience.
        redemption_id: Who redeemed.
        consumed_at: When, Unix seconds by the clock of the caller that won.
        attempts: How often a worker has taken it for delivery.
        due_at: Not to be taken before this time, Unix seconds. A worker that takes it moves this ahead.
        dead_at: When delivery was given up, Unix seconds; None while it goes on.
        outcome: What came of the last try, in one word; empty before the first.
    """

    handoff_id: str
    scope: str
    redemption_id: str
    consumed_at: int
    attempts: int
    due_at: int
    dead_at: int | None
    outcome: str


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """How much waits in an outbox.

    Attributes:
        pending: Entries that are still to be delivered.
        dead: Entries whose delivery was given up.
        oldest_consumed_at: The oldest pending entry's redemption, Unix seconds; None if none is pending.
    """

    pending: int
    dead: int
    oldest_consumed_at: int | None


@dataclass(frozen=True, slots=True)
class ReplayRecord:
    """Who holds a handoff: one row of the replay log.

    Attributes:
        scope: The issuer, LF, the audience.
        redemption_id: The holder.
        consumed_at: Unix seconds.
    """

    scope: str
    redemption_id: str
    consumed_at: int


@dataclass(frozen=True, slots=True)
class ReplayRefusal:
    """A replay that was refused, as far as it was noted.

    Attributes:
        scope: The issuer, LF, the audience.
        redemption_id: Who tried.
        refused_at: Unix seconds.
    """

    scope: str
    redemption_id: str
    refused_at: int


@dataclass(frozen=True, slots=True)
class ReplayTrace:
    """Everything that a store knows of one handoff, for support. No decision reads it.

    Attributes:
        records: Who holds it, in each scope.
        refusals: Who else tried, oldest first.
        outbox: What is still to be delivered.
    """

    records: tuple[ReplayRecord, ...]
    refusals: tuple[ReplayRefusal, ...]
    outbox: tuple[OutboxEntry, ...]


class Outbox(Protocol):
    """The redemptions of which the issuer is still to be told. A store writes each in the consume's transaction."""

    def lease(self, now: int, *, limit: int, seconds: int, whether_due: bool = True) -> list[OutboxEntry]:
        """Take up to `limit` entries that are due; no other worker gets them for `seconds`, unless settled before.

        Args:
            now: Unix seconds.
            limit: At most so many, the longest due first.
            seconds: A worker that dies gives its entries back after this time.
            whether_due: False takes entries before their time, too.
        """
        ...

    def settle(self, handoff_id: str, scope: str, redemption_id: str) -> bool:
        """Remove an entry: the issuer has given its final answer. Whether it was there."""
        ...

    def postpone(self, entry: OutboxEntry, *, due_at: int, outcome: str) -> None:
        """Try `entry` again at `due_at`."""
        ...

    def bury(self, entry: OutboxEntry, *, dead_at: int, outcome: str) -> None:
        """Give up on `entry`, but keep it: an operator decides."""
        ...

    def revive(self) -> int:
        """Make every entry that was given up due again. How many there were."""
        ...

    def entries(self, *, limit: int) -> list[OutboxEntry]:
        """Up to `limit` entries, the dead ones first, then the oldest. Changes nothing."""
        ...

    def stats(self) -> OutboxStats:
        """How much waits."""
        ...


class AsyncOutbox(Protocol):
    """`Outbox` for asyncio."""

    async def lease(self, now: int, *, limit: int, seconds: int, whether_due: bool = True) -> list[OutboxEntry]:
        """As `Outbox.lease`."""
        ...

    async def settle(self, handoff_id: str, scope: str, redemption_id: str) -> bool:
        """As `Outbox.settle`."""
        ...

    async def postpone(self, entry: OutboxEntry, *, due_at: int, outcome: str) -> None:
        """As `Outbox.postpone`."""
        ...

    async def bury(self, entry: OutboxEntry, *, dead_at: int, outcome: str) -> None:
        """As `Outbox.bury`."""
        ...

    async def revive(self) -> int:
        """As `Outbox.revive`."""
        ...

    async def entries(self, *, limit: int) -> list[OutboxEntry]:
        """As `Outbox.entries`."""
        ...

    async def stats(self) -> OutboxStats:
        """As `Outbox.stats`."""
        ...


@runtime_checkable
class ReplayStore(Protocol):
    """Remembers which handoffs are consumed, and by whom. Write your own with this one method."""

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """Give the handoff to `redemption_id`, unless it belongs to somebody already.

        Atomic, and durable before it returns. Of any number of calls with one `handoff_id` and `scope`, from any
        thread, process or machine, exactly one redemption id becomes the holder, and every answer names it. An entry
        never changes.

        Args:
            handoff_id: A UUIDv7 in lower case, from a verified token.
            scope: The issuer, LF, the audience. The same id in another scope is another handoff.
            redemption_id: Who redeems: 64 lower-case hexadecimal digits.
            consumed_at: Unix seconds: the caller's clock as it hands the entry over.
            retain_until: Unix seconds until which the entry must be kept.

        Raises:
            ReplayStoreError: No sure answer: unreachable, full, timed out, or ``consumed_at >= retain_until``. The same
                call may be repeated, and then gets the true answer.
        """
        ...


@runtime_checkable
class AsyncReplayStore(Protocol):
    """`ReplayStore` for asyncio: the same contract, awaited, and never blocking the event loop."""

    async def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """As `ReplayStore.consume`."""
        ...


def check_entry(handoff_id: str, scope: str, redemption_id: str, consumed_at: int, retain_until: int) -> None:
    """What every store refuses before it does anything.

    Raises:
        InvalidHandoffInputError: An argument of the wrong type, or an id that is no UUIDv7: purging relies on its time.
        ReplayStoreError: ``consumed_at >= retain_until``. Some stores would accept such an entry and forget it at once,
            so that every later caller would win, too.
    """
    if as_handoff_id(handoff_id) is None:
        raise InvalidHandoffInputError("handoff_id must be a UUIDv7 in lower case")
    if not isinstance(scope, str) or not isinstance(redemption_id, str) or not scope or not redemption_id:
        raise InvalidHandoffInputError("scope and redemption_id must be texts that are not empty")
    for name, seconds in (("consumed_at", consumed_at), ("retain_until", retain_until)):
        if type(seconds) is not int or not 0 <= seconds <= 2 * MAX_SECONDS:
            raise InvalidHandoffInputError(f"{name} must be whole Unix seconds")
    if consumed_at >= retain_until:
        raise ReplayStoreError(
            f"refused: consumed {consumed_at - retain_until} s past the entry's retention", handoff_id=handoff_id
        )


def purge_cutoff(now: int, newest_id_seconds: int) -> int:
    """Ids of before this time (Unix seconds) may be purged.

    Bounded by the newest stored id as well as the clock: a clock that jumps ahead alone must not make a store forget.
    """
    return max(0, min(now, newest_id_seconds) - HORIZON_SECONDS)


def purge_time(now: int | datetime | None, clock: Callable[[], float]) -> int:
    """The time of a purge in Unix seconds: what the caller says, or the clock's reading.

    Raises:
        ConfigurationError: Not a time: naive, not whole, or outside 1970 to 9999.
    """
    if isinstance(now, datetime):
        return to_seconds(now, name="now", error=ConfigurationError)
    return int(read_clock(clock if now is None else lambda: now))


def clock_hazards(ours: float, theirs: float | None, newest_id_seconds: int | None, leeway: timedelta) -> list[Hazard]:
    """What two clocks, and the newest stored id, say about each other.

    Args:
        ours: This machine's clock, Unix seconds.
        theirs: The server's clock, Unix seconds; None where there is no server.
        newest_id_seconds: The time of the newest stored id.
        leeway: The verifier's leeway.
    """
    allowed = leeway.total_seconds()
    found: list[Hazard] = []
    if theirs is not None and abs(theirs - ours) > allowed:
        found.append(
            Hazard(
                "clock_differs",
                f"the server's clock is {theirs - ours:+.0f} s from this machine's; the leeway is {allowed:g} s",
                "synchronise both machines by NTP",
            )
        )
    if newest_id_seconds is not None and newest_id_seconds - ours > allowed:
        found.append(
            Hazard(
                "clock_behind",
                f"the newest handoff id is {newest_id_seconds - ours:.0f} s ahead of this machine's clock",
                "synchronise this machine, and the ones that mint, by NTP",
            )
        )
    return found


def purge_hazards(ours: float, oldest_id_seconds: int | None) -> list[Hazard]:
    """Whether the oldest stored id should have been purged long ago."""
    if oldest_id_seconds is None or ours - oldest_id_seconds <= HORIZON_SECONDS + PURGE_OVERDUE_SECONDS:
        return []
    return [
        Hazard(
            "purge_overdue",
            f"the oldest entry is {(ours - oldest_id_seconds) / 3600:.0f} h old; a purge removes what is older than "
            f"{HORIZON_SECONDS // 60} min",
            "run `ghasi-handoff store maintain` every hour",
        )
    ]

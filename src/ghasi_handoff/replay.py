"""handoff id, redemption id -> holder. The protocol of replay stores: one atomic act decides. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, Self, runtime_checkable

from ghasi_handoff._limits import HORIZON_SECONDS, MAX_SECONDS, MAX_STORE_TIMEOUT_SECONDS
from ghasi_handoff._outbox import Outbox
from ghasi_handoff._outbox_async import AsyncOutbox
from ghasi_handoff._signing_string import as_handoff_id
from ghasi_handoff._store_reports import (
    Hazard,
    OutboxEntry,
    OutboxStats,
    ReplayRecord,
    ReplayRefusal,
    ReplayTrace,
    StoreReport,
    StoreStats,
)
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
    "Scope",
    "StoreGuarantees",
    "StoreReport",
    "StoreStats",
    "check_entry",
]


@dataclass(frozen=True, slots=True)
class Scope:
    r"""An issuer and an audience. A handoff id is unique within a scope; the same id in another is another handoff.

    Attributes:
        issuer: The service that mints.
        audience: The service that redeems.

    >>> str(Scope("bff-consumer", "bff-tenant-booking"))
    'bff-consumer\nbff-tenant-booking'
    """

    issuer: str
    audience: str

    def __str__(self) -> str:
        """The text that stores keep: the issuer, LF, the audience. No issuer contains a LF."""
        return f"{self.issuer}\n{self.audience}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The scope in a text that a store has kept.

        A text without a LF gives an empty audience, which no signed call accepts.
        """
        issuer, _, audience = text.partition("\n")
        return cls(issuer, audience)


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
            scope: The text of a `Scope`. The same id in another scope is another handoff.
            redemption_id: Who redeems: 64 lower-case hexadecimal digits.
            consumed_at: Unix seconds: the caller's clock as it hands the entry over.
            retain_until: Unix seconds until which the entry must be kept.

        Raises:
            ReplayStoreError: The outcome is unknown, or the entry was refused: the store is unreachable or full, timed
                out, or ``consumed_at >= retain_until``. The caller may repeat the call; it then gets the true answer.
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
    """The time of a purge in Unix seconds: what the caller says, or the clock's reading."""
    if isinstance(now, datetime):
        return to_seconds(now, name="now", error=ConfigurationError)
    return int(read_clock(clock if now is None else lambda: now))


def timeout_seconds(timeout: float | timedelta) -> float:
    """A store's `timeout` in seconds: more than 0, and at most 60."""
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not 0 < seconds <= MAX_STORE_TIMEOUT_SECONDS:
        raise ConfigurationError(f"timeout must be more than 0 and at most {MAX_STORE_TIMEOUT_SECONDS:g} seconds")
    return float(seconds)

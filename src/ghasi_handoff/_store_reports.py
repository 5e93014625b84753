"""What a replay store tells of itself: hazards, counts, the outbox's entries, the trace of one handoff. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ghasi_handoff._limits import HORIZON_SECONDS, PURGE_OVERDUE_SECONDS


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
    purged_before: int | None = None
    refused: int | None = None
    outbox: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A redemption of which the issuer has not been told for certain.

    Attributes:
        handoff_id: The handoff.
        scope: Issuer and audience; `Scope.parse` reads it.
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
        scope: Issuer and audience; `Scope.parse` reads it.
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
        scope: Issuer and audience; `Scope.parse` reads it.
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


def present(*rows: tuple[bool, str, str, str]) -> list[Hazard]:
    """The hazards that are there, of rows of: whether it is there, code, text, remedy."""
    return [Hazard(*texts) for there, *texts in rows if there]


def clock_hazards(ours: float, theirs: float | None, newest_id_seconds: int | None, leeway: timedelta) -> list[Hazard]:
    """What our clock, a server's clock if there is one, and the newest stored id say about each other."""
    allowed = leeway.total_seconds()
    off = 0 if theirs is None else theirs - ours
    ahead = 0 if newest_id_seconds is None else newest_id_seconds - ours
    return present(
        (
            abs(off) > allowed,
            "clock_differs",
            f"the server's clock is {off:+.0f} s from this machine's; the leeway is {allowed:g} s",
            "synchronise both machines by NTP",
        ),
        (
            ahead > allowed,
            "clock_behind",
            f"the newest handoff id is {ahead:.0f} s ahead of this machine's clock",
            "synchronise this machine, and the ones that mint, by NTP",
        ),
    )


def purge_hazards(ours: float, oldest_id_seconds: int | None) -> list[Hazard]:
    """Whether the oldest stored id should have been purged long ago."""
    age = 0 if oldest_id_seconds is None else ours - oldest_id_seconds
    return present(
        (
            age > HORIZON_SECONDS + PURGE_OVERDUE_SECONDS,
            "purge_overdue",
            f"the oldest entry is {age / 3600:.0f} h old; a purge removes all older than {HORIZON_SECONDS // 60} min",
            "run `ghasi-handoff store maintain` every hour",
        )
    )

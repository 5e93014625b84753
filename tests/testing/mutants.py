"""Small stores that keep every promise, and mutants of them, each of which breaks one. The kit must tell them apart.

Where a mutant is wrong only for a moment, it pauses there, so that the kit catches it in every run.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

from ghasi_handoff import Consumption, ReplayStoreError
from ghasi_handoff._limits import HORIZON_SECONDS
from ghasi_handoff.replay import check_entry, purge_cutoff
from ghasi_handoff.testing import AsyncReplayStoreConformance, ReplayStoreConformance
from ghasi_handoff.testing._promises import Promises

PAUSE: Final = 0.002


_Store = TypeVar("_Store", bound=type[Any])


class Mutant(NamedTuple):
    """A kit for a store that breaks a promise, the test that must catch it, and tests that can notice it as well."""

    kit: type[Promises[Any]]
    caught_by: str
    also: frozenset[str]


MUTANTS: Final[list[Mutant]] = []


def mutant_of(
    kit: type[Promises[Any]], caught_by: str, *also: str, timeout: float = Promises.timeout
) -> Callable[[_Store], _Store]:
    """Make a kit for the store that is decorated, in this module, where other processes find it by its name."""

    def plant(store: _Store) -> _Store:
        name = f"{store.__name__}Kit"
        made = type(name, (kit,), {"__module__": __name__, "store": store, "timeout": timeout})
        globals()[name] = made
        MUTANTS.append(Mutant(made, caught_by, frozenset(also)))
        return store

    return plant


def seconds_of(handoff_id: str) -> int:
    return int(handoff_id[:8] + handoff_id[9:13], 16) // 1000


# In memory


class Memory:
    """A correct store in steps that a mutant can change one by one."""

    def __init__(self, *, capacity: int = 1_000_000, reachable: bool = True) -> None:
        self.capacity = capacity
        self.reachable = reachable
        self.advanced = 0.0
        self.lock = threading.RLock()
        self.rows: dict[tuple[str, str], tuple[str, int]] = {}
        self.mark = 0

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        self.check(handoff_id, scope, redemption_id, consumed_at, retain_until)
        if not self.reachable:
            return self.time_out(redemption_id, consumed_at)
        return self.decide(self.key(handoff_id, scope), redemption_id, consumed_at, retain_until)

    def check(self, handoff_id: str, scope: str, redemption_id: str, consumed_at: int, retain_until: int) -> None:
        check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)

    def time_out(self, redemption_id: str, consumed_at: int) -> Consumption:
        time.sleep(0.2)
        raise ReplayStoreError("no answer within 0.2 s")

    def key(self, handoff_id: str, scope: str) -> tuple[str, str]:
        return handoff_id, scope

    def decide(self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int) -> Consumption:
        with self.lock:
            found = self.find(key)
            if found is not None:
                return Consumption(found[0], first=False, consumed_at=found[1])
            self.make_room()
            self.insert(key, redemption_id, consumed_at, retain_until)
            self.check_mark(key)
            return Consumption(redemption_id, first=True, consumed_at=consumed_at)

    def find(self, key: tuple[str, str]) -> tuple[str, int] | None:
        return self.rows.get(key)

    def make_room(self) -> None:
        if len(self.rows) >= self.capacity:
            raise ReplayStoreError("full")

    def insert(self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int) -> None:
        self.rows[key] = (redemption_id, consumed_at)

    def check_mark(self, key: tuple[str, str]) -> None:
        if seconds_of(key[0]) < self.mark:
            del self.rows[key]
            raise ReplayStoreError("older than what was purged")

    def purge(self, now: int) -> None:
        with self.lock:
            cutoff = self.cutoff(now)
            self.raise_mark(cutoff)
            for key in [key for key in self.rows if seconds_of(key[0]) < cutoff]:
                del self.rows[key]

    def cutoff(self, now: int) -> int:
        return purge_cutoff(now, max((seconds_of(handoff_id) for handoff_id, _ in self.rows), default=0))

    def raise_mark(self, cutoff: int) -> None:
        self.mark = max(self.mark, cutoff)


class InMemory:
    """How a kit makes the store of its class attribute."""

    durable = False
    store: ClassVar[Any]

    def make_store(self, place: Path) -> Any:
        return self.store()

    def make_full_store(self, place: Path, capacity: int) -> Any:
        return self.store(capacity=capacity)


class InMemoryAndFailing(InMemory):
    """As `InMemory`; the store can also lose its backend."""

    def make_failing_store(self, place: Path) -> Any:
        return self.store(reachable=False)


class MemoryKit(InMemoryAndFailing, ReplayStoreConformance):
    store: ClassVar[type[Memory]] = Memory

    def advance(self, store: Memory, seconds: float) -> None:
        store.advanced += seconds


@mutant_of(
    MemoryKit,
    "test_one_holder_among_callers_at_once",
    "test_one_holder_of_a_burst",
    "test_purge_in_the_middle_of_a_race",
)
class GetThenSet(Memory):
    """Looks whether the handoff is free, and takes it later."""

    def decide(self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int) -> Consumption:
        found = self.find(key)
        if found is not None:
            return Consumption(found[0], first=False, consumed_at=found[1])
        time.sleep(PAUSE)
        with self.lock:
            self.make_room()
            self.insert(key, redemption_id, consumed_at, retain_until)
            self.check_mark(key)
        return Consumption(redemption_id, first=True, consumed_at=consumed_at)


@mutant_of(MemoryKit, "test_full_store_refuses_and_keeps")
class EvictsOnFull(Memory):
    """Forgets the oldest entry, to have room for a new one."""

    def make_room(self) -> None:
        if len(self.rows) >= self.capacity:
            del self.rows[next(iter(self.rows))]


@mutant_of(MemoryKit, "test_entry_is_held_until_its_retention_ends", "test_entry_is_held_on_the_store_s_own_clock")
class ExpiresTooEarly(Memory):
    """Keeps an entry for half of its retention."""

    def __init__(self, *, capacity: int = 1_000_000, reachable: bool = True) -> None:
        super().__init__(capacity=capacity, reachable=reachable)
        self.ends: dict[tuple[str, str], float] = {}

    def lifetime(self, consumed_at: int, retain_until: int) -> float:
        return (retain_until - time.time() - self.advanced) / 2

    def find(self, key: tuple[str, str]) -> tuple[str, int] | None:
        return None if self.ends.get(key, 0) <= time.time() + self.advanced else super().find(key)

    def insert(self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int) -> None:
        super().insert(key, redemption_id, consumed_at, retain_until)
        self.ends[key] = time.time() + self.advanced + self.lifetime(consumed_at, retain_until)


@mutant_of(MemoryKit, "test_entry_is_held_on_the_store_s_own_clock")
class ExpiresAMomentTooEarly(ExpiresTooEarly):
    """Keeps a long entry ten seconds less than it should."""

    def lifetime(self, consumed_at: int, retain_until: int) -> float:
        left = retain_until - time.time() - self.advanced
        return left - 10 if left > 60 else left


@mutant_of(MemoryKit, "test_entry_is_held_until_its_retention_ends")
class CountsFromCallersClock(ExpiresTooEarly):
    """Takes the time to keep an entry from its caller's clock: a fast one makes it short."""

    def lifetime(self, consumed_at: int, retain_until: int) -> float:
        # Generous, but for a clock that is far ahead.
        return 1.0 if retain_until - consumed_at == 1 else 86400.0


@mutant_of(MemoryKit, "test_scopes_are_apart", "test_purge_never_reopens")
class ForgetsScope(Memory):
    """Keeps ids without their scopes."""

    def key(self, handoff_id: str, scope: str) -> tuple[str, str]:
        return handoff_id, ""


@mutant_of(MemoryKit, "test_failing_store_accepts_nothing")
class SuccessOnTimeOut(Memory):
    """Lets people in when it cannot know."""

    def time_out(self, redemption_id: str, consumed_at: int) -> Consumption:
        return Consumption(redemption_id, first=True, consumed_at=consumed_at)


# The time-out: with what a busy machine may need, half a second.
@mutant_of(MemoryKit, "test_failing_store_accepts_nothing", timeout=-4.5)
class HangsForGood(Memory):
    """Has no time-out."""

    def time_out(self, redemption_id: str, consumed_at: int) -> Consumption:
        threading.Event().wait(3600)
        raise ReplayStoreError("at last")


@mutant_of(MemoryKit, "test_past_its_retention_is_refused")
class AcceptsPastRetention(Memory):
    """Accepts an entry whose retention is over, and has forgotten it at once."""

    def check(self, handoff_id: str, scope: str, redemption_id: str, consumed_at: int, retain_until: int) -> None:
        if not isinstance(consumed_at, int) or not isinstance(retain_until, int) or min(consumed_at, retain_until) < 0:
            raise ReplayStoreError("no time")
        check_entry(handoff_id, scope, redemption_id, min(consumed_at, retain_until - 1), retain_until)

    def insert(self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int) -> None:
        if consumed_at < retain_until:
            super().insert(key, redemption_id, consumed_at, retain_until)


@mutant_of(MemoryKit, "test_bad_arguments_are_refused")
class TakesAnything(Memory):
    """Checks no argument but the retention."""

    def check(self, handoff_id: str, scope: str, redemption_id: str, consumed_at: int, retain_until: int) -> None:
        if type(consumed_at) is int and type(retain_until) is int and consumed_at >= retain_until:
            raise ReplayStoreError("past its retention")

    def check_mark(self, key: tuple[str, str]) -> None:
        if self.mark:
            super().check_mark(key)


@mutant_of(
    MemoryKit,
    "test_holder_never_changes",
    "test_bad_arguments_are_refused",
    "test_clock_steps_change_no_holder",
    "test_entry_is_held_on_the_store_s_own_clock",
    "test_full_store_refuses_and_keeps",
    "test_one_holder_among_callers_at_once",
    "test_one_holder_of_a_burst",
    "test_past_its_retention_is_refused",
    "test_purge_by_a_clock_far_ahead_never_reopens",
    "test_purge_in_the_middle_of_a_race",
    "test_purge_keeps_what_a_token_may_need",
    "test_purge_never_reopens",
    "test_retry_finds_its_own_redemption",
)
class OverwritesRow(Memory):
    """Tells who held the handoff before, and writes down who asked last."""

    def decide(self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int) -> Consumption:
        with self.lock:
            answer = super().decide(key, redemption_id, consumed_at, retain_until)
            self.rows[key] = (redemption_id, consumed_at)
            return answer


@mutant_of(MemoryKit, "test_retry_finds_its_own_redemption", "test_holder_never_changes")
class MovesMoment(Memory):
    """Lets the holder's retry change the moment of the first consume: an expired handoff is young again."""

    def decide(self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int) -> Consumption:
        with self.lock:
            answer = super().decide(key, redemption_id, consumed_at, retain_until)
            if answer.holder == redemption_id:
                self.rows[key] = (redemption_id, consumed_at)
            return Consumption(answer.holder, first=answer.first, consumed_at=self.rows[key][1])


@mutant_of(
    MemoryKit,
    "test_retry_finds_its_own_redemption",
    "test_full_store_refuses_and_keeps",
    "test_holder_never_changes",
    "test_one_holder_of_a_burst",
    "test_purge_keeps_what_a_token_may_need",
)
class RefusesRetry(Memory):
    """Takes every second consume for somebody else's."""

    def decide(self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int) -> Consumption:
        answer = super().decide(key, redemption_id, consumed_at, retain_until)
        if not answer.first and answer.holder == redemption_id:
            raise ReplayStoreError("replayed")
        return answer


@mutant_of(MemoryKit, "test_first_caller_becomes_the_holder")
class NeverFirst(Memory):
    """Does not say who was first."""

    def decide(self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int) -> Consumption:
        answer = super().decide(key, redemption_id, consumed_at, retain_until)
        return Consumption(answer.holder, first=False, consumed_at=answer.consumed_at)


@mutant_of(MemoryKit, "test_ids_are_apart")
class CutsIds(Memory):
    """Keeps ids without one of their digits."""

    def key(self, handoff_id: str, scope: str) -> tuple[str, str]:
        return handoff_id[:24] + handoff_id[25:], scope


@mutant_of(
    MemoryKit,
    "test_purge_never_reopens",
    "test_purge_by_a_clock_far_ahead_never_reopens",
    "test_purge_in_the_middle_of_a_race",
)
class PurgesWithoutMark(Memory):
    """Forgets what it purged."""

    def raise_mark(self, cutoff: int) -> None:
        pass


@mutant_of(MemoryKit, "test_purge_keeps_what_a_token_may_need", "test_purge_in_the_middle_of_a_race")
class PurgesTooMuch(Memory):
    """Purges by the clock, without the horizon."""

    def cutoff(self, now: int) -> int:
        return super().cutoff(now) + HORIZON_SECONDS


@mutant_of(MemoryKit, "test_purge_in_the_middle_of_a_race")
class ReadsMarkFirst(Memory):
    """Reads the mark before its insert: a purge in between takes the row, and raises a mark that is not read again."""

    def decide(self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int) -> Consumption:
        too_old = seconds_of(key[0]) < self.mark
        time.sleep(PAUSE)
        with self.lock:
            found = self.find(key)
            if found is not None:
                return Consumption(found[0], first=False, consumed_at=found[1])
            if too_old:
                raise ReplayStoreError("older than what was purged")
            self.make_room()
            self.insert(key, redemption_id, consumed_at, retain_until)
            return Consumption(redemption_id, first=True, consumed_at=consumed_at)


# In a file


class File:
    """A correct store in an SQLite file, for some threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        # A connection each time: slow, and nothing is left open. The lock keeps threads from waiting for the file's.
        with self.lock:
            connection = sqlite3.connect(self.path, timeout=20, isolation_level=None)
            try:
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("CREATE TABLE IF NOT EXISTS log (id, scope, holder, at, PRIMARY KEY (id, scope))")
                yield connection
                if connection.in_transaction:
                    connection.execute("COMMIT")
            finally:
                connection.close()

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
        return self.decide(handoff_id, scope, redemption_id, consumed_at)

    def decide(self, handoff_id: str, scope: str, redemption_id: str, consumed_at: int) -> Consumption:
        with self.transaction() as connection:
            first = self.insert(connection, handoff_id, scope, redemption_id, consumed_at) == 1
            row = self.find(connection, handoff_id, scope)
            assert row is not None
            return Consumption(row[0], first=first, consumed_at=row[1])

    @staticmethod
    def insert(connection: sqlite3.Connection, *row: str | int) -> int:
        return connection.execute("INSERT OR IGNORE INTO log VALUES (?, ?, ?, ?)", row).rowcount

    @staticmethod
    def find(connection: sqlite3.Connection, handoff_id: str, scope: str) -> tuple[str, int] | None:
        row: tuple[str, int] | None = connection.execute(
            "SELECT holder, at FROM log WHERE id = ? AND scope = ?", (handoff_id, scope)
        ).fetchone()
        return row


class FileKit(ReplayStoreConformance):
    purges = False
    store: ClassVar[type[File]] = File

    def make_store(self, place: Path) -> File:
        return self.store(place / "replay.db")


@mutant_of(
    FileKit,
    "test_one_holder_among_callers_at_once",
    "test_one_holder_among_processes",
    "test_one_holder_among_store_objects",
    "test_one_holder_of_a_burst",
)
class IgnoresRowCount(File):
    """Looks first, then inserts, and does not look whether the insert did anything."""

    def decide(self, handoff_id: str, scope: str, redemption_id: str, consumed_at: int) -> Consumption:
        with self.transaction() as connection:
            row = self.find(connection, handoff_id, scope)
        if row is not None:
            return Consumption(row[0], first=False, consumed_at=row[1])
        time.sleep(PAUSE)
        with self.transaction() as connection:
            self.insert(connection, handoff_id, scope, redemption_id, consumed_at)
        return Consumption(redemption_id, first=True, consumed_at=consumed_at)


@mutant_of(FileKit, "test_one_holder_among_store_objects", "test_one_holder_among_processes")
class LocksInOneObject(IgnoresRowCount):
    """As if there were no other store object, and no other process."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.whole = threading.Lock()

    def decide(self, handoff_id: str, scope: str, redemption_id: str, consumed_at: int) -> Consumption:
        with self.whole:
            return super().decide(handoff_id, scope, redemption_id, consumed_at)


_in_this_process: Final = threading.Lock()


@mutant_of(FileKit, "test_one_holder_among_processes")
class LocksInOneProcess(IgnoresRowCount):
    """As if there were no other process."""

    def decide(self, handoff_id: str, scope: str, redemption_id: str, consumed_at: int) -> Consumption:
        with _in_this_process:
            return super().decide(handoff_id, scope, redemption_id, consumed_at)


@mutant_of(
    FileKit,
    "test_crash_after_commit_is_found_again",
    "test_one_holder_among_processes",
    "test_one_holder_among_store_objects",
)
class AnswersBeforeCommit(File):
    """Writes down when it is closed, or asked for the next handoff: a crash loses what was answered last."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.later: tuple[str, str, str, int] | None = None

    def decide(self, handoff_id: str, scope: str, redemption_id: str, consumed_at: int) -> Consumption:
        with _in_this_process:
            self.write()
            with self.transaction() as connection:
                row = self.find(connection, handoff_id, scope)
            if row is not None:
                return Consumption(row[0], first=False, consumed_at=row[1])
            self.later = (handoff_id, scope, redemption_id, consumed_at)
            return Consumption(redemption_id, first=True, consumed_at=consumed_at)

    def write(self) -> None:
        if self.later is not None:
            with self.transaction() as connection:
                self.insert(connection, *self.later)
            self.later = None

    def close(self) -> None:
        self.write()


@mutant_of(FileKit, "test_entries_outlive_the_store_object")
class StartsAnew(File):
    """Empties its file when it is closed."""

    def close(self) -> None:
        with self.transaction() as connection:
            connection.execute("DELETE FROM log")


# Awaited


class AsyncMemory:
    """A correct store that is awaited. As others do, it gives way before and after it decides."""

    def __init__(self, *, capacity: int = 1_000_000, reachable: bool = True) -> None:
        self.memory = Memory(capacity=capacity)
        self.reachable = reachable

    async def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
        if not self.reachable:
            await self.wait()
            raise ReplayStoreError("no answer within 0.2 s")
        return await self.decide((handoff_id, scope), redemption_id, consumed_at, retain_until)

    async def wait(self) -> None:
        await asyncio.sleep(0.2)

    async def decide(
        self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        await asyncio.sleep(PAUSE)
        answer = self.memory.decide(key, redemption_id, consumed_at, retain_until)
        await asyncio.sleep(PAUSE)
        return answer

    async def purge(self, now: int) -> None:
        await asyncio.sleep(0)
        self.memory.purge(now)

    async def aclose(self) -> None:
        await asyncio.sleep(0)


class AsyncMemoryKit(InMemoryAndFailing, AsyncReplayStoreConformance):
    store: ClassVar[type[AsyncMemory]] = AsyncMemory

    async def advance(self, store: AsyncMemory, seconds: float) -> None:
        store.memory.advanced += seconds


@mutant_of(
    AsyncMemoryKit,
    "test_one_holder_among_callers_at_once",
    "test_cancelled_consume_takes_nobody_along",
    "test_full_store_refuses_and_keeps",
    "test_one_holder_of_a_burst",
    "test_purge_in_the_middle_of_a_race",
)
class GetAwaitSet(AsyncMemory):
    """Awaits between the look and the act: other tasks do the same."""

    async def decide(
        self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        found = self.memory.find(key)
        await asyncio.sleep(0)
        if found is not None:
            return Consumption(found[0], first=False, consumed_at=found[1])
        self.memory.make_room()
        self.memory.insert(key, redemption_id, consumed_at, retain_until)
        self.memory.check_mark(key)
        return Consumption(redemption_id, first=True, consumed_at=consumed_at)


@mutant_of(AsyncMemoryKit, "test_cancelled_consume_leaves_the_truth", "test_cancelled_consume_takes_nobody_along")
class CancelledIsSuccess(AsyncMemory):
    """Takes its cancellation for the end of the wait."""

    async def decide(
        self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        try:
            return await super().decide(key, redemption_id, consumed_at, retain_until)
        except asyncio.CancelledError:
            return Consumption(redemption_id, first=True, consumed_at=consumed_at)


@mutant_of(AsyncMemoryKit, "test_cancelled_consume_takes_nobody_along")
class SharesCancellation(AsyncMemory):
    """Lets all who wait at one time await one future: who is cancelled, cancels it for all."""

    def __init__(self, *, capacity: int = 1_000_000, reachable: bool = True) -> None:
        super().__init__(capacity=capacity, reachable=reachable)
        self.turn: asyncio.Task[None] | None = None

    async def decide(
        self, key: tuple[str, str], redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        if self.turn is None or self.turn.done():
            self.turn = asyncio.create_task(asyncio.sleep(PAUSE))
        try:
            await self.turn
        except asyncio.CancelledError:
            raise ReplayStoreError("the batch was cancelled") from None
        return self.memory.decide(key, redemption_id, consumed_at, retain_until)


@mutant_of(AsyncMemoryKit, "test_failing_store_lets_the_event_loop_turn")
class BlocksTheLoop(AsyncMemory):
    """Waits for its backend without awaiting."""

    async def wait(self) -> None:
        time.sleep(0.2)


REFERENCES: Final[list[type[Promises[Any]]]] = [MemoryKit, FileKit, AsyncMemoryKit]

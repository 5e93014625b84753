"""The kit's first users, and what it must catch."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ghasi_handoff import ConfigurationError
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore
from ghasi_handoff.testing import AsyncReplayStoreConformance, ReplayStoreConformance, handoff_id_at, redemption_id_of
from ghasi_handoff.testing._promises import Promises
from tests.stores.kit_tiers import CRASH, PROCESSES, PURGE_RACE, RETENTION, only, without

from . import mutants
from .mutants import InMemory

SLOW_IN_MEMORY = RETENTION | PURGE_RACE
SLOW_IN_A_FILE = RETENTION | PURGE_RACE | PROCESSES


class MemoryKit(InMemory, ReplayStoreConformance):
    store = MemoryReplayStore


class AsyncMemoryKit(InMemory, AsyncReplayStoreConformance):
    store = AsyncMemoryReplayStore


class LockedFile:
    """A file whose write lock somebody holds for good: every consume times out."""

    def __init__(self, path: Path) -> None:
        with SQLiteReplayStore(path) as store:
            store.create_schema()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("BEGIN IMMEDIATE")

    def unlock(self) -> None:
        self._connection.close()


class LockedSQLiteReplayStore(SQLiteReplayStore):
    """A store whose file is locked until it is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, timeout=0.3)
        self._locked = LockedFile(path)

    def close(self) -> None:
        super().close()
        self._locked.unlock()


class AsyncLockedSQLiteReplayStore(AsyncSQLiteReplayStore):
    """As `LockedSQLiteReplayStore`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, timeout=0.3)
        self._locked = LockedFile(path)

    async def aclose(self) -> None:
        await super().aclose()
        self._locked.unlock()


class InAFile:
    """How a kit makes the store of its class attribute, in a file."""

    store: ClassVar[Any]
    failing: ClassVar[Any]

    def make_store(self, place: Path) -> Any:
        return self.store(place / "replay.db")

    def make_failing_store(self, place: Path) -> Any:
        return self.failing(place / "replay.db")


class SQLiteKit(InAFile, ReplayStoreConformance):
    store, failing = SQLiteReplayStore, LockedSQLiteReplayStore


class AsyncSQLiteKit(InAFile, AsyncReplayStoreConformance):
    store, failing = AsyncSQLiteReplayStore, AsyncLockedSQLiteReplayStore


@without(SLOW_IN_MEMORY)
class TestMemoryReplayStore(MemoryKit):
    pass


@pytest.mark.thorough
@only(SLOW_IN_MEMORY)
class TestMemoryReplayStoreForLong(MemoryKit):
    pass


@without(SLOW_IN_MEMORY)
class TestAsyncMemoryReplayStore(AsyncMemoryKit):
    pass


@pytest.mark.thorough
@only(SLOW_IN_MEMORY)
class TestAsyncMemoryReplayStoreForLong(AsyncMemoryKit):
    pass


@without(SLOW_IN_A_FILE)
class TestSQLiteReplayStore(SQLiteKit):
    pass


@pytest.mark.thorough
@only(SLOW_IN_A_FILE)
class TestSQLiteReplayStoreForLong(SQLiteKit):
    pass


@without(SLOW_IN_A_FILE | CRASH)
class TestAsyncSQLiteReplayStore(AsyncSQLiteKit):
    pass


@pytest.mark.thorough
@only(SLOW_IN_A_FILE | CRASH)
class TestAsyncSQLiteReplayStoreForLong(AsyncSQLiteKit):
    pass


def promises_of(kit: type[Promises[Any]]) -> list[str]:
    """The names of the tests that pytest would collect."""
    return [name for name in dir(kit) if name.startswith("test_") and callable(getattr(kit, name))]


def test_every_promise_is_broken_by_some_mutant() -> None:
    """No test of the kit is there for nothing."""
    every = {name for kit in mutants.REFERENCES for name in promises_of(kit)}
    assert every == {name for mutant in mutants.MUTANTS for name in (mutant.caught_by, *mutant.also)}


def test_what_a_store_does_not_have_is_not_collected() -> None:
    """A test that a store cannot take is not there, and is there again for a store of a subclass that can."""

    class Small(ReplayStoreConformance):
        durable = False
        purges = False

    class Large(Small):
        durable = True
        purges = True

        def make_full_store(self, place: Path, capacity: int) -> MemoryReplayStore:
            return MemoryReplayStore(capacity=capacity)

    small, large = set(promises_of(Small)), set(promises_of(Large))
    assert small < large
    assert not [name for name in small if "purge" in name or "process" in name or "crash" in name or "full" in name]
    assert large - small >= {"test_purge_never_reopens", "test_full_store_refuses_and_keeps"}


def test_async_kit_has_every_promise_of_the_other() -> None:
    """What is asked of a store that is called is asked of one that is awaited."""
    assert set(promises_of(mutants.MemoryKit)) < set(promises_of(mutants.AsyncMemoryKit))


@pytest.mark.parametrize(("seconds", "n"), [(-1, 0), (2**48 // 1000, 0), (0, -1), (0, 2**48)])
def test_handoff_id_that_does_not_fit_is_refused(seconds: int, n: int) -> None:
    """No id is made whose text would be no UUIDv7."""
    with pytest.raises(ConfigurationError):
        handoff_id_at(seconds, n)


def test_handoff_id_has_its_time() -> None:
    """An id is a UUIDv7 of its second; its number keeps it apart."""
    assert handoff_id_at(1_800_000_000) == "01a3185c-5000-7000-8000-000000000000"
    assert handoff_id_at(1_800_000_000, n=255) == "01a3185c-5000-7000-8000-0000000000ff"


def test_redemption_id_has_its_form() -> None:
    """64 hexadecimal digits, others for each number."""
    assert re.fullmatch("[0-9a-f]{64}", redemption_id_of(7))
    assert redemption_id_of(7) != redemption_id_of(8)

"""Stores and processes for the tests of this folder. Whatever a fixture starts, it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ghasi_handoff import Consumption
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore
from tests import in_memory

from .entries import OpenStore, Store
from .processes import StartProcess, StoreProcess

if TYPE_CHECKING:
    from tests.servers import RedisServer

    from .redis.redis_stores import OneStore, OpenOne


class Awaiting:
    """An asynchronous store, used from one event loop after another: each call runs in a new one."""

    def __init__(self, store: AsyncMemoryReplayStore | AsyncSQLiteReplayStore) -> None:
        self._store = store

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        return asyncio.run(
            self._store.consume(
                handoff_id,
                scope=scope,
                redemption_id=redemption_id,
                consumed_at=consumed_at,
                retain_until=retain_until,
            )
        )

    def purge(self, now: int | datetime | None = None) -> int:
        return asyncio.run(self._store.purge(now))

    def close(self) -> None:
        asyncio.run(self._store.aclose())


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """An empty folder of each test's own."""
    with in_memory.new_folder() as folder:
        yield folder


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where an SQLite store puts its file. Nothing is there yet."""
    return str(tmp_path / "replay.db")


@pytest.fixture(params=["memory", "sqlite", "async-memory", "async-sqlite"])
def open_store(request: pytest.FixtureRequest, path: str) -> Iterator[OpenStore]:
    """Opens a store of each kind in turn."""
    kind: str = request.param
    opened: list[Store] = []

    def open_one(*, clock: Callable[[], float] = time.time) -> Store:
        store: Store
        if kind == "memory":
            store = MemoryReplayStore(clock=clock)
        elif kind == "sqlite":
            store = SQLiteReplayStore(path, clock=clock)
        elif kind == "async-memory":
            store = Awaiting(AsyncMemoryReplayStore(clock=clock))
        else:
            store = Awaiting(AsyncSQLiteReplayStore(path, clock=clock))
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """An empty store of each kind in turn."""
    return open_store()


@pytest.fixture
def sqlite_store(path: str) -> Iterator[SQLiteReplayStore]:
    """An SQLite store at `path`, not used yet."""
    with SQLiteReplayStore(path) as store:
        yield store


@pytest.fixture(scope="session")
def idle_processes() -> Iterator[list[StoreProcess]]:
    """Processes that a test has started and left ready for the next."""
    idle: list[StoreProcess] = []
    yield idle
    for process in idle:
        process.end()


@pytest.fixture
def start_process(idle_processes: list[StoreProcess]) -> Iterator[StartProcess]:
    """Starts processes that use stores; see store_process.py for what they can be asked."""
    started: list[StoreProcess] = []

    def start() -> StoreProcess:
        started.append(idle_processes.pop() if idle_processes else StoreProcess())
        return started[-1]

    yield start
    for process in started:
        if process.rest():
            idle_processes.append(process)
        else:
            process.end()


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that a process of another user can reach and write to."""
    with in_memory.new_folder() as folder:
        folder.chmod(0o777)
        yield folder
        folder.chmod(0o777)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    """A Redis for the tests of a module that leave it as it was."""
    from tests.servers import RedisServer

    with RedisServer({"appendonly": "yes"}, in_memory=True) as server:
        yield server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis that a test may hang, kill and set otherwise."""
    from tests.servers import RedisServer

    with RedisServer(in_memory=True) as server:
        yield server


@pytest.fixture
def admin(shared_server: RedisServer) -> Iterator[Any]:
    """A client of the shared Redis, which it empties."""
    from .redis.redis_stores import connect

    with connect(shared_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture(params=["sync", "async"])
def open_one(request: pytest.FixtureRequest) -> Iterator[OpenOne]:
    """Opens stores in Redis, of each kind in turn."""
    from .redis.redis_stores import OneStore

    opened: list[OneStore] = []

    def open_store(url: str, **settings: Any) -> OneStore:
        opened.append(OneStore(url, awaited=request.param == "async", **settings))
        return opened[-1]

    yield open_store
    for one in opened:
        one.close()

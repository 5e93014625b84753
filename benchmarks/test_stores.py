"""A consume on each store, one at a time: of a new handoff, and of one that is recorded already.

The yardstick of a store is what `benchmarks.stores` has as its peer: a bare INSERT on the same pool, a transaction for
each row under the same pragmas, a bare SET NX PX; in memory a dict behind a lock. It is given a row that is new for the
first consume and one that is there for the replay, so that both sides of a ratio commit, or neither does.

SQLite's files are in memory, if the system has a place for that: a disk takes now twice as long, now half, and with it
a ratio of two commits changes. What a real disk makes of it is measured by `benchmarks.stores`.

With asyncio one event loop is kept open, and each call is one ``run_until_complete``: of the store and of its yardstick
alike. What that costs by itself is the yardstick of the store in memory, a coroutine that does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks import surroundings
from benchmarks.measured import Benchmark, measure, measure_each
from benchmarks.stores import (
    BARE_INSERT,
    TIMEOUT_SECONDS,
    Item,
    bare_pair,
    items,
    one_transaction_each,
    postgres_pool,
    postgres_pool_async,
)
from ghasi_handoff import AsyncReplayStore, Consumption, ReplayStore
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore
from ghasi_handoff.stores.redis import AsyncRedisReplayStore, RedisReplayStore
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore

_T = TypeVar("_T")

POOL_SIZE: Final = 2
MILLISECONDS: Final = surroundings.RETAINED_SECONDS * 1000


class Contenders(NamedTuple):
    """A store's consume, and its yardstick."""

    consume: Callable[[Item], Consumption]
    bare: Callable[[Item], object]


def contenders(store: ReplayStore, bare: Callable[[Item], object]) -> Contenders:
    """For threads."""
    return Contenders(lambda item: store.consume(item.handoff_id, **item.told), bare)


def contenders_of_loop(
    loop: asyncio.AbstractEventLoop, store: AsyncReplayStore, bare: Callable[[Item], Awaitable[object]]
) -> Contenders:
    """For asyncio: each call runs the loop until it is done."""

    async def consume(item: Item) -> Consumption:
        return await store.consume(item.handoff_id, **item.told)

    async def bare_call(item: Item) -> None:
        await bare(item)

    return Contenders(
        lambda item: loop.run_until_complete(consume(item)), lambda item: loop.run_until_complete(bare_call(item))
    )


@contextlib.contextmanager
def memory(loop: asyncio.AbstractEventLoop) -> Generator[Contenders]:
    """A dict behind a lock is the yardstick."""
    lock, entries = threading.Lock(), dict[tuple[str, str], tuple[str, int]]()

    def bare(item: Item) -> None:
        with lock:
            entries.setdefault((item.handoff_id, item.told["scope"]), (item.told["redemption_id"], 0))

    yield contenders(MemoryReplayStore(), bare)


@contextlib.contextmanager
def memory_asyncio(loop: asyncio.AbstractEventLoop) -> Generator[Contenders]:
    """A coroutine that does nothing is the yardstick: what one ``run_until_complete`` costs."""

    async def bare(item: Item) -> None:
        return None

    yield contenders_of_loop(loop, AsyncMemoryReplayStore(), bare)


@contextlib.contextmanager
def sqlite(loop: asyncio.AbstractEventLoop) -> Generator[Contenders]:
    """BEGIN IMMEDIATE, INSERT, COMMIT are the yardstick, under ``synchronous = FULL``."""
    with (
        surroundings.memory_folder() as folder,
        one_transaction_each(str(folder)) as insert,
        SQLiteReplayStore(folder / "ours.db", timeout=TIMEOUT_SECONDS) as store,
    ):
        yield contenders(store, insert)


@contextlib.contextmanager
def sqlite_asyncio(loop: asyncio.AbstractEventLoop) -> Generator[Contenders]:
    """As `sqlite`, in one thread of an executor."""
    with (
        surroundings.memory_folder() as folder,
        one_transaction_each(str(folder)) as insert,
        ThreadPoolExecutor(1) as executor,
        entered(loop, AsyncSQLiteReplayStore(Path(folder, "ours.db"), timeout=TIMEOUT_SECONDS)) as store,
    ):

        async def bare(item: Item) -> None:
            await loop.run_in_executor(executor, insert, item)

        yield contenders_of_loop(loop, store, bare)


@contextlib.contextmanager
def postgres(loop: asyncio.AbstractEventLoop) -> Generator[Contenders]:
    """An INSERT … ON CONFLICT DO NOTHING on the same pool is the yardstick."""
    with surroundings.postgres() as url, postgres_pool(url, POOL_SIZE) as (pool, store):

        def bare(item: Item) -> None:
            with pool.connection() as connection:
                connection.execute(BARE_INSERT, item.row)

        yield contenders(store, bare)


@contextlib.contextmanager
def postgres_asyncio(loop: asyncio.AbstractEventLoop) -> Generator[Contenders]:
    """As `postgres`."""
    with surroundings.postgres() as url, entered(loop, postgres_pool_async(url, POOL_SIZE)) as (pool, store):

        async def bare(item: Item) -> None:
            async with pool.connection() as connection:
                await connection.execute(BARE_INSERT, item.row)

        yield contenders_of_loop(loop, store, bare)


@contextlib.contextmanager
def redis_sync(loop: asyncio.AbstractEventLoop) -> Generator[Contenders]:
    """SET NX PX over the same client is the yardstick."""
    patience = TIMEOUT_SECONDS / 2
    with (
        surroundings.redis_server() as url,
        redis.Redis.from_url(
            url, socket_timeout=patience, socket_connect_timeout=patience, retry=Retry(NoBackoff(), 0)
        ) as client,
    ):

        def bare(item: Item) -> None:
            key, value = bare_pair(item)
            client.set(key, value, nx=True, px=MILLISECONDS)

        yield contenders(RedisReplayStore(client, timeout=TIMEOUT_SECONDS), bare)


@contextlib.contextmanager
def redis_asyncio(loop: asyncio.AbstractEventLoop) -> Generator[Contenders]:
    """As `redis_sync`."""
    with (
        surroundings.redis_server() as url,
        entered(loop, redis.asyncio.Redis.from_url(url)) as client,
        entered(loop, AsyncRedisReplayStore(client, timeout=TIMEOUT_SECONDS)) as store,
    ):

        async def bare(item: Item) -> None:
            key, value = bare_pair(item)
            await client.set(key, value, nx=True, px=MILLISECONDS)

        yield contenders_of_loop(loop, store, bare)


@contextlib.contextmanager
def entered(loop: asyncio.AbstractEventLoop, manager: contextlib.AbstractAsyncContextManager[_T]) -> Generator[_T]:
    """An ``async with`` around code that is not async."""
    stack = contextlib.AsyncExitStack()
    made = loop.run_until_complete(stack.enter_async_context(manager))
    try:
        yield made
    finally:
        loop.run_until_complete(stack.aclose())


class Store(NamedTuple):
    """How one store is measured."""

    contenders: Callable[[asyncio.AbstractEventLoop], contextlib.AbstractContextManager[Contenders]]
    rounds: int = 400
    calls: int = 1


STORES: Final = {
    "memory": Store(memory, rounds=300, calls=50),
    "memory-asyncio": Store(memory_asyncio, rounds=300, calls=20),
    "sqlite": Store(sqlite),
    "sqlite-asyncio": Store(sqlite_asyncio),
    "postgres": Store(postgres),
    "postgres-asyncio": Store(postgres_asyncio),
    "redis": Store(redis_sync),
    "redis-asyncio": Store(redis_asyncio),
}


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """Its name."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def both(store: str, loop: asyncio.AbstractEventLoop) -> Generator[Contenders]:
    """The store and its yardstick, tried."""
    with STORES[store].contenders(loop) as made:
        (item,) = items(1)
        made.bare(item)
        assert made.consume(item).first
        made.bare(item)
        assert not made.consume(item).first
        yield made


@pytest.mark.benchmark(disable_gc=True)
class TestConsume:
    """One caller, nothing else under way."""

    def test_first(self, benchmark: Benchmark, store: str, both: Contenders) -> None:
        """A consume that is the first of its handoff, and a yardstick whose row is new."""
        _, rounds, calls = STORES[store]
        benchmark.group = f"consume, {store}{calls_of(calls)}"
        measure_each(benchmark, both.consume, both.bare, items, rounds=rounds, calls=calls)

    def test_replay(self, benchmark: Benchmark, store: str, both: Contenders) -> None:
        """A consume of a handoff that is recorded, and a yardstick whose row is there."""
        _, rounds, calls = STORES[store]
        benchmark.group = f"consume, {store}{calls_of(calls)}"
        (item,) = items(1)
        assert both.consume(item).first
        both.bare(item)
        measure(benchmark, lambda: both.consume(item), lambda: both.bare(item), rounds=rounds, calls=calls)


def calls_of(calls: int) -> str:
    """Rounds that are more than one call."""
    return "" if calls == 1 else f", {calls} calls"

"""A consume against the least that could stand in for it: a bare INSERT, a transaction per consume, a bare SET NX PX.

Run with ``make bench-stores``. A peer only writes the row: it does not tell a first call from a replay, knows no purge
and no deadline. All contenders of a figure take turns in one process, with the same pool or kind of file, in shuffled
order, with the garbage collector off; what counts is the ratio. All is repeated in fresh processes, and each figure is
given as its median and range over them. The servers run on the same machine and share its cores with what asks them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import random
import sqlite3
import statistics
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import redis
import redis.asyncio
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks import report, surroundings
from benchmarks.report import Aim
from benchmarks.surroundings import Told
from ghasi_handoff.stores.postgres import AsyncPostgresReplayStore, PostgresReplayStore
from ghasi_handoff.stores.redis import AsyncRedisReplayStore, RedisReplayStore
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore

CONCURRENT: Final = 64
POOL_SIZES: Final = (10, 20)
# Long enough that no batch of a noisy machine runs into it; an error would end the benchmark.
TIMEOUT_SECONDS: Final = 30
AIMS: Final = {
    "PostgreSQL, asyncio, pool of 10: rows/s ÷ bare INSERT": Aim("≥", 4),
    "PostgreSQL, asyncio, pool of 20: rows/s ÷ bare INSERT": Aim("≥", 4),
    "PostgreSQL, asyncio, pool of 10: p99 ÷ bare INSERT": Aim("≤", 1),
    "PostgreSQL, asyncio, pool of 20: p99 ÷ bare INSERT": Aim("≤", 1),
    "PostgreSQL, asyncio, alone: median ÷ bare INSERT": Aim("≤", 1.15),
    "SQLite, asyncio: rows/s ÷ a transaction each": Aim("≥", 6),
    "SQLite, threads: rows/s ÷ a transaction each": Aim("≥", 6),
    "Redis, alone: median ÷ SET NX PX": Aim("≤", 1.3),
    "Redis, asyncio, alone: median ÷ SET NX PX": Aim("≤", 1.3),
    "Redis, asyncio: consumes/s ÷ SET NX PX": Aim("≥", 0.8),
}

BARE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS bare_log (
    handoff_id uuid NOT NULL, scope text NOT NULL, redemption_id text NOT NULL, consumed_at bigint NOT NULL,
    PRIMARY KEY (handoff_id, scope)
)
"""
BARE_INSERT: Final = (
    "INSERT INTO bare_log (handoff_id, scope, redemption_id, consumed_at) VALUES (%s, %s, %s, %s)"
    " ON CONFLICT DO NOTHING"
)
_SQLITE_TABLE: Final = """
CREATE TABLE bare_log (
    handoff_id TEXT NOT NULL, scope TEXT NOT NULL, redemption_id TEXT NOT NULL, consumed_at INTEGER NOT NULL,
    PRIMARY KEY (handoff_id, scope)
) STRICT, WITHOUT ROWID
"""
_SQLITE_INSERT: Final = "INSERT INTO bare_log VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"


class Item(NamedTuple):
    """One consume, made before any clock is read."""

    handoff_id: str
    told: Told

    @property
    def row(self) -> tuple[str, str, str, int]:
        """As a table has it."""
        return self.handoff_id, self.told["scope"], self.told["redemption_id"], self.told["consumed_at"]


Work: TypeAlias = Callable[[Item], object]
AsyncWork: TypeAlias = Callable[[Item], Awaitable[object]]
# Name -> seconds of each call; with throughput also rows a second, one figure a round.
Latencies: TypeAlias = dict[str, list[float]]
Rates: TypeAlias = dict[str, list[float]]


class Size(NamedTuple):
    """How much is measured in one process."""

    rounds: int
    rows: int  # of one contender in one round
    calls: int  # alone, of each contender


def items(count: int) -> list[Item]:
    """Consumes of different handoffs."""
    return [Item(handoff_id, surroundings.told()) for handoff_id in surroundings.fresh_ids(count)]


# Both sides of a figure, taking turns


async def together_async(work: dict[str, AsyncWork], size: Size) -> tuple[Rates, Latencies]:
    """64 tasks for each contender in turn."""
    rates: Rates = {name: [] for name in work}
    latencies: Latencies = {name: [] for name in work}

    async def caller(consume: AsyncWork, left: Iterable[Item], took: list[float]) -> None:
        for item in left:
            start = time.perf_counter()
            await consume(item)
            took.append(time.perf_counter() - start)

    for number, name in _turns(work, size.rounds):
        left, took = iter(items(size.rows)), list[float]()
        start = time.perf_counter()
        await asyncio.gather(*(caller(work[name], left, took) for _ in range(CONCURRENT)))
        if number:  # the first round warms up
            rates[name].append(len(took) / (time.perf_counter() - start))
            latencies[name] += took
    return rates, latencies


def together(work: dict[str, Work], size: Size) -> tuple[Rates, Latencies]:
    """64 threads for each contender in turn."""
    rates: Rates = {name: [] for name in work}
    latencies: Latencies = {name: [] for name in work}
    begin = threading.Barrier(CONCURRENT + 1)

    def caller(consume: Work, own: list[Item]) -> list[float]:
        took = []
        begin.wait()
        for item in own:
            start = time.perf_counter()
            consume(item)
            took.append(time.perf_counter() - start)
        return took

    with ThreadPoolExecutor(CONCURRENT) as threads:
        for number, name in _turns(work, size.rounds):
            made = items(size.rows)
            running = [threads.submit(caller, work[name], made[n::CONCURRENT]) for n in range(CONCURRENT)]
            begin.wait()
            start = time.perf_counter()
            took = [seconds for future in running for seconds in future.result()]
            if number:
                rates[name].append(len(took) / (time.perf_counter() - start))
                latencies[name] += took
    return rates, latencies


async def alone_async(work: dict[str, AsyncWork], size: Size) -> Latencies:
    """One call at a time, nothing else under way."""
    latencies: Latencies = {name: [] for name in work}
    made = iter(items((size.calls + _WARM_UP) * len(work)))
    for number, name in _turns(work, size.calls + _WARM_UP - 1, collect_every=200):
        item = next(made)
        start = time.perf_counter()
        await work[name](item)
        took = time.perf_counter() - start
        if number >= _WARM_UP:
            latencies[name].append(took)
    return latencies


def alone(work: dict[str, Work], size: Size) -> Latencies:
    """As `alone_async`."""
    latencies: Latencies = {name: [] for name in work}
    made = iter(items((size.calls + _WARM_UP) * len(work)))
    for number, name in _turns(work, size.calls + _WARM_UP - 1, collect_every=200):
        item = next(made)
        start = time.perf_counter()
        work[name](item)
        took = time.perf_counter() - start
        if number >= _WARM_UP:
            latencies[name].append(took)
    return latencies


_WARM_UP: Final = 20


def _turns(names: Iterable[str], rounds: int, *, collect_every: int = 1) -> Generator[tuple[int, str]]:
    """Round and contender: each once a round, in shuffled order, with the garbage collector off."""
    order = list(names)
    gc.disable()
    try:
        for number in range(rounds + 1):
            random.shuffle(order)
            for name in order:
                yield number, name
            if number % collect_every == 0:
                gc.collect()
    finally:
        gc.enable()


# The figures of one process


def of_throughput(label: str, peer: str, rates: Rates, latencies: Latencies, *, unit: str = "rows/s") -> report.Found:
    """Ratios of the medians of all rounds, and of the 99th percentiles of all calls."""
    ours, theirs = (statistics.median(rates[name]) for name in ("ours", "theirs"))
    our_p99, their_p99 = (surroundings.percentile(latencies[name], 0.99) for name in ("ours", "theirs"))
    return {
        f"{label}: {unit} ÷ {peer}": ours / theirs,
        f"{label}: p99 ÷ {peer}": our_p99 / their_p99,
        f"{label}: {unit}": ours,
        f"{label}, {peer}: {unit}": theirs,
        f"{label}: p99 ms": our_p99 * 1e3,
        f"{label}, {peer}: p99 ms": their_p99 * 1e3,
    }


def of_latency(label: str, peer: str, latencies: Latencies) -> report.Found:
    """The ratio of the medians."""
    ours, theirs = (statistics.median(latencies[name]) for name in ("ours", "theirs"))
    return {
        f"{label}: median ÷ {peer}": ours / theirs,
        f"{label}: median µs": ours * 1e6,
        f"{label}, {peer}: median µs": theirs * 1e6,
    }


async def postgres_async(url: str, size: Size) -> report.Found:
    """`AsyncPostgresReplayStore` against an INSERT over the same pool."""
    found: report.Found = {}
    for pool_size in POOL_SIZES:
        async with _postgres_contenders(url, pool_size) as work:
            label = f"PostgreSQL, asyncio, pool of {pool_size}"
            found |= of_throughput(label, "bare INSERT", *await together_async(work, size))
            if pool_size == POOL_SIZES[0]:
                found |= of_latency("PostgreSQL, asyncio, alone", "bare INSERT", await alone_async(work, size))
    return found


@contextlib.asynccontextmanager
async def postgres_pool_async(
    url: str, size: int
) -> AsyncGenerator[tuple[AsyncConnectionPool[Any], AsyncPostgresReplayStore]]:
    """A pool of so many connections, a store on it, and the table for bare rows."""
    kept: dict[str, Any] = {"autocommit": True}
    async with (
        AsyncConnectionPool(
            url, open=False, min_size=size, max_size=size, kwargs=kept, timeout=TIMEOUT_SECONDS
        ) as pool,
        AsyncPostgresReplayStore(pool, timeout=TIMEOUT_SECONDS) as store,
    ):
        await pool.wait()
        await store.create_schema()
        async with pool.connection() as connection:
            await connection.execute(BARE_TABLE)
        yield pool, store


@contextlib.contextmanager
def postgres_pool(url: str, size: int) -> Generator[tuple[ConnectionPool[Any], PostgresReplayStore]]:
    """As `postgres_pool_async`."""
    kept: dict[str, Any] = {"autocommit": True}
    with (
        ConnectionPool(url, min_size=size, max_size=size, kwargs=kept, timeout=TIMEOUT_SECONDS) as pool,
        PostgresReplayStore(pool, timeout=TIMEOUT_SECONDS) as store,
    ):
        pool.wait()
        store.create_schema()
        with pool.connection() as connection:
            connection.execute(BARE_TABLE)
        yield pool, store


@contextlib.asynccontextmanager
async def _postgres_contenders(url: str, pool_size: int) -> AsyncGenerator[dict[str, AsyncWork]]:
    async with postgres_pool_async(url, pool_size) as (pool, store):

        async def ours(item: Item) -> None:
            assert (await store.consume(item.handoff_id, **item.told)).first

        async def theirs(item: Item) -> None:
            async with pool.connection() as connection:
                await connection.execute(BARE_INSERT, item.row)

        yield {"ours": ours, "theirs": theirs}


def postgres_threads(url: str, size: Size) -> report.Found:
    """`PostgresReplayStore` against an INSERT over the same pool."""
    pool_size = POOL_SIZES[0]
    with postgres_pool(url, pool_size) as (pool, store):

        def ours(item: Item) -> None:
            assert store.consume(item.handoff_id, **item.told).first

        def theirs(item: Item) -> None:
            with pool.connection() as connection:
                connection.execute(BARE_INSERT, item.row)

        work: dict[str, Work] = {"ours": ours, "theirs": theirs}
        label = f"PostgreSQL, threads, pool of {pool_size}"
        return of_throughput(label, "bare INSERT", *together(work, size)) | of_latency(
            "PostgreSQL, threads, alone", "bare INSERT", alone(work, size)
        )


async def sqlite_async(folder: str, size: Size) -> report.Found:
    """`AsyncSQLiteReplayStore` against one executor thread that commits each row."""
    with one_transaction_each(folder) as insert, ThreadPoolExecutor(1) as executor:
        async with AsyncSQLiteReplayStore(Path(folder, "ours.db"), timeout=TIMEOUT_SECONDS) as store:
            loop = asyncio.get_running_loop()

            async def ours(item: Item) -> None:
                assert (await store.consume(item.handoff_id, **item.told)).first

            async def theirs(item: Item) -> None:
                await loop.run_in_executor(executor, insert, item)

            work: dict[str, AsyncWork] = {"ours": ours, "theirs": theirs}
            return of_throughput(
                "SQLite, asyncio", "a transaction each", *await together_async(work, size)
            ) | of_latency("SQLite, asyncio, alone", "a transaction each", await alone_async(work, size))


def sqlite_threads(folder: str, size: Size) -> report.Found:
    """`SQLiteReplayStore` against one connection under a lock that commits each row."""
    with (
        one_transaction_each(folder) as insert,
        SQLiteReplayStore(Path(folder, "ours.db"), timeout=TIMEOUT_SECONDS) as store,
    ):
        lock = threading.Lock()

        def ours(item: Item) -> None:
            assert store.consume(item.handoff_id, **item.told).first

        def theirs(item: Item) -> None:
            with lock:
                insert(item)

        work: dict[str, Work] = {"ours": ours, "theirs": theirs}
        return of_throughput("SQLite, threads", "a transaction each", *together(work, size)) | of_latency(
            "SQLite, threads, alone", "a transaction each", alone(work, size)
        )


@contextlib.contextmanager
def one_transaction_each(folder: str) -> Generator[Work]:
    """An INSERT and its COMMIT, into a file of its own with the settings of the store's."""
    connection = sqlite3.connect(Path(folder, "theirs.db"), isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_SQLITE_TABLE)

        def insert(item: Item) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_SQLITE_INSERT, item.row)
            connection.execute("COMMIT")

        yield insert
    finally:
        connection.close()


async def redis_async(url: str, size: Size) -> report.Found:
    """`AsyncRedisReplayStore` against redis-py's own SET NX PX, over the same client."""
    async with (
        redis.asyncio.Redis.from_url(url) as client,
        AsyncRedisReplayStore(client, timeout=TIMEOUT_SECONDS) as store,
    ):

        async def ours(item: Item) -> None:
            assert (await store.consume(item.handoff_id, **item.told)).first

        async def theirs(item: Item) -> None:
            key, value = bare_pair(item)
            assert await client.set(key, value, nx=True, px=surroundings.RETAINED_SECONDS * 1000)

        work: dict[str, AsyncWork] = {"ours": ours, "theirs": theirs}
        throughput = of_throughput("Redis, asyncio", "SET NX PX", *await together_async(work, size), unit="consumes/s")
        return throughput | of_latency("Redis, asyncio, alone", "SET NX PX", await alone_async(work, size))


def redis_sync(url: str, size: Size) -> report.Found:
    """`RedisReplayStore` against redis-py's own SET NX PX, over the same client."""
    with redis.Redis.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS / 2,
        socket_connect_timeout=TIMEOUT_SECONDS / 2,
        retry=Retry(NoBackoff(), 0),
    ) as client:
        store = RedisReplayStore(client, timeout=TIMEOUT_SECONDS)

        def ours(item: Item) -> None:
            assert store.consume(item.handoff_id, **item.told).first

        def theirs(item: Item) -> None:
            key, value = bare_pair(item)
            assert client.set(key, value, nx=True, px=surroundings.RETAINED_SECONDS * 1000)

        return of_latency("Redis, alone", "SET NX PX", alone({"ours": ours, "theirs": theirs}, size))


def bare_pair(item: Item) -> tuple[str, str]:
    """A key and a value as long as ours."""
    handoff_id, scope, redemption_id, consumed_at = item.row
    return f"bare:{scope}:{handoff_id}", f"{redemption_id} {consumed_at}"


def one_process(subject: str, place: str, size: Size) -> report.Found:
    """The figures of one subject, as this process finds them. `place` is a URL, or a folder."""
    subjects: dict[str, Callable[[], report.Found]] = {
        "postgres-async": lambda: asyncio.run(postgres_async(place, size)),
        "postgres-threads": lambda: postgres_threads(place, size),
        "sqlite-async": lambda: asyncio.run(sqlite_async(place, size)),
        "sqlite-threads": lambda: sqlite_threads(place, size),
        "redis-async": lambda: asyncio.run(redis_async(place, size)),
        "redis-sync": lambda: redis_sync(place, size),
    }
    return subjects[subject]()


def run(processes: int, size: Size) -> report.Part:
    """All subjects, one fresh process after another, each process's servers' tables as the last one left them."""
    arguments = ["--rounds", str(size.rounds), "--rows", str(size.rows), "--calls", str(size.calls)]
    found: list[report.Found] = []
    with (
        surroundings.postgres() as postgres_url,
        surroundings.redis_server() as redis_url,
        surroundings.disk_folder() as folder,
    ):
        settings = {
            "PostgreSQL": surroundings.postgres_settings(postgres_url),
            "Redis": surroundings.redis_settings(redis_url),
        }
        measure = partial(surroundings.in_fresh_process, "benchmarks.stores")
        for number in range(processes):
            one: report.Found = {}
            for subject, place in (
                ("postgres-async", postgres_url),
                ("postgres-threads", postgres_url),
                ("sqlite-async", str(folder / f"async-{number}")),
                ("sqlite-threads", str(folder / f"threads-{number}")),
                ("redis-async", redis_url),
                ("redis-sync", redis_url),
            ):
                if subject.startswith("sqlite"):
                    Path(place).mkdir()
                one |= measure(["--subject", subject, "--place", place, *arguments])
                if subject == "sqlite-threads":
                    settings["SQLite"] = surroundings.sqlite_settings(Path(place, "ours.db"))
            found.append(one)
            surroundings.tell(f"stores: {number + 1} of {processes} processes")
        return report.part(
            surroundings.machine(folder),
            settings,
            {
                "concurrent": CONCURRENT,
                "rounds": size.rounds,
                "rows_a_round": size.rows,
                "calls_alone": size.calls,
                "processes": processes,
            },
            [found],
            AIMS,
        )


def main() -> None:
    """Print the table, or JSON; with --out also write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="rounds of 64 callers in each process")
    parser.add_argument("--rows", type=int, default=1536, help="consumes of a contender in a round")
    parser.add_argument("--calls", type=int, default=1500, help="calls alone in each process")
    parser.add_argument("--processes", type=int, default=5, help="how many fresh processes")
    report.add_options(parser)
    parser.add_argument("--subject", help=argparse.SUPPRESS)
    parser.add_argument("--place", help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = Size(options.rounds, options.rows, options.calls)
    if options.subject:
        print(json.dumps(one_process(options.subject, options.place, size)))
        return
    report.deliver("stores", run(options.processes, size), options)


if __name__ == "__main__":
    main()

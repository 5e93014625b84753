"""The time of a consume as a store fills up, and while a purge runs. SQLite and PostgreSQL.

Run with ``make bench-growth``. The rows are loaded straight into the tables, with ids in the order of their time,
spread over the last hour. One process then asks stores of all sizes in turn, in shuffled order, for handoffs of the
last minute. While half of a store is purged, consumes are begun at a fixed pace, whether or not earlier ones have
ended: a wait is counted from the moment at which the consume was due.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import psycopg
from psycopg_pool import AsyncConnectionPool

from benchmarks import report, surroundings
from benchmarks.report import Aim
from benchmarks.surroundings import Told
from ghasi_handoff.stores.postgres import SCHEMA, AsyncPostgresReplayStore
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore

SPAN_SECONDS: Final = 3600
# What a purge keeps (`ghasi_handoff.replay`), and some more.
BEFORE_PURGE_SECONDS: Final = 3840 + 60
PACE_SECONDS: Final = 0.0025
BASELINE_SECONDS: Final = 3
TIMEOUT_SECONDS: Final = 30
MAX_WAIT_MS: Final = 50
LABELS: Final = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
WHERE: Final = {False: "the same process", True: "another process"}

AnyStore: TypeAlias = AsyncSQLiteReplayStore | AsyncPostgresReplayStore


class Place(NamedTuple):
    """Where a store's rows are: an SQLite file, or the URL of a PostgreSQL database."""

    kind: str
    at: str

    @property
    def label(self) -> str:
        """The product."""
        return LABELS[self.kind]


# Rows


def rows(count: int, first: int, last: int) -> Iterator[tuple[str, str, str, int]]:
    """Rows with ids in the order of their time, from `first` to `last` (Unix seconds)."""
    step = (last - first) * 1000 / count
    for number in range(count):
        milliseconds = first * 1000 + int(number * step)
        yield surroundings.handoff_id(milliseconds), surroundings.SCOPE, f"{number:064x}", milliseconds // 1000


def load(place: Place, parts: Sequence[Iterator[tuple[str, str, str, int]]]) -> int:
    """Write rows past the store; returns the bytes that all of it takes, indexes included."""
    return _load_sqlite(place.at, parts) if place.kind == "sqlite" else _load_postgres(place.at, parts)


def _load_sqlite(path: str, parts: Sequence[Iterator[tuple[str, str, str, int]]]) -> int:
    with SQLiteReplayStore(path) as store:
        store.create_schema()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    for part in parts:
        connection.executemany("INSERT INTO handoff_replay_log VALUES (?, ?, ?, ?)", part)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    flush(path)
    return os.path.getsize(path)


def flush(path: str) -> None:
    """Onto the disk, or the first commit that is measured would wait for it."""
    handle = os.open(path, os.O_RDWR)
    os.fsync(handle)
    os.close(handle)


def _load_postgres(url: str, parts: Sequence[Iterator[tuple[str, str, str, int]]]) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SCHEMA)
        with connection.cursor().copy("COPY handoff_replay_log FROM STDIN") as copy:
            for part in parts:
                for values in part:
                    copy.write_row(values)
        # What autovacuum and the checkpointer would do some time later, in the middle of what is measured.
        connection.execute("VACUUM (ANALYZE, FREEZE) handoff_replay_log")
        connection.execute("CHECKPOINT")
        row = connection.execute("SELECT pg_total_relation_size('handoff_replay_log')").fetchone()
    assert row is not None
    return int(row[0])


@contextlib.asynccontextmanager
async def opened(place: Place) -> AsyncGenerator[AnyStore]:
    """A store of the rows, with one connection in its pool."""
    if place.kind == "sqlite":
        async with AsyncSQLiteReplayStore(place.at, timeout=TIMEOUT_SECONDS) as store:
            yield store
    else:
        options: dict[str, Any] = {"min_size": 2, "max_size": 2, "kwargs": {"autocommit": True}}
        async with (
            AsyncConnectionPool(place.at, open=False, **options) as pool,
            AsyncPostgresReplayStore(pool, timeout=TIMEOUT_SECONDS) as pooled,
        ):
            await pool.wait()
            yield pooled


# Growth


async def latencies(places: dict[str, Place], base: int, calls: int) -> dict[str, list[float]]:
    """Seconds of each consume, by the name of the place. Ids of the minute before `base`."""
    took: dict[str, list[float]] = {name: [] for name in places}
    told = _told(base)
    async with contextlib.AsyncExitStack() as stack:
        stores = {name: await stack.enter_async_context(opened(place)) for name, place in places.items()}
        names = list(stores)
        gc.disable()
        for number in range(calls + 50):
            random.shuffle(names)
            for name in names:
                handoff_id = surroundings.handoff_id(base * 1000 - random.randrange(60_000))
                start = time.perf_counter()
                consumed = await stores[name].consume(handoff_id, **told)
                seconds = time.perf_counter() - start
                assert consumed.first
                if number >= 50:
                    took[name].append(seconds)
            if number % 200 == 0:
                gc.collect()
        gc.enable()
    return took


def _told(now: int) -> Told:
    return Told(
        scope=surroundings.SCOPE,
        redemption_id=random.randbytes(32).hex(),
        consumed_at=now,
        retain_until=now + surroundings.RETAINED_SECONDS,
    )


# Purge


async def paced(store: AnyStore, base: int, stop: asyncio.Event) -> list[float]:
    """Begin a consume every 2.5 ms until `stop`; seconds from when each was due to its answer."""
    told = _told(base)

    async def one(due: float) -> float:
        handoff_id = surroundings.handoff_id(base * 1000 - random.randrange(60_000))
        await store.consume(handoff_id, **told)
        return time.perf_counter() - due

    running: list[asyncio.Task[float]] = []
    due = time.perf_counter()
    while not stop.is_set():
        due += PACE_SECONDS
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        running.append(asyncio.create_task(one(due)))
    return list(await asyncio.gather(*running))


async def waits(place: Place, base: int, *, elsewhere: bool) -> dict[str, list[float]]:
    """Seconds of consumes before and during a purge of what is old, and the seconds and rows of the purge."""
    async with opened(place) as store:
        stop = asyncio.Event()
        quiet = asyncio.create_task(paced(store, base, stop))
        await asyncio.sleep(BASELINE_SECONDS)
        stop.set()
        before = (await quiet)[100:]
        stop = asyncio.Event()
        busy = asyncio.create_task(paced(store, base, stop))
        start = time.perf_counter()
        if elsewhere:
            command = [sys.executable, "-m", "benchmarks.growth", "--subject", "purge"]
            command += ["--places", json.dumps({"it": place}), "--base", str(base)]
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            written, _ = await process.communicate()
            removed, seconds = json.loads(written)
        else:
            removed = await store.purge(base)
            seconds = time.perf_counter() - start
        stop.set()
        return {"before": before, "during": await busy, "seconds": [seconds], "removed": [removed]}


async def purge(place: Place, base: int) -> list[float]:
    """As a job of its own does it."""
    async with opened(place) as store:
        start = time.perf_counter()
        removed = await store.purge(base)
        return [removed, time.perf_counter() - start]


# The whole


class Size(NamedTuple):
    """How much is measured."""

    sizes: tuple[int, ...]
    calls: int
    processes: int
    purge_rows: int
    purge_processes: int


def growth(size: Size, url: str, folder: Path, base: int) -> tuple[list[report.Found], report.Found]:
    """p50 by the number of entries, of several processes; and the bytes of an entry."""
    found: list[report.Found] = [{} for _ in range(size.processes)]
    bytes_each: report.Found = {}
    small, large = _count(size.sizes[0]), _count(size.sizes[-1])
    for kind, label in LABELS.items():
        with contextlib.ExitStack() as stack:
            places = {}
            for count in size.sizes:
                name = _count(count)
                if kind == "sqlite":
                    places[name] = Place(kind, str(folder / f"{count}.db"))
                else:
                    places[name] = Place(kind, stack.enter_context(surroundings.database(url)))
                total = load(places[name], [rows(count, base - SPAN_SECONDS, base)])
                bytes_each[f"{label}, {name} entries: bytes an entry"] = total / count
                surroundings.tell(f"growth: {label}, {name} loaded, {total / count:.0f} B an entry")
            for one in found:
                arguments = ["--places", json.dumps(places), "--base", str(base), "--calls", str(size.calls)]
                took = surroundings.in_fresh_process("benchmarks.growth", ["--subject", "growth", *arguments])
                p50 = {name: statistics.median(values) for name, values in took.items()}
                one[_of_sizes(label, size)] = p50[large] / p50[small]
                for name, values in took.items():
                    one[f"{label}, {name} entries: p50 µs"] = p50[name] * 1e6
                    one[f"{label}, {name} entries: p99 µs"] = surroundings.percentile(values, 0.99) * 1e6
            surroundings.tell(f"growth: {label} measured")
    return found, bytes_each


def _of_sizes(label: str, size: Size) -> str:
    return f"{label}: p50 at {_count(size.sizes[-1])} ÷ at {_count(size.sizes[0])} entries"


def purging(size: Size, url: str, folder: Path, base: int) -> list[report.Found]:
    """How long consumes wait during a purge, of several processes, each with a copy of the same rows."""
    found: list[report.Found] = [{} for _ in range(size.purge_processes)]
    half = size.purge_rows // 2
    with surroundings.database(url) as template:
        loaded = {"sqlite": str(folder / "purge.db"), "postgres": template}
        for kind, at in loaded.items():
            last_old = base - BEFORE_PURGE_SECONDS
            load(
                Place(kind, at),
                [rows(half, last_old - SPAN_SECONDS, last_old), rows(half, base - SPAN_SECONDS, base)],
            )
        for number, one in enumerate(found):
            for kind in loaded:
                for elsewhere, where in WHERE.items():
                    with contextlib.ExitStack() as stack:
                        if kind == "sqlite":
                            at = str(folder / "copy.db")
                            shutil.copyfile(loaded[kind], at)
                            flush(at)
                            stack.callback(_remove, at)
                        else:
                            at = stack.enter_context(surroundings.database(url, template=template))
                            with psycopg.connect(at, autocommit=True) as connection:
                                connection.execute("CHECKPOINT")
                        place = Place(kind, at)
                        subject = "elsewhere" if elsewhere else "waits"
                        took = surroundings.in_fresh_process(
                            "benchmarks.growth",
                            ["--subject", subject, "--places", json.dumps({"it": place}), "--base", str(base)],
                        )
                    assert took["removed"] == [half], took["removed"]
                    label = f"{place.label}, purge in {where}"
                    one[f"{label}: seconds"] = took["seconds"][0]
                    for name, moment in (("consume", "during"), ("consume before it", "before")):
                        for share, word in ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (1, "max")):
                            one[f"{label}: {name} {word} ms"] = surroundings.percentile(took[moment], share) * 1e3
            surroundings.tell(f"purge: {number + 1} of {size.purge_processes} processes")
    return found


def _remove(path: str) -> None:
    for ending in ("", "-wal", "-shm"):
        Path(path + ending).unlink(missing_ok=True)


def _count(number: int) -> str:
    """10000 -> 10 k, 10000000 -> 10 M. With spaces that do not break."""
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if number >= size:
            return f"{number / size:g}\u00a0{letter}"
    return str(number)


def run_growth(size: Size) -> report.Part:
    """Load, measure, and say how many bytes an entry takes."""
    base = int(time.time())
    with surroundings.postgres() as url, surroundings.disk_folder() as folder:
        found, bytes_each = growth(size, url, folder, base)
        return report.part(
            surroundings.machine(folder),
            {
                "PostgreSQL": surroundings.postgres_settings(url),
                "SQLite": surroundings.sqlite_settings(folder / f"{size.sizes[0]}.db"),
            },
            {"calls_of_each_size": size.calls, "processes": size.processes},
            [found, [bytes_each]],
            {_of_sizes(label, size): Aim("≤", 1.3) for label in LABELS.values()},
        )


def run_purge(size: Size) -> report.Part:
    """Load, and purge copies of it."""
    base = int(time.time())
    with surroundings.postgres() as url, surroundings.disk_folder() as folder:
        found = purging(size, url, folder, base)
        return report.part(
            surroundings.machine(folder),
            {
                "PostgreSQL": surroundings.postgres_settings(url),
                "SQLite": surroundings.sqlite_settings(folder / "purge.db"),
            },
            {
                "purged": f"{_count(size.purge_rows // 2)} of {_count(size.purge_rows)}",
                "consumes_begun_a_second": round(1 / PACE_SECONDS),
                "processes": size.purge_processes,
            },
            [found],
            {
                f"{label}, purge in {where}: consume {word} ms": Aim("≤", MAX_WAIT_MS)
                for label in LABELS.values()
                for where in WHERE.values()
                for word in ("p99.9", "max")
            },
        )


def main() -> None:
    """Print the table, or JSON; with --out also write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes", default="10000,100000,1000000,10000000", help="entries, comma-separated; empty: not measured"
    )
    parser.add_argument("--calls", type=int, default=1500, help="consumes of each size in each process")
    parser.add_argument("--processes", type=int, default=5, help="how many fresh processes measure growth")
    parser.add_argument(
        "--purge-rows", type=int, default=2_000_000, help="entries of which half is purged; 0: not measured"
    )
    parser.add_argument("--purge-processes", type=int, default=3, help="how many fresh processes measure each purge")
    report.add_options(parser)
    parser.add_argument("--subject", choices=("growth", "waits", "elsewhere", "purge"), help=argparse.SUPPRESS)
    parser.add_argument("--places", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.subject:
        places = {name: Place(*place) for name, place in options.places.items()}
        print(json.dumps(asyncio.run(one_process(options.subject, places, options.base, options.calls))))
        return
    size = Size(
        tuple(sorted(int(number) for number in options.sizes.split(",") if number)),
        options.calls,
        options.processes,
        options.purge_rows,
        options.purge_processes,
    )
    if size.sizes:
        report.deliver("growth", run_growth(size), options)
    if size.purge_rows:
        report.deliver("purge", run_purge(size), options)


async def one_process(subject: str, places: dict[str, Place], base: int, calls: int) -> object:
    """What a process of its own measures."""
    if subject == "growth":
        return await latencies(places, base, calls)
    if subject == "purge":
        return await purge(places["it"], base)
    return await waits(places["it"], base, elsewhere=subject == "elsewhere")


if __name__ == "__main__":
    main()

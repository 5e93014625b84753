"""A handoff log that fails raises its own error, whatever failed, on each product, for threads and for asyncio.

Every fault is real but one: no supported Python has so old an SQLite as this library refuses.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from inspect import isawaitable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from ghasi_handoff import HandoffLogError, ReplayStoreError
from ghasi_handoff.handshake import ConsumeCall, HandoffQuery, HandoffRecord
from ghasi_handoff.stores.postgres import AsyncPostgresHandoffLog, PostgresHandoffLog
from ghasi_handoff.stores.sqlite import AsyncSQLiteHandoffLog, SQLiteHandoffLog
from tests.servers import wait_until

from .entries import NOW, handoff_id
from .sqlite_files import run, write_lock

ISSUED = HandoffRecord(
    handoff_id=handoff_id(NOW), issuer="a", audience="b", tenant="t", kid="k", issued_at=NOW, expires_at=NOW + 300
)
CALL = ConsumeCall("a", "b", ISSUED.handoff_id, "a" * 64, NOW + 1, NOW + 1)
CALLS: dict[str, tuple[Any, ...]] = {
    "record": (ISSUED,),
    "consume": (CALL, NOW + 2),
    "revoke": (ISSUED.handoff_id,),
    "find": (ISSUED.handoff_id,),
    "search": (HandoffQuery(),),
    "purge": (NOW,),
    "create_schema": (),
}
ALL = tuple(CALLS)
AWAITED = pytest.mark.parametrize("awaited", [False, True], ids=["threads", "asyncio"])


async def ask(log: Any, call: str) -> None:
    """Make one call, awaited if the log is one for asyncio."""
    answer = getattr(log, call)(*CALLS[call])
    if isawaitable(answer):
        await answer


@asynccontextmanager
async def sqlite_log(path: str | Path, awaited: bool, **options: Any) -> AsyncGenerator[Any]:
    """A log for threads or for asyncio, closed at the end."""
    if awaited:
        async with AsyncSQLiteHandoffLog(path, **options) as log:
            yield log
    else:
        with SQLiteHandoffLog(path, **options) as sync_log:
            yield sync_log


async def refuse(log: Any, calls: tuple[str, ...], reason: str) -> None:
    """Each of the calls raises the log's error, which an older handler catches, too."""
    for call in calls:
        with pytest.raises(ReplayStoreError, match=reason) as caught:
            await ask(log, call)
        assert type(caught.value) is HandoffLogError
        assert caught.value.code == "log_unavailable"


# ---- SQLite


@contextmanager
def locked(path: str) -> Generator[None]:
    with write_lock(path):
        yield


@contextmanager
def removed(path: str) -> Generator[None]:
    os.unlink(path)
    yield


@contextmanager
def linked(path: str) -> Generator[None]:
    os.link(path, f"{path}-second")
    yield


@contextmanager
def replaced(path: str) -> Generator[None]:
    os.rename(path, f"{path}-before")
    run(path, "CREATE TABLE bookings (id INTEGER)")
    yield


@pytest.mark.parametrize(
    ("fault", "calls", "reason"),
    [
        (locked, ("record", "consume", "revoke", "purge"), "SQLITE_BUSY"),
        (linked, ("record", "consume", "revoke", "purge", "create_schema"), "second name"),
        (removed, ("record", "consume", "revoke", "purge", "create_schema"), "replaced or removed"),
        (removed, ("find", "search"), "no such file; `ghasi-handoff handoff init`"),
        (replaced, ("record", "consume", "revoke", "purge", "create_schema"), "replaced or removed"),
        (replaced, ("find", "search"), "no such table"),
    ],
)
@AWAITED
def test_a_file_that_fails_in_use(
    path: str, fault: Callable[[str], Any], calls: tuple[str, ...], reason: str, awaited: bool
) -> None:
    """A file that another process locks, removes or replaces while the log has it open."""

    async def story() -> None:
        async with sqlite_log(path, awaited, timeout=0.1) as log:
            await ask(log, "record")
            with fault(path):
                await refuse(log, calls, reason)

    asyncio.run(story())


def never_there(path: str) -> None:
    os.rmdir(os.path.dirname(path))


def of_another_release(path: str) -> None:
    run(path, "PRAGMA user_version = 7")


def of_something_else(path: str) -> None:
    Path(path).write_bytes(b"not a database at all" * 100)


@pytest.mark.parametrize(
    ("spoil", "calls", "reason"),
    [
        (never_there, ("record", "consume", "revoke", "purge", "create_schema"), "SQLITE_CANTOPEN"),
        (never_there, ("find", "search"), "no such file"),
        (of_another_release, ("record", "consume", "revoke", "purge", "create_schema"), "log's schema has version 7"),
        (of_another_release, ("find", "search"), "no such table"),
        (of_something_else, ALL, "SQLITE_NOTADB"),
    ],
)
@AWAITED
def test_a_file_that_cannot_be_opened(
    tmp_path: Path, spoil: Callable[[str], None], calls: tuple[str, ...], reason: str, awaited: bool
) -> None:
    """A folder that is not there, a file of another release, and a file of something else."""
    path = tmp_path / "folder" / "log.db"
    path.parent.mkdir()
    spoil(str(path))

    async def story() -> None:
        async with sqlite_log(path, awaited) as log:
            await refuse(log, calls, reason)

    asyncio.run(story())


@AWAITED
def test_a_closed_log(path: str, awaited: bool) -> None:
    """A log that was closed says so. Reading opens the file for itself, and is still possible."""

    async def story() -> None:
        async with sqlite_log(path, awaited) as log:
            await ask(log, "record")
        await refuse(log, ("record", "consume", "revoke", "purge", "create_schema"), "the handoff log is closed")

    asyncio.run(story())


@AWAITED
def test_a_log_whose_threads_wait_for_each_other(path: str, awaited: bool) -> None:
    """A thread that holds the file for longer than the timeout: the others are told that they waited for it."""

    async def story() -> None:
        async with sqlite_log(path, awaited, timeout=0.1) as log:
            with log._file.session():
                await refuse(log, ("record", "purge"), "other threads used the handoff log")

    asyncio.run(story())


@AWAITED
def test_a_python_with_an_old_sqlite(path: str, awaited: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log cannot be made where tables cannot be strict."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 9))
    with pytest.raises(HandoffLogError, match=r"3\.37\.0"):
        (AsyncSQLiteHandoffLog if awaited else SQLiteHandoffLog)(path)


# ---- PostgreSQL


def on_postgresql(url: str, awaited: bool, calls: tuple[str, ...], reason: str, *, opened: bool = True) -> None:
    """Each of the calls fails, over a pool of `url`."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            log: Any
            if awaited:
                pool = AsyncConnectionPool(url, min_size=1, open=False)
                log = AsyncPostgresHandoffLog(pool, timeout=0.5)
                if opened:
                    await stack.enter_async_context(pool)
            else:
                sync_pool = ConnectionPool(url, min_size=1, open=False)
                log = PostgresHandoffLog(sync_pool, timeout=0.5)
                if opened:
                    stack.enter_context(sync_pool)
            await refuse(log, calls, reason)

    asyncio.run(story())


@AWAITED
def test_a_database_without_the_tables(postgres_url: str, awaited: bool) -> None:
    """The error names the command that makes the log's tables."""
    on_postgresql(postgres_url, awaited, tuple(call for call in ALL if call != "create_schema"), "handoff init")


@AWAITED
def test_tables_of_another_release(postgres_url: str, awaited: bool) -> None:
    """The version that was found is named, and the one that is needed."""
    with ConnectionPool(postgres_url, min_size=1, open=True) as pool:
        PostgresHandoffLog(pool).create_schema()
        with pool.connection() as connection:
            connection.execute("UPDATE handoff_log_schema SET schema_version = 7")
    on_postgresql(postgres_url, awaited, ("create_schema",), "handoff log's schema has version 7; this release needs 1")


@AWAITED
def test_a_server_that_is_not_there(postgres_url: str, awaited: bool) -> None:
    """No connection within the timeout."""
    unreachable = make_conninfo(postgres_url, host="127.0.0.1", hostaddr="", port=1)
    on_postgresql(unreachable, awaited, ("record", "purge"), "no connection within the timeout")


@AWAITED
def test_a_pool_that_is_closed(postgres_url: str, awaited: bool) -> None:
    """The application has not opened its pool, or has closed it."""
    on_postgresql(postgres_url, awaited, ALL, "PoolClosed", opened=False)


@pytest.fixture
def held_row(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction that has changed the row of the handoff, and does not end."""
    with ExitStack() as stack:
        pool = stack.enter_context(ConnectionPool(postgres_url, min_size=1, open=True))
        log = PostgresHandoffLog(pool)
        log.create_schema()
        log.record(ISSUED)
        stalled = stack.enter_context(psycopg.connect(postgres_url))
        stalled.execute("UPDATE handoff_log SET tenant = 'other'")
        yield stalled


@AWAITED
def test_a_statement_that_hangs(held_row: object, postgres_url: str, awaited: bool) -> None:
    """What waits for another transaction for longer than the timeout is ended."""
    on_postgresql(postgres_url, awaited, ("consume", "revoke"), "PostgreSQL: ")


def test_a_statement_that_is_cancelled(held_row: object, postgres_url: str) -> None:
    """An operator cancels a statement: its caller is told so, and nothing has changed."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async def story() -> None:
        async with AsyncConnectionPool(postgres_url, min_size=1, open=False) as pool:
            log = AsyncPostgresHandoffLog(pool, timeout=60)
            asking = asyncio.create_task(log.revoke(ISSUED.handoff_id))
            with psycopg.connect(postgres_url, autocommit=True) as operator:
                await asyncio.to_thread(
                    wait_until, lambda: bool(operator.execute(waiting).fetchall()), "for the statement"
                )
                operator.execute(f"SELECT pg_cancel_backend(pid) FROM ({waiting}) AS waits".encode())
            with pytest.raises(HandoffLogError, match="QueryCanceled"):
                await asking
            found = await log.find(ISSUED.handoff_id)
            assert found == ISSUED

    asyncio.run(story())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_pool_that_was_open_at_a_fork(postgres_url: str) -> None:
    """A child that inherited an open pool is told by the log's error, and writes into no connection of its parent."""
    with ConnectionPool(postgres_url, min_size=1, open=True) as pool:
        log = PostgresHandoffLog(pool)
        log.create_schema()
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            try:
                log.record(ISSUED)
            except HandoffLogError as exc:
                os.write(writing, str(exc).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        with os.fdopen(reading) as told:
            assert "before a fork" in told.read()
        assert log.find(ISSUED.handoff_id) is None

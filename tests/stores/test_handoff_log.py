"""The handoff log, on SQLite and PostgreSQL: what is in it stays, and one redemption wins."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from ghasi_handoff import HandoffLogError, UnknownHandoffError
from ghasi_handoff.handshake import (
    AsyncPostgresHandoffLog,
    AsyncSQLiteHandoffLog,
    ConsumeCall,
    HandoffQuery,
    HandoffRecord,
    HandoffState,
    PostgresHandoffLog,
    SQLiteHandoffLog,
)
from ghasi_handoff.stores.postgres import _pool, _statements
from ghasi_handoff.stores.sqlite import _handoff_log as sqlite_log
from tests.handoff_logs import UNHURRIED, emptied_pool, made_log
from tests.handshake.services import AUDIENCE, ISSUER, TENANT, Clock, handoff_id

HOUR = 3600
WHO, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def clock() -> Clock:
    """The log's clock."""
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def product(request: pytest.FixtureRequest) -> str:
    """Which database."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def shared_pool(new_postgres_url: Callable[[], AbstractContextManager[str]]) -> Iterator[ConnectionPool[Any]]:
    """The pool of a database with the log's schema. A new database for each test would cost half a second."""
    with new_postgres_url() as url, ConnectionPool(url, min_size=1, max_size=8, open=True) as pool:
        PostgresHandoffLog(pool).create_schema()
        yield pool


@pytest.fixture
def pool(product: str, request: pytest.FixtureRequest) -> ConnectionPool[Any] | None:
    """The application's pool, on PostgreSQL. Nothing is in its log yet."""
    empty = "DELETE FROM handoff_log; UPDATE handoff_log_schema SET schema_version = 1"
    return emptied_pool(product, request, empty)


@pytest.fixture
def log(tmp_path: Path, pool: ConnectionPool[Any] | None, clock: Clock) -> Iterator[Any]:
    """An empty handoff log."""
    with made_log(tmp_path, pool, clock) as made:
        yield made


def a_record(issued_at: int, tenant: str = TENANT) -> HandoffRecord:
    return HandoffRecord(
        handoff_id=handoff_id(issued_at), issuer=ISSUER, audience=AUDIENCE, tenant=tenant, kid="2026-11a",
        issued_at=issued_at, expires_at=issued_at + 300,
    )  # fmt: skip


def a_call(record: HandoffRecord, who: str = WHO, after: int = 10, **changes: Any) -> ConsumeCall:
    at = record.issued_at + after
    return ConsumeCall(record.issuer, record.audience, record.handoff_id, who, at, at)._replace(**changes)


def test_an_issued_row_is_found_as_it_was_recorded(log: Any, clock: Clock) -> None:
    """What was recorded is read back, in the state issued."""
    record = a_record(int(clock.now))
    log.record(record)
    assert log.find(record.handoff_id) == record
    assert log.find(handoff_id(1)) is None


def test_recording_twice_changes_nothing(log: Any, clock: Clock) -> None:
    """A repeated write after a lost answer does not reset a row that was consumed meanwhile."""
    record = a_record(int(clock.now))
    log.record(record)
    log.consume(a_call(record), int(clock.now))
    log.record(record)
    assert log.find(record.handoff_id).state is HandoffState.CONSUMED


def test_consuming_marks_the_row_once(log: Any, clock: Clock) -> None:
    """The first redemption id stays, with its own time; a later one reads it."""
    record = a_record(int(clock.now))
    log.record(record)
    first = log.consume(a_call(record), int(clock.now) + 11)
    assert (first.state, first.redemption_id, first.consumed_at, first.recorded_at) == (
        HandoffState.CONSUMED, WHO, record.issued_at + 10, int(clock.now) + 11,
    )  # fmt: skip
    assert log.consume(a_call(record, OTHER, 20), int(clock.now) + 21) == first
    assert log.consume(a_call(record, WHO, 30), int(clock.now) + 31) == first
    assert log.find(record.handoff_id) == first


@pytest.mark.parametrize(
    ("change", "after"),
    [({"issuer": "other"}, 10), ({"audience": "other"}, 10), ({}, 300 + 60), ({}, 5000)],
    ids=["issuer", "audience", "too-late-by-0", "too-late"],
)
def test_a_call_that_does_not_fit_changes_nothing(log: Any, clock: Clock, change: dict[str, str], after: int) -> None:
    """Another pair's call, or one whose redemption was too late, leaves the row issued."""
    record = a_record(int(clock.now))
    log.record(record)
    assert log.consume(a_call(record, after=after, **change), int(clock.now)) == record
    assert log.find(record.handoff_id) == record


def test_the_last_second_still_counts(log: Any, clock: Clock) -> None:
    """A redemption 59 s after the token's end is taken, however late it is reported."""
    record = a_record(int(clock.now))
    log.record(record)
    assert log.consume(a_call(record, after=300 + 59), int(clock.now) + 24 * HOUR).state is HandoffState.CONSUMED


def test_one_of_many_redemptions_wins(log: Any, clock: Clock) -> None:
    """Sixteen threads with sixteen redemption ids: one row, one winner, and every answer names it."""
    record = a_record(int(clock.now))
    log.record(record)
    barrier, answers = threading.Barrier(16), []

    def try_one(n: int) -> None:
        barrier.wait()
        answers.append(log.consume(a_call(record, f"{n:064x}"), int(clock.now)))

    threads = [threading.Thread(target=try_one, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 16
    assert {answer.redemption_id for answer in answers} == {log.find(record.handoff_id).redemption_id}


def test_a_call_that_waited_for_another_sees_what_it_did(tmp_path: Path, pool: Any, log: Any, clock: Clock) -> None:
    """It found the row issued, and waits for the other's commit: then the row is the other's."""
    record = a_record(int(clock.now))
    log.record(record)
    theirs = (
        f"UPDATE handoff_log SET state = 'consumed', redemption_id = '{WHO}' WHERE handoff_id = '{record.handoff_id}'"
    )
    answers: list[HandoffRecord] = []
    with ExitStack() as stack:
        other = stack.enter_context(
            closing(sqlite3.connect(tmp_path / "log.db")) if pool is None else pool.connection()
        )
        other.execute("BEGIN IMMEDIATE" if pool is None else "SELECT 1")
        other.execute(theirs)
        thread = threading.Thread(target=lambda: answers.append(log.consume(a_call(record, OTHER), int(clock.now))))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        other.commit()
        thread.join(60)
    assert [answer.redemption_id for answer in answers] == [WHO]
    assert log.find(record.handoff_id).redemption_id == WHO


def test_revoking_ends_an_issued_handoff_only(log: Any, clock: Clock) -> None:
    """A revoked row is never consumed, a consumed one never revoked, and an unknown one is said to be unknown."""
    revoked, consumed = a_record(int(clock.now)), a_record(int(clock.now))
    log.record(revoked)
    log.record(consumed)
    log.consume(a_call(consumed), int(clock.now))
    assert log.revoke(revoked.handoff_id).state is HandoffState.REVOKED
    assert log.revoke(revoked.handoff_id).revoked_at == int(clock.now)
    assert log.consume(a_call(revoked), int(clock.now)).state is HandoffState.REVOKED
    assert log.revoke(consumed.handoff_id).state is HandoffState.CONSUMED
    with pytest.raises(UnknownHandoffError):
        log.revoke(handoff_id(1))


@pytest.mark.parametrize("text", ["", "nonsense", "ghasi1.k.body.mac", "01A207BD-AABA-7C3A-9F12-5B6E0D4A8C71"])
def test_what_is_no_id_is_unknown(text: str, log: Any) -> None:
    """Not an error of the log, on either product; and what may be a token is not among the error's fields."""
    assert log.find(text) is None
    with pytest.raises(UnknownHandoffError) as caught:
        log.revoke(text)
    assert caught.value.log_fields == {}


def test_searching_narrows_by_what_is_given(log: Any, clock: Clock) -> None:
    """By tenant, time and state, the newest first, and no more than the limit."""
    now = int(clock.now)
    records = [a_record(now - age, tenant) for age, tenant in ((50, "a"), (40, "b"), (30, "a"), (20, "a"))]
    for record in records:
        log.record(record)
    log.revoke(records[3].handoff_id)
    found: Callable[..., list[int]] = lambda **query: [now - r.issued_at for r in log.search(HandoffQuery(**query))]  # noqa: E731
    assert found() == [20, 30, 40, 50]
    assert found(tenant="a") == [20, 30, 50]
    assert found(tenant="a", since=now - 30) == [20, 30]
    assert found(tenant="a", until=now - 30) == [50]
    assert found(state=HandoffState.REVOKED) == [20]
    assert found(limit=2) == [20, 30]


def test_rows_are_purged_two_days_after_their_end(log: Any, clock: Clock) -> None:
    """48 hours and not a second less; the rows after it stay."""
    now = int(clock.now)
    at_the_edge = now - 48 * HOUR - 300
    gone, kept, fresh = a_record(at_the_edge), a_record(at_the_edge + 1), a_record(now)
    for record in (gone, kept, fresh):
        log.record(record)
    assert log.purge(now) == 1
    assert [log.find(record.handoff_id) is None for record in (gone, kept, fresh)] == [True, False, False]


def test_a_clock_far_ahead_does_not_empty_the_log(log: Any, clock: Clock) -> None:
    """The newest row bounds a purge: after a jump of the clock, guests' tokens are still known."""
    record = a_record(int(clock.now))
    log.record(record)
    assert log.purge(int(clock.now) + 365 * 24 * HOUR) == 0
    assert log.find(record.handoff_id) == record


def test_a_purge_of_many_rows_shows_progress(log: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one chunk: all that is old goes, and the progress is reported."""
    monkeypatch.setattr(sqlite_log, "SQLITE_PURGE_CHUNK", 5)
    monkeypatch.setattr(_pool, "POSTGRES_PURGE_CHUNK", 5)
    old = int(clock.now) - 60 * HOUR
    for n in range(11):
        log.record(a_record(old + n % 7))
    log.record(a_record(int(clock.now)))
    seen: list[int] = []
    assert log.purge(int(clock.now), progress=seen.append) == 11
    assert seen == sorted(seen)
    assert seen[-1] == 11
    assert len(set(seen)) >= 3


def test_an_empty_log_is_purged(log: Any, clock: Clock) -> None:
    """There is nothing to bound the purge, and nothing to remove."""
    assert log.purge(int(clock.now)) == 0


def test_a_log_of_another_release_is_refused(product: str, tmp_path: Path, pool: Any, log: Any) -> None:
    """A newer schema is named, and left as it is."""
    if product == "sqlite":
        with log._file.session() as connection:
            connection.execute("PRAGMA user_version = 2")
        log.close()
        other: Any = SQLiteHandoffLog(tmp_path / "log.db")
    else:
        with pool.connection() as connection:
            connection.execute("UPDATE handoff_log_schema SET schema_version = 2")
            connection.execute("DROP INDEX handoff_log_tenant")  # as a later release might
        other = PostgresHandoffLog(pool)
    with pytest.raises(HandoffLogError, match="version 2; this release needs 1"):
        other.create_schema()
    if product == "postgresql":
        with pool.connection() as connection:
            assert connection.execute("SELECT to_regclass('handoff_log_tenant')").fetchone() == (None,)


def test_the_schema_can_be_made_again(log: Any, clock: Clock) -> None:
    """A second creation changes nothing."""
    record = a_record(int(clock.now))
    log.record(record)
    log.create_schema()
    assert log.find(record.handoff_id) == record


def test_postgresql_commits_to_disk_whatever_the_session_says(shared_pool: ConnectionPool[Any], clock: Clock) -> None:
    """With synchronous_commit off, a recorded, consumed or revoked row is still on disk before the answer."""
    options = {"options": "-c synchronous_commit=off"}
    record = a_record(int(clock.now))
    with ConnectionPool(shared_pool.conninfo, min_size=1, kwargs=options, open=True) as pool:
        statements = {
            _statements.LOG_RECORD: (record.handoff_id, ISSUER, AUDIENCE, TENANT, "k", 1, 2),
            _statements.LOG_CONSUME: (WHO, 1, 1, record.handoff_id, ISSUER, AUDIENCE, 1, 60),
            _statements.LOG_REVOKE: (1, record.handoff_id),
        }
        for statement, arguments in statements.items():
            with pool.connection() as connection:
                connection.execute(statement, arguments)
                assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",), statement
                if statement is _statements.LOG_CONSUME:
                    connection.rollback()  # so that the row can still be revoked


def test_the_asyncio_logs_do_the_same(pool: ConnectionPool[Any] | None, tmp_path: Path, clock: Clock) -> None:
    """Record, consume, revoke, find, search and purge, awaited."""

    async def story(log: Any) -> None:
        await log.create_schema()
        one, two = a_record(int(clock.now)), a_record(int(clock.now))
        await log.record(one)
        await log.record(two)
        assert (await log.consume(a_call(one), 5)).redemption_id == WHO
        assert (await log.revoke(two.handoff_id)).state is HandoffState.REVOKED
        assert (await log.find(two.handoff_id)).revoked_at == int(clock.now)
        assert len(await log.search(HandoffQuery(tenant=TENANT))) == 2
        assert await log.purge(int(clock.now)) == 0

    async def on_either() -> None:
        async with AsyncExitStack() as stack:
            if pool is None:
                log: Any = AsyncSQLiteHandoffLog(tmp_path / "log.db", clock=clock)
            else:
                async_pool = await stack.enter_async_context(AsyncConnectionPool(pool.conninfo, min_size=1, open=False))
                log = AsyncPostgresHandoffLog(async_pool, clock=clock, timeout=UNHURRIED)
            await story(await stack.enter_async_context(log))

    asyncio.run(on_either())

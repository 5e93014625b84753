"""check and stats of the SQLite stores, and the hazards that every store shares: clocks, and a purge that has not run."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from ghasi_handoff import ReplayStoreError
from ghasi_handoff._limits import HORIZON_SECONDS, PURGE_OVERDUE_SECONDS
from ghasi_handoff._store_reports import StoreReport, clock_hazards, purge_hazards
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore

from ..entries import NOW, entry, handoff_id, handoff_ids
from ..sqlite_files import run

LEEWAY = timedelta(seconds=10)


def codes(report: StoreReport) -> list[str]:
    return [hazard.code for hazard in report.hazards]


def a_store(path: str, now: float = NOW) -> SQLiteReplayStore:
    store = SQLiteReplayStore(path, clock=lambda: now)
    store.consume(handoff_id(NOW), **entry(1))
    return store


def test_sound_file_has_no_hazard(path: str) -> None:
    """A file as the store makes it is reported without a hazard, with what was looked at."""
    with a_store(path) as store:
        report = store.check()
    assert report.ok
    assert report.server == f"SQLite {sqlite3.sqlite_version}"
    assert report.settings == {"journal_mode": "wal", "synchronous": "2", "schema_version": "2"}


def test_file_out_of_write_ahead_mode_is_reported(path: str) -> None:
    """A file that another program took out of WAL is reported; opening it for use puts it back."""
    a_store(path).close()
    run(path, "PRAGMA journal_mode = DELETE")
    with SQLiteReplayStore(path, clock=lambda: NOW) as store:
        assert codes(store.check()) == ["not_wal"]
        store.create_schema()
        assert store.check().ok


@pytest.mark.parametrize("weaker", [0, 1])
def test_synchronous_below_full_is_reported(path: str, weaker: int) -> None:
    """A connection whose synchronous setting somebody lowered is reported."""
    with a_store(path) as store:
        assert store._file._connection is not None
        store._file._connection.execute(f"PRAGMA synchronous = {weaker}")
        assert codes(store.check()) == ["not_full"]


def test_schema_of_another_version_is_reported(path: str) -> None:
    """A file of another release is reported, and stays as it is."""
    a_store(path).close()
    run(path, "PRAGMA user_version = 7")
    with SQLiteReplayStore(path, clock=lambda: NOW) as store:
        assert codes(store.check()) == ["schema_version"]
        with pytest.raises(ReplayStoreError, match="version 7"):
            store.create_schema()


def test_file_that_is_no_store_is_reported(path: str) -> None:
    """An SQLite file of something else is reported as having no schema of ours, and nothing is made in it."""
    run(path, "CREATE TABLE bookings (id INTEGER)")
    with SQLiteReplayStore(path) as store:
        assert codes(store.check()) == ["not_wal", "schema_version"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("bookings",)]


def test_missing_file_is_not_made_by_looking(path: str) -> None:
    """Asking about a file that is not there says so, and leaves nothing behind."""
    with SQLiteReplayStore(path) as store:
        for look in (store.check, store.stats):
            with pytest.raises(ReplayStoreError, match="no such file"):
                look()
    assert not Path(path).exists()


def test_purge_that_has_not_run_is_reported(path: str) -> None:
    """An entry that should have been purged a day ago is reported; a purge puts it right."""
    late = NOW + HORIZON_SECONDS + PURGE_OVERDUE_SECONDS + 1
    with a_store(path, now=late) as store:
        store.consume(handoff_id(late), **entry(1, at=late, until=late + 400))
        assert codes(store.check()) == ["purge_overdue"]
        store.purge()
        assert store.check().ok


def test_clock_that_is_behind_the_newest_id_is_reported(path: str) -> None:
    """An id from the future means that this machine's clock, or the minting one's, is wrong; the leeway is allowed."""
    with a_store(path, now=NOW - 11) as store:
        assert codes(store.check()) == ["clock_behind"]
        assert store.check(leeway=timedelta(seconds=11)).ok


def test_stats_count_what_is_there(path: str) -> None:
    """Entries, ids, mark, refusals, outbox and size are those of the file."""
    with SQLiteReplayStore(path, outbox=True, clock=lambda: NOW) as store:
        for handoff in handoff_ids(5):
            store.consume(handoff, **entry(1))
        store.consume(handoff_id(NOW), **entry(2))
        stats = store.stats()
    assert (stats.entries, stats.oldest_at, stats.newest_at) == (5, NOW, NOW)
    assert (stats.refused, stats.outbox, stats.purged_before) == (1, 5, 0)
    assert stats.size_bytes is not None
    assert stats.size_bytes >= 4096


def test_stats_of_an_empty_store(path: str) -> None:
    """Nothing redeemed yet: no oldest and no newest, not an error."""
    with SQLiteReplayStore(path) as store:
        store.create_schema()
        assert (store.stats().entries, store.stats().oldest_at, store.stats().newest_at) == (0, None, None)
        assert store.check().ok


def test_async_store_answers_alike(path: str) -> None:
    """The asynchronous store makes, checks, counts and purges the same file, with the same answers."""
    told: list[int] = []

    async def main() -> None:
        async with AsyncSQLiteReplayStore(path, clock=lambda: NOW) as store:
            await store.create_schema()
            for handoff in handoff_ids(3, seconds=NOW - HORIZON_SECONDS - 5):
                await store.consume(handoff, **entry(1))
            await store.consume(handoff_id(NOW), **entry(1))
            assert (await store.check()).ok
            assert await store.purge(progress=told.append) == 3
            assert (await store.stats()).entries == 1

    asyncio.run(main())
    assert told == [3]


@pytest.mark.parametrize(
    ("ours", "theirs", "newest", "found"),
    [
        (100.0, None, None, []),
        (100.0, 110.0, 110, []),
        (100.0, 110.1, None, ["clock_differs"]),
        (100.0, 89.9, None, ["clock_differs"]),
        (100.0, 100.0, 111, ["clock_behind"]),
        (100.0, 0.0, 111, ["clock_differs", "clock_behind"]),
    ],
)
def test_clock_hazards_begin_beyond_the_leeway(
    ours: float, theirs: float | None, newest: int | None, found: list[str]
) -> None:
    """Two clocks may differ by the leeway, in either direction, and no more."""
    assert [hazard.code for hazard in clock_hazards(ours, theirs, newest, LEEWAY)] == found


@pytest.mark.parametrize(("age", "found"), [(0, 0), (HORIZON_SECONDS + PURGE_OVERDUE_SECONDS, 0), (10**6, 1)])
def test_purge_is_overdue_a_day_after_it_could_have_run(age: int, found: int) -> None:
    """An oldest entry is a hazard only when a purge could have removed it more than a day ago."""
    assert len(purge_hazards(NOW, NOW - age)) == found
    assert purge_hazards(NOW, None) == []

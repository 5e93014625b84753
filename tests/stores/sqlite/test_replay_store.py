"""The store in an SQLite file: durable, shared by threads and processes, with notes for support and an outbox."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ghasi_handoff import Consumption, ReplayStoreError
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore

from ..entries import (
    HORIZON,
    NOW,
    SCOPE,
    SLACK,
    assert_held,
    assert_refused,
    entry,
    handoff_id,
    handoff_ids,
    redemption_id,
)
from ..processes import StartProcess, together
from ..sqlite_files import fill, is_sound, outbox, purged_before, refusals, rows, run, stored_ids, write_lock

KINDS = pytest.mark.parametrize("kind", [SQLiteReplayStore, AsyncSQLiteReplayStore])
Kind = type[SQLiteReplayStore | AsyncSQLiteReplayStore]

DAY = 24 * 3600


# Threads and processes


def test_entries_outlive_the_store(path: str) -> None:
    """What one store was told, the next one knows."""
    with SQLiteReplayStore(path) as store:
        store.consume(handoff_id(NOW), **entry(1, at=NOW + 7))
    with SQLiteReplayStore(path) as store:
        assert store.consume(handoff_id(NOW), **entry(2)) == Consumption(redemption_id(1), False, NOW + 7)


def test_purged_ids_outlive_the_store(path: str) -> None:
    """What one store has purged, the next one refuses."""
    with SQLiteReplayStore(path) as store:
        store.consume(handoff_id(NOW), **entry(1))
        store.purge(NOW)
    with SQLiteReplayStore(path) as store:
        assert_refused(store, handoff_id(NOW - HORIZON - 1), entry(1))


def test_two_stores_share_a_file(path: str) -> None:
    """Two stores of one process agree on who holds what."""
    with SQLiteReplayStore(path) as one, SQLiteReplayStore(path) as other:
        assert one.consume(handoff_id(NOW), **entry(1)).first
        assert_held(other, [handoff_id(NOW)], 1)
        assert other.consume(handoff_id(NOW, 1), **entry(2)).first
        assert_held(one, [handoff_id(NOW, 1)], 2)


@pytest.mark.parametrize(("count", "handoffs"), [(3, 50), pytest.param(6, 300, marks=pytest.mark.thorough)])
def test_one_holder_among_processes(path: str, start_process: StartProcess, count: int, handoffs: int) -> None:
    """Of processes that race for handoffs, each handoff goes to one, and all are told which."""
    ids = handoff_ids(handoffs)
    processes = [start_process() for _ in range(count)]
    for process in processes:
        process.ask("open", path)
    start = together()
    for number, process in enumerate(processes):
        process.say("consume", ids, redemption_id(number), NOW + number, start)
    answers = [process.hear() for process in processes]
    assert not [answer for told in answers for answer in told if "error" in answer]
    for told in zip(*answers, strict=True):
        (winner,) = (number for number, (_, first, _) in enumerate(told) if first)
        assert {(holder, at) for holder, _, at in told} == {(redemption_id(winner), NOW + winner)}
    assert stored_ids(path) == ids


@pytest.mark.parametrize(("count", "turns"), [(3, 4), pytest.param(8, 12, marks=pytest.mark.thorough)])
def test_processes_make_the_file_together(tmp_path: Path, start_process: StartProcess, count: int, turns: int) -> None:
    """Several processes may be the first to use a file, all at once: one makes it, one wins, none fails."""
    processes = [start_process() for _ in range(count)]
    for turn in range(turns):
        path = str(tmp_path / f"replay-{turn}.db")
        for process in processes:
            process.ask("open", path)
        start = together(0.01)
        for number, process in enumerate(processes):
            process.say("consume", [handoff_id(NOW)], redemption_id(number), NOW, start)
        answers = [answer for process in processes for answer in process.hear()]
        assert not [answer for answer in answers if "error" in answer]
        (holder,) = (holder for holder, first, _ in answers if first)
        assert [answer[0] for answer in answers] == [holder] * count
        assert is_sound(path)


# Who is told no, and what it costs


def test_a_replay_takes_no_write_lock(path: str) -> None:
    """While another connection writes, a handoff that is held is answered at once; only the note of it is lost."""
    with SQLiteReplayStore(path, timeout=60) as store:
        store.consume(handoff_id(NOW), **entry(1))
        with write_lock(path):
            began = time.monotonic()
            for _ in range(20):
                assert_held(store, [handoff_id(NOW)], 1)
                assert store.consume(handoff_id(NOW), **entry(1)).holder == redemption_id(1)
            assert time.monotonic() - began < 30  # one wait for the lock takes a minute
    assert refusals(path) == []


def test_a_replay_by_a_new_store_takes_no_write_lock(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """Opening the file needs no write lock either, once it is made."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    with write_lock(path), SQLiteReplayStore(path) as another:
        assert_held(another, [handoff_id(NOW)], 1)


def test_a_replay_is_noted(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """For support the file says who else tried, and when, by that caller's clock."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    sqlite_store.consume(handoff_id(NOW), **entry(2, at=NOW + 5))
    assert refusals(path) == [(handoff_id(NOW), SCOPE, redemption_id(2), NOW + 5)]


def test_an_own_retry_is_not_noted(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """A browser that repeats its own redemption is no replay."""
    for seconds in range(3):
        sqlite_store.consume(handoff_id(NOW), **entry(1, at=NOW + seconds))
    assert refusals(path) == []


def test_at_most_eight_replays_are_noted(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """Somebody who replays one handoff again and again fills no disk: the first 8 are noted, for each handoff."""
    for handoff in handoff_ids(2):
        sqlite_store.consume(handoff, **entry(1))
        for number in range(2, 22):
            sqlite_store.consume(handoff, **entry(number))
    assert refusals(path) == [
        (handoff, SCOPE, redemption_id(number), NOW) for handoff in handoff_ids(2) for number in range(2, 10)
    ]


def test_notes_are_removed_after_a_day(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """A purge removes the notes that are older than 24 hours, and no others."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    sqlite_store.consume(handoff_id(NOW), **entry(2))
    sqlite_store.purge(NOW + DAY)
    assert len(refusals(path)) == 1
    sqlite_store.purge(NOW + DAY + 1)
    assert refusals(path) == []


def test_notes_decide_nothing(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """A note about a handoff that nobody holds keeps nobody from it."""
    sqlite_store.purge(NOW)
    run(
        path, f"INSERT INTO handoff_replay_refused VALUES ('{handoff_id(NOW)}', '{SCOPE}', '{redemption_id(1)}', {NOW})"
    )
    assert sqlite_store.consume(handoff_id(NOW), **entry(1)).first


# The outbox


def test_the_winner_is_put_in_the_outbox(path: str) -> None:
    """With an outbox, the consume that wins leaves one entry there; retries and replays leave none."""
    with SQLiteReplayStore(path, outbox=True) as store:
        for number in (1, 1, 2, 3):
            store.consume(handoff_id(NOW), **entry(number, at=NOW + number))
    assert outbox(path) == [(handoff_id(NOW), SCOPE, redemption_id(1), NOW + 1)]


def test_without_an_outbox_nothing_is_put_there(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """By default nothing is written to the outbox, which nobody would empty."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    assert outbox(path) == []


def test_consume_and_outbox_are_one(path: str) -> None:
    """Where the outbox cannot be written, the handoff is not consumed either."""
    with SQLiteReplayStore(path, outbox=True) as store:
        store.purge(NOW)
        run(path, "CREATE TRIGGER full BEFORE INSERT ON handoff_outbox BEGIN SELECT RAISE(ABORT, 'no more'); END")
        assert_refused(store, handoff_id(NOW), entry(1))
        assert stored_ids(path) == []
        run(path, "DROP TRIGGER full")
        assert store.consume(handoff_id(NOW), **entry(2)).first
    assert [row[2] for row in outbox(path)] == [redemption_id(2)]


def test_each_winner_among_processes_is_put_in_the_outbox_once(path: str, start_process: StartProcess) -> None:
    """Processes that race leave one outbox entry for each handoff, and it names the holder."""
    processes = [start_process() for _ in range(3)]
    for process in processes:
        process.ask("open", path, True)
    start = together()
    for number, process in enumerate(processes):
        process.say("consume", handoff_ids(40), redemption_id(number), NOW + number, start)
    for process in processes:
        process.hear()
    assert outbox(path) == rows(path, "SELECT * FROM handoff_replay_log ORDER BY handoff_id")
    assert len(outbox(path)) == 40


# Purging


def test_purge_removes_more_than_one_chunk(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """A purge goes on, chunk after chunk, until nothing old is left."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    fill(path, handoff_ids(1700, seconds=NOW - HORIZON - 1))
    assert sqlite_store.purge(NOW) == 1700
    assert stored_ids(path) == [handoff_id(NOW)]


@pytest.mark.parametrize("count", [499, 500, 501, 1000])
def test_purge_at_the_edges_of_chunks(path: str, sqlite_store: SQLiteReplayStore, count: int) -> None:
    """Whatever the number of old entries, all of them go and no other."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    fill(path, handoff_ids(count, seconds=NOW - HORIZON - 1))
    fill(path, handoff_ids(700, seconds=NOW - HORIZON))
    assert sqlite_store.purge(NOW) == count
    assert len(stored_ids(path)) == 701


def test_purge_takes_every_scope_along(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """An id's entries in several scopes go together, at the edge of a chunk as well."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    for scope in ("one", "two", "three"):
        fill(path, handoff_ids(400, seconds=NOW - HORIZON - 1), scope=scope)
    assert sqlite_store.purge(NOW) == 1200
    assert stored_ids(path) == [handoff_id(NOW)]


def test_purge_is_many_short_transactions(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """A purge that fails at the 1200th entry has removed the two chunks of 500 before it, for good."""
    old = handoff_ids(1700, seconds=NOW - HORIZON - 1)
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    fill(path, old)
    stop = f"CREATE TRIGGER stop BEFORE DELETE ON handoff_replay_log WHEN OLD.handoff_id = '{old[1200]}'"
    run(path, f"{stop} BEGIN SELECT RAISE(ABORT, 'stop'); END")
    with pytest.raises(ReplayStoreError):
        sqlite_store.purge(NOW)
    assert stored_ids(path) == [*old[1000:], handoff_id(NOW)]
    assert_refused(sqlite_store, old[0], entry(2))
    run(path, "DROP TRIGGER stop")
    assert sqlite_store.purge(NOW) == 700


def test_mark_and_removal_are_one(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """Where the mark cannot be raised nothing is removed, and where nothing can be removed the mark is not raised."""
    old = handoff_id(NOW - HORIZON - 1)
    sqlite_store.consume(old, **entry(1))
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    for event in ("DELETE ON handoff_replay_log", "UPDATE ON handoff_replay_mark"):
        run(path, f"CREATE TRIGGER stop BEFORE {event} BEGIN SELECT RAISE(ABORT, 'stop'); END")
        with pytest.raises(ReplayStoreError):
            sqlite_store.purge(NOW)
        assert stored_ids(path) == [old, handoff_id(NOW)]
        assert purged_before(path) == 0
        run(path, "DROP TRIGGER stop")
    assert_held(sqlite_store, [old], 1)


def test_mark_is_read_after_the_insert(path: str, start_process: StartProcess, sqlite_store: SQLiteReplayStore) -> None:
    """A consume that waits for the lock while another process purges sees the mark that this purge raised."""
    late = handoff_id(NOW - HORIZON - 1)
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    other = start_process()
    other.ask("open", path, False, 60)
    other.ask("consume", [handoff_id(NOW)], redemption_id(2), NOW)
    with write_lock(path) as purging:
        other.say("consume_locked", [late], redemption_id(2), NOW)
        assert other.hear() == "waits"  # it has read that nobody holds the handoff
        purging.execute(f"UPDATE handoff_replay_mark SET purged_before = {NOW - HORIZON}")
        purging.execute("COMMIT")
        purging.execute("BEGIN")
    (answer,) = other.hear()
    assert "older than what was purged" in answer["error"]
    assert late not in stored_ids(path)


def test_purge_lets_consumes_through(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """While many entries are purged, chunk after chunk, threads that consume are all answered, and rightly."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    old = handoff_ids(10_000, seconds=NOW - HORIZON - 1)
    fill(path, old)
    purged = threading.Event()
    start = threading.Barrier(5)

    def consume(thread: int) -> list[str]:
        mine: list[str] = []
        start.wait()
        while not purged.is_set() or not mine:
            mine.append(handoff_id(NOW, thread * 1_000_000 + len(mine) + 1))
            assert sqlite_store.consume(mine[-1], **entry(thread)).first
            assert sqlite_store.consume(handoff_id(NOW), **entry(thread)).holder == redemption_id(1)
        return mine

    def purge() -> int:
        start.wait()
        try:
            return sqlite_store.purge(NOW)
        finally:
            purged.set()

    with ThreadPoolExecutor(5) as threads:
        consumers = {thread: threads.submit(consume, thread) for thread in range(1, 5)}
        assert threads.submit(purge).result() == 10_000
        kept = {thread: consumer.result() for thread, consumer in consumers.items()}
    for thread, ids in kept.items():
        assert_held(sqlite_store, ids[:50], thread)
    assert stored_ids(path) == sorted([handoff_id(NOW), *(handoff for ids in kept.values() for handoff in ids)])


def test_processes_purge_together(path: str, start_process: StartProcess, sqlite_store: SQLiteReplayStore) -> None:
    """Two processes may purge one file at once: each entry is removed by one of them."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    fill(path, handoff_ids(3000, seconds=NOW - HORIZON - 1))
    processes = [start_process() for _ in range(2)]
    for process in processes:
        process.ask("open", path)
    for process in processes:
        process.say("purge", NOW)
    assert sum(process.hear() for process in processes) == 3000
    assert stored_ids(path) == [handoff_id(NOW)]


# Time-outs and the end


def test_threads_wait_no_longer_than_the_timeout(path: str) -> None:
    """When one thread waits for a locked file, those that wait for that thread give up in time, too."""
    with SQLiteReplayStore(path, timeout=0.5) as store:
        store.consume(handoff_id(NOW), **entry(1))
        with write_lock(path), ThreadPoolExecutor(30) as threads:
            began = time.monotonic()
            waiting = [threads.submit(assert_refused, store, handoff, entry(2)) for handoff in handoff_ids(30, start=1)]
            for refused in waiting:
                assert refused.result().log_fields.keys() == {"handoff_id"}
            assert 0.4 < time.monotonic() - began < 1 + SLACK
        assert store.consume(handoff_id(NOW, 1), **entry(3)).first


def test_a_refusal_leaves_no_lock_behind(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """After a consume that the mark refuses, the next process can write at once."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    sqlite_store.purge(NOW)
    assert_refused(sqlite_store, handoff_id(NOW - HORIZON - 1), entry(1))
    with write_lock(path):
        assert stored_ids(path) == [handoff_id(NOW)]


def test_closed_store_refuses(path: str) -> None:
    """A store that was closed is not opened again: consume and purge are refused."""
    store = SQLiteReplayStore(path)
    store.consume(handoff_id(NOW), **entry(1))
    store.close()
    for handoff in handoff_ids(2):
        assert assert_refused(store, handoff, entry(1)).log_fields == {"handoff_id": handoff}
    with pytest.raises(ReplayStoreError, match="closed"):
        store.purge(NOW)
    assert stored_ids(path) == [handoff_id(NOW)]


def test_closing_twice_or_unused_is_fine(path: str) -> None:
    """A store may be closed twice, or without having been used; then it makes no file."""
    store = SQLiteReplayStore(path)
    store.close()
    store.close()
    assert_refused(store, handoff_id(NOW), entry(1))
    assert not os.path.exists(path)


def test_leaving_the_context_closes(path: str) -> None:
    """At the end of its with block a store is closed, and leaves one file: no log beside it that a copy would miss."""
    with SQLiteReplayStore(path) as store:
        store.consume(handoff_id(NOW), **entry(1))
    assert_refused(store, handoff_id(NOW, 1), entry(1))
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]

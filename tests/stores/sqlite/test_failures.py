"""The SQLite store when something is wrong: no error ever counts as success, and nothing acknowledged is lost.

Locks, full disks, permissions, crashes and forks are real. Each test ends with the fault gone and the truth asked for.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ghasi_handoff import Consumption, ReplayStoreError
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore
from tests.servers import wait_until

from ..entries import HORIZON, NOW, SLACK, assert_held, assert_refused, entry, handoff_id, handoff_ids, redemption_id
from ..processes import StartProcess
from ..sqlite_files import fill, is_sound, outbox, purged_before, rows, run, stored_ids, write_lock

PAGE = 4096


def filled(path: str, ids: list[str], number: int = 1) -> None:
    """A file with these entries, that no store has open."""
    with SQLiteReplayStore(path) as store:
        store.purge(0)
    fill(path, ids, number=number)


def answers_truly(answer: Any, number: int) -> bool:
    """Whether a process was told, of a handoff that is held, the holder or an error: anything but that it won."""
    return "error" in answer if isinstance(answer, dict) else answer[:2] == [redemption_id(number), False]


# Locked


def test_locked_file_is_refused_in_time(path: str, start_process: StartProcess) -> None:
    """While another process keeps the file locked, a consume ends with an error at its timeout, and stores nothing."""
    other = start_process()
    with SQLiteReplayStore(path, timeout=0.5) as store:
        store.consume(handoff_id(NOW), **entry(1))
        other.ask("lock", path)
        began = time.monotonic()
        error = assert_refused(store, handoff_id(NOW, 1), entry(1))
        assert 0.4 < time.monotonic() - began < 0.5 + SLACK
        assert error.log_fields == {"handoff_id": handoff_id(NOW, 1)}
        assert isinstance(error.__cause__, sqlite3.OperationalError)
        with pytest.raises(ReplayStoreError):
            store.purge(NOW)
        assert stored_ids(path) == [handoff_id(NOW)]
        other.ask("unlock")
        assert store.consume(handoff_id(NOW, 1), **entry(2)).first


def test_locked_file_is_waited_for(path: str, start_process: StartProcess) -> None:
    """A consume waits for a lock that is let go within its timeout, and is then answered."""
    waiting = start_process()
    waiting.ask("open", path, False, 60)
    waiting.ask("consume", [handoff_id(NOW, 1)], redemption_id(1), NOW)
    with closing(sqlite3.connect(path, isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        waiting.say("consume_locked", [handoff_id(NOW)], redemption_id(1), NOW)
        assert waiting.hear() == "waits"
        assert stored_ids(path) == [handoff_id(NOW, 1)]
        lock.execute("ROLLBACK")
        assert waiting.hear() == [[redemption_id(1), True, NOW]]


def test_new_file_that_is_locked_is_refused_in_time(path: str, start_process: StartProcess) -> None:
    """A file that another process locks before it is a store ends in an error at the timeout, not in a hang."""
    other = start_process()
    other.ask("lock", path)
    with SQLiteReplayStore(path, timeout=0.5) as store, ThreadPoolExecutor(1) as thread:
        began = time.monotonic()
        refused = thread.submit(assert_refused, store, handoff_id(NOW), entry(1))
        try:
            refused.result(0.5 + SLACK)
        finally:
            other.ask("unlock")
        assert time.monotonic() - began > 0.4
        # SQLite's own wait may end after the caller's, so the refused consume may still have happened: one holder, known now.
        holder = store.consume(handoff_id(NOW), **entry(2)).holder
        assert holder in (redemption_id(1), redemption_id(2))
        assert store.consume(handoff_id(NOW), **entry(1)).holder == holder
        assert store.consume(handoff_id(NOW + 1), **entry(2)).first


# Files that cannot be used


@pytest.mark.parametrize(("file_mode", "folder_mode"), [(0o444, 0o777), (0o666, 0o555), (0o444, 0o555), (0o000, 0o777)])
def test_read_only_file_or_folder_is_refused(
    shared_folder: Path, start_process: StartProcess, file_mode: int, folder_mode: int
) -> None:
    """A process that may not write the file, or beside it, wins nothing; with the rights back, all is as before."""
    file = shared_folder / "replay.db"
    filled(str(file), [handoff_id(NOW)])
    file.chmod(file_mode)
    shared_folder.chmod(folder_mode)
    process = start_process()
    process.ask("become_nobody")
    process.ask("open", str(file))
    held, new = process.ask("consume", handoff_ids(2), redemption_id(2), NOW)
    assert answers_truly(held, 1)
    assert new["log_fields"] == {"handoff_id": handoff_id(NOW, 1)}
    shared_folder.chmod(0o777)
    file.chmod(0o666)
    assert stored_ids(str(file)) == [handoff_id(NOW)]
    for left_behind in shared_folder.glob("replay.db-*"):
        left_behind.chmod(0o666)
    held, new = process.ask("consume", handoff_ids(2), redemption_id(2), NOW)
    assert (held[0], new[1]) == (redemption_id(1), True)


def test_file_of_something_else_is_refused(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """A file that is no database is refused, and stays as it is."""
    content = random.Random(1).randbytes(3 * PAGE)
    Path(path).write_bytes(content)
    for number in range(3):
        error = assert_refused(sqlite_store, handoff_id(NOW), entry(number))
        assert error.log_fields == {"handoff_id": handoff_id(NOW)}
    with pytest.raises(ReplayStoreError):
        sqlite_store.purge(NOW)
    assert Path(path).read_bytes() == content


@pytest.mark.parametrize("kept", [PAGE, 10 * PAGE, 10 * PAGE + 100])
def test_truncated_file_is_refused(path: str, sqlite_store: SQLiteReplayStore, kept: int) -> None:
    """A file that was cut off gives no handoff away a second time."""
    filled(path, handoff_ids(2000))
    assert os.path.getsize(path) > 20 * PAGE
    os.truncate(path, kept)
    for handoff in [*handoff_ids(2000)[::100], handoff_id(NOW, 2000)]:
        assert_refused(sqlite_store, handoff, entry(2))


def test_damaged_pages_are_refused(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """With a damaged page in the middle of the file, no handoff that is held is given to another."""
    filled(path, handoff_ids(2000))
    with open(path, "r+b") as file:
        for page in range(10, 20):
            file.seek(page * PAGE)
            header = file.read(8)
            file.seek(page * PAGE)
            file.write(bytes(byte ^ 0xFF for byte in header))
    asked, refused = handoff_ids(2000)[::5], 0
    for handoff in asked:
        try:
            answer = sqlite_store.consume(handoff, **entry(2))
        except ReplayStoreError:
            refused += 1
        else:
            assert (answer.holder, answer.first) == (redemption_id(1), False)
    assert 20 < refused < len(asked)


def test_damage_of_every_table_is_refused(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """With all pages but the first overwritten, nothing at all is answered."""
    filled(path, handoff_ids(2000))
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(PAGE)
        file.write(b"\xff" * (size - PAGE))
    for handoff in handoff_ids(2100)[::100]:
        assert_refused(sqlite_store, handoff, entry(2))


def test_folder_as_path_is_refused(tmp_path: Path) -> None:
    """A folder is no file to keep entries in."""
    with SQLiteReplayStore(tmp_path) as store:
        assert assert_refused(store, handoff_id(NOW), entry(1)).log_fields == {"handoff_id": handoff_id(NOW)}
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_refused_until_it_is_there(tmp_path: Path) -> None:
    """A store makes its file, never its folder; once the folder is there the same store works."""
    folder = tmp_path / "not yet"
    with SQLiteReplayStore(folder / "replay.db") as store:
        assert_refused(store, handoff_id(NOW), entry(1))
        assert not folder.exists()
        folder.mkdir()
        assert store.consume(handoff_id(NOW), **entry(1)).first


@pytest.mark.parametrize("version", [99, 3, -1])
def test_tables_of_another_version_are_refused(path: str, sqlite_store: SQLiteReplayStore, version: int) -> None:
    """A file of another release's tables is refused, by name of the version, and not changed."""
    run(path, "CREATE TABLE another (release)", f"PRAGMA user_version = {version}")
    error = assert_refused(sqlite_store, handoff_id(NOW), entry(1))
    assert f"version {version};" in str(error)
    with pytest.raises(ReplayStoreError):
        sqlite_store.purge(NOW)
    assert rows(path, "SELECT name FROM sqlite_schema") == [("another",)]


def test_replaced_file_is_refused(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """When another file is put in its place, a store in use refuses for good: some would see one file, some the other."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    another = f"{path}-another"
    filled(another, [])
    os.replace(another, path)
    for number in range(2, 6):
        assert_refused(sqlite_store, handoff_id(NOW), entry(number))
        assert_refused(sqlite_store, handoff_id(NOW, number), entry(number))


def test_file_with_two_names_is_refused(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """Each name has a write-ahead log of its own. Both stores refuse until one name is gone; then one holder is known."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    second = f"{path}-second"
    os.link(path, second)
    with SQLiteReplayStore(second) as other:
        for store in (sqlite_store, other):
            assert "second name" in str(assert_refused(store, handoff_id(NOW, 1), entry(2)))
            with pytest.raises(ReplayStoreError, match="second name"):
                store.purge(NOW)
        os.unlink(second)
    assert not os.path.exists(f"{second}-wal")
    assert sqlite_store.consume(handoff_id(NOW), **entry(2)).holder == redemption_id(1)
    assert sqlite_store.consume(handoff_id(NOW, 1), **entry(2)).first


def test_removed_file_is_refused(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """When its file is removed while in use, a store refuses for good: a new, empty one would know nobody."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    os.unlink(path)
    for number in range(2, 6):
        assert_refused(sqlite_store, handoff_id(NOW), entry(number))
    with pytest.raises(ReplayStoreError):
        sqlite_store.purge(NOW)
    assert not os.path.exists(path)


def test_file_replaced_after_an_error_is_refused(path: str) -> None:
    """A file that is replaced after a consume failed, while the store has it closed, is refused as well."""
    with SQLiteReplayStore(path, timeout=0.1) as store:
        store.consume(handoff_id(NOW), **entry(1))
        with write_lock(path):
            assert_refused(store, handoff_id(NOW, 1), entry(1))
        os.rename(path, f"{path}-before")
        with SQLiteReplayStore(path) as another:
            another.purge(NOW)
            assert_refused(store, handoff_id(NOW), entry(2))
            assert_refused(store, handoff_id(NOW), entry(2))


def test_entry_that_is_neither_written_nor_found_is_refused(path: str) -> None:
    """An entry that the file swallows is not taken for consumed; the others of its batch, and later ones, are."""
    store = AsyncSQLiteReplayStore(path, timeout=20)
    swallowed, *others = handoff_ids(5)

    async def main() -> list[Consumption | BaseException]:
        async with store:
            await store.create_schema()
            swallow = f"BEFORE INSERT ON handoff_replay_log WHEN NEW.handoff_id = '{swallowed}'"
            run(path, f"CREATE TRIGGER swallow {swallow} BEGIN SELECT RAISE(IGNORE); END")
            asking = (store.consume(handoff, **entry(1)) for handoff in [swallowed, *others])
            told = await asyncio.gather(*asking, return_exceptions=True)
            run(path, "DROP TRIGGER swallow")
            assert (await store.consume(swallowed, **entry(2))).first
            return told

    refused, *answers = asyncio.run(main())
    assert isinstance(refused, ReplayStoreError) and "vanished" in str(refused)
    assert all(isinstance(answer, Consumption) and answer.first for answer in answers)
    with SQLiteReplayStore(path) as sync_store:
        assert_held(sync_store, [swallowed], 2)
        assert_held(sync_store, others, 1)


# A full disk


def test_full_file_keeps_what_was_acknowledged(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """When the file may not grow, what was acknowledged stays held, and what was refused is free once there is space."""
    sqlite_store.consume(handoff_id(NOW), **entry(1))
    connection = sqlite_store._file._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 3}")
    acknowledged = [handoff_id(NOW)]

    def consume_many() -> None:
        for handoff in handoff_ids(1000, start=1):
            sqlite_store.consume(handoff, **entry(1))
            acknowledged.append(handoff)

    with pytest.raises(ReplayStoreError, match="full") as caught:
        consume_many()
    assert 1 < len(acknowledged) < 1000
    refused = handoff_id(NOW, len(acknowledged))
    assert caught.value.log_fields == {"handoff_id": refused}
    # The limit was the connection's; the store has a new one now, and with it space again.
    assert_held(sqlite_store, acknowledged, 1)
    assert sqlite_store.consume(refused, **entry(2)).first
    assert is_sound(path)


def test_full_disk_keeps_what_was_acknowledged(path: str, start_process: StartProcess) -> None:
    """On a disk without space, what was acknowledged stays held, and who was refused gets it once there is space."""
    ids = handoff_ids(150)
    process = start_process()
    process.ask("open", path, True)
    process.ask("purge", NOW)
    process.ask("limit_files", 12 * PAGE)
    answers = process.ask("consume", ids, redemption_id(1), NOW)
    acknowledged = [handoff for handoff, answer in zip(ids, answers, strict=True) if isinstance(answer, list)]
    refused = [handoff for handoff in ids if handoff not in acknowledged]
    assert acknowledged
    assert refused
    assert "error" in process.ask("consume", [handoff_id(NOW, 900)], redemption_id(1), NOW)[0]
    replays = process.ask("consume", acknowledged, redemption_id(2), NOW)
    assert all(answers_truly(answer, 1) for answer in replays)
    process.ask("limit_files", None)
    replays = process.ask("consume", acknowledged, redemption_id(2), NOW)
    assert all(answer[:2] == [redemption_id(1), False] for answer in replays)
    retries = process.ask("consume", refused, redemption_id(1), NOW)
    assert all(answer[0] == redemption_id(1) for answer in retries)
    assert is_sound(path)
    assert stored_ids(path) == ids
    assert [row[0] for row in outbox(path)] == ids


# Crashes


@pytest.mark.parametrize("kills", [2, pytest.param(5, marks=pytest.mark.thorough)])
def test_what_was_acknowledged_survives_kill(path: str, start_process: StartProcess, kills: int) -> None:
    """Whenever a process is killed, every handoff that it was told is its own stays its own, outbox entry included."""
    chance = random.Random(7)
    acknowledged: dict[int, list[str]] = {}
    for number in range(1, kills + 1):
        process = start_process()
        process.ask("open", path, True)
        process.say("acknowledge", handoff_ids(20_000, start=number * 100_000), redemption_id(number), NOW)
        heard = [process.hear() for _ in range(chance.randint(1, 100))]
        acknowledged[number] = [*heard, *process.kill()]
        assert acknowledged[number][-1] != "all"
    holders = dict(rows(path, "SELECT handoff_id, redemption_id FROM handoff_replay_log"))
    with SQLiteReplayStore(path) as store:
        for number, ids in acknowledged.items():
            assert {holders.get(handoff) for handoff in ids} == {redemption_id(number)}
            assert_held(store, [*ids[::50], ids[-1]], number)
    assert rows(path, "SELECT * FROM handoff_replay_log ORDER BY handoff_id") == outbox(path)
    assert is_sound(path)


def test_purge_that_is_killed_forgets_nothing_it_should_know(path: str, start_process: StartProcess) -> None:
    """Killed in the middle of a purge: what is left is held as before, what is gone is refused, and a purge goes on."""
    old = handoff_ids(2_000, seconds=NOW - HORIZON - 1)
    filled(path, [*old, handoff_id(NOW)])
    # After two chunks of 500 the disk is so slow that the next would take a minute.
    work = "WITH RECURSIVE n(x) AS (VALUES (0) UNION ALL SELECT x + 1 FROM n WHERE x < 500000) SELECT max(x) FROM n"
    slow = f"CREATE TRIGGER slow AFTER DELETE ON handoff_replay_log WHEN OLD.handoff_id >= '{old[1000]}'"
    run(path, f"{slow} BEGIN {work}; END")
    process = start_process()
    process.ask("open", path)
    process.say("purge", NOW)
    with closing(sqlite3.connect(path)) as watching:
        oldest = "SELECT min(handoff_id) FROM handoff_replay_log"
        wait_until(lambda: watching.execute(oldest).fetchone() >= (old[1000],), "for two chunks")
    process.kill()
    run(path, "DROP TRIGGER slow")
    left = stored_ids(path)
    gone = sorted(set(old) - set(left))
    assert left[-1] == handoff_id(NOW)
    assert gone == old[:1000], "the kill came too late"
    assert purged_before(path) == NOW - HORIZON
    assert is_sound(path)
    with SQLiteReplayStore(path) as store:
        for handoff in gone[::50]:
            assert_refused(store, handoff, entry(2))
        assert_held(store, left[::50], 1)
        assert store.purge(NOW) == len(left) - 1
        assert_refused(store, old[-1], entry(1))
        assert_held(store, [handoff_id(NOW)], 1)


def test_store_left_open_lets_its_process_end(path: str, start_process: StartProcess) -> None:
    """A program that never closes its asynchronous store ends all the same, and its entry is there."""
    process = start_process()
    process.ask("leave_open", path, handoff_id(NOW), redemption_id(1), NOW)
    assert process.wait() == 0
    with SQLiteReplayStore(path) as store:
        assert_held(store, [handoff_id(NOW)], 1)


# Forks


def test_child_of_a_fork_has_its_own_connection(path: str, start_process: StartProcess) -> None:
    """After a fork parent and child go on with the same store object, and still each handoff goes to one of them."""
    ids = handoff_ids(50)
    process = start_process()
    process.ask("open", path)
    process.ask("consume", [handoff_id(NOW, 99)], redemption_id(1), NOW)
    answers = process.ask("fork_and_consume", [*ids, handoff_id(NOW, 99)], redemption_id(1), redemption_id(2), NOW)
    assert not [answer for told in answers for answer in told if "error" in answer]
    for told in zip(*(answer[:-1] for answer in answers), strict=True):
        assert sorted(first for _, first, _ in told) == [False, True]
        assert len({holder for holder, _, _ in told}) == 1
    assert [answer[-1] for answer in answers] == [[redemption_id(1), False, NOW]] * 2
    assert stored_ids(path) == [*ids, handoff_id(NOW, 99)]


def test_fork_while_a_thread_waits_in_the_store(path: str, start_process: StartProcess) -> None:
    """A child forked while another thread holds the store's lock is not locked out by it, and neither is the parent."""
    process, other = start_process(), start_process()
    process.ask("open", path, False, 60)
    process.ask("consume", [handoff_id(NOW)], redemption_id(1), NOW)
    other.ask("lock", path)
    assert (
        process.ask("fork_while_waiting", handoff_ids(2, start=1), redemption_id(1), redemption_id(2), NOW) == "waiting"
    )
    other.ask("unlock")
    for childs, parents in zip(*process.hear(), strict=True):
        assert "error" not in [*childs, *parents]
        assert childs[0] == parents[0]
        assert sorted([childs[1], parents[1]]) == [False, True]


def test_parent_that_closes_leaves_its_child_the_file(path: str, start_process: StartProcess) -> None:
    """A parent closes its store while its forked child goes on; what the child redeems stays the child's."""
    process = start_process()
    process.ask("open", path)
    process.ask("consume", [handoff_id(NOW, 99)], redemption_id(1), NOW)
    process.ask("fork_and_close", handoff_ids(20), redemption_id(2), NOW)
    with SQLiteReplayStore(path) as later:
        assert_held(later, handoff_ids(20), 2)
    assert is_sound(path)

"""A line of JSON -> one call of `Session` -> a line of JSON. A program: run in a process of its own by processes.py.

It imports nothing of the tests, so that it starts anywhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ghasi_handoff import ReplayStoreError
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore

SCOPE = "bff-consumer\nbff-tenant-booking"


class Session:
    """What a process can be asked for. Each method is one request; what it returns is the answer."""

    def __init__(self) -> None:
        self._store = SQLiteReplayStore("not opened")
        self._locks: list[sqlite3.Connection] = []
        self._groups = os.getgroups()

    def reset(self) -> str:
        """Be as at the beginning, for the next test."""
        self._store.close()
        while self._locks:
            self.unlock()
        self.limit_files(None)
        if os.getresuid()[2] == 0:
            os.setresuid(0, 0, 0)
            os.setresgid(0, 0, 0)
            os.setgroups(self._groups)
        self._store = SQLiteReplayStore("not opened")
        return "as at the beginning"

    def open(self, path: str, outbox: bool = False, timeout: float = 10) -> None:
        """Make a store. Like every store it does nothing before its first use."""
        self._store = SQLiteReplayStore(path, outbox, timeout=timeout)

    def consume(self, ids: list[str], redemption_id: str, at: int, start: float = 0) -> list[Any]:
        """Consume each of `ids`, from the moment `start` on. An answer each, or the error."""
        time.sleep(max(0.0, start - time.monotonic()))
        answers: list[Any] = []
        for handoff_id in ids:
            try:
                answer = consume(self._store, handoff_id, redemption_id, at)
            except ReplayStoreError as exc:
                answers.append({"error": str(exc), "log_fields": exc.log_fields})
            else:
                answers.append([answer.holder, answer.first, answer.consumed_at])
        return answers

    def consume_locked(self, ids: list[str], redemption_id: str, at: int) -> list[Any]:
        """As `consume`, in a file that another process has locked. Writes a line once the first has met the lock.

        The store's file must have been used before.
        """
        tell_of_lock(self._store, lambda: answer("waits"))
        return self.consume(ids, redemption_id, at)

    def acknowledge(self, ids: list[str], redemption_id: str, at: int) -> str:
        """Consume each of `ids` and write a line for each that was acknowledged, the moment it was."""
        for handoff_id in ids:
            consume(self._store, handoff_id, redemption_id, at)
            answer(handoff_id)
        return "all"

    def purge(self, now: int) -> int | str:
        """Purge; the number of entries removed, or the error."""
        try:
            return self._store.purge(now)
        except ReplayStoreError as exc:
            return str(exc)

    def lock(self, path: str) -> None:
        """Hold the file's write lock. A file that is no store's yet is locked for readers as well."""
        self._locks.append(sqlite3.connect(path, isolation_level=None))
        self._locks[-1].execute("BEGIN EXCLUSIVE")

    def unlock(self) -> None:
        """Let the lock go."""
        self._locks.pop().close()

    def become_nobody(self) -> None:
        """Lose the rights of root, for whom the permission bits of files mean nothing; `reset` has them back."""
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 0)
            os.setresuid(65534, 65534, 0)

    def limit_files(self, size: int | None) -> None:
        """Let no file grow beyond `size` bytes: a disk that is full. None: space is back."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))

    def fork_and_consume(self, ids: list[str], parents_id: str, childs_id: str, at: int) -> list[Any]:
        """Fork, then consume `ids` in parent and child at once. What the child was answered, and what the parent was."""
        start = time.monotonic() + 0.05
        child = in_a_child(lambda: self.consume(ids, childs_id, at, start))
        parents = self.consume(ids, parents_id, at, start)
        return [child(), parents]

    def fork_while_waiting(self, ids: list[str], parents_id: str, childs_id: str, at: int) -> list[Any]:
        """As `fork_and_consume`, but another thread is inside the store at the fork, waiting for a locked file.

        Writes a line just before it forks. The store's file must have been used before.
        """
        parents: list[Any] = []
        met = threading.Event()
        tell_of_lock(self._store, met.set)
        waiting = threading.Thread(target=lambda: parents.extend(self.consume(ids, parents_id, at)))
        waiting.start()
        met.wait()
        answer("waiting")
        child = in_a_child(lambda: self.consume(ids, childs_id, at))
        waiting.join()
        return [child(), parents]

    def fork_and_close(self, ids: list[str], childs_id: str, at: int) -> Any:
        """Fork; the child consumes half of `ids`, the parent once more and closes, then the child goes on."""
        half_done, closed = os.pipe(), os.pipe()

        def work() -> Any:
            self.consume(ids[: len(ids) // 2], childs_id, at)
            os.write(half_done[1], b"x")
            os.read(closed[0], 1)
            return self.consume(ids[len(ids) // 2 :], childs_id, at)

        child = in_a_child(work)
        os.read(half_done[0], 1)
        self._store.close()
        os.write(closed[1], b"x")
        return child()

    def leave_open(self, path: str, handoff_id: str, redemption_id: str, at: int) -> None:
        """Consume once through an asynchronous store that nobody closes."""
        asyncio.run(consume(AsyncSQLiteReplayStore(path), handoff_id, redemption_id, at))


def consume(store: Any, handoff_id: str, redemption_id: str, at: int) -> Any:
    """One consume, of an entry that is kept for 440 s."""
    return store.consume(handoff_id, scope=SCOPE, redemption_id=redemption_id, consumed_at=at, retain_until=at + 440)


def tell_of_lock(store: SQLiteReplayStore | AsyncSQLiteReplayStore, tell: Callable[[], object]) -> None:
    """Have it told, once, that the store asks for its file's write lock. It asks again and again while it has to wait."""
    connection = store._file._connection
    assert connection is not None
    told: list[object] = []

    def trace(statement: str) -> None:
        if statement.startswith("BEGIN IMMEDIATE") and not told:
            told.append(tell())

    connection.set_trace_callback(trace)


def in_a_child(work: Callable[[], Any]) -> Callable[[], Any]:
    """Start `work` in a forked process. The function returned waits for it and gives its result."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writing, json.dumps(work()).encode("utf-8"))
            status = 0
        finally:
            os._exit(status)
    os.close(writing)

    def result() -> Any:
        with open(reading, "rb") as pipe:
            written = pipe.read()
        _, status = os.waitpid(child, 0)
        return json.loads(written) if status == 0 else {"error": f"the child ended with status {status}"}

    return result


def answer(value: object) -> None:
    """Write one line, at once."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answer until there is nothing more to answer."""
    session = Session()
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        answer(getattr(session, what)(*arguments))


if __name__ == "__main__":
    main()

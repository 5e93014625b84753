"""An SQLite store's file, seen from outside: filled, read and spoilt without the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable
from contextlib import closing, contextmanager
from typing import Any

from .entries import NOW, SCOPE, redemption_id


def rows(path: str, statement: str) -> list[tuple[Any, ...]]:
    """What a query of the file finds."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def run(path: str, *statements: str) -> None:
    """Change the file, in one transaction."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def fill(path: str, ids: Iterable[str], *, number: int = 1, scope: str = SCOPE) -> None:
    """Store entries of the browser `number`, all at once. The file has its tables already."""
    entries = ((handoff, scope, redemption_id(number), NOW) for handoff in ids)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("INSERT INTO handoff_replay_log VALUES (?, ?, ?, ?)", entries)


def stored_ids(path: str) -> list[str]:
    """The ids in the log, in their order."""
    return [handoff for (handoff,) in rows(path, "SELECT handoff_id FROM handoff_replay_log ORDER BY handoff_id")]


def purged_before(path: str) -> int:
    """The mark: ids from before this second are refused."""
    ((mark,),) = rows(path, "SELECT purged_before FROM handoff_replay_mark")
    return int(mark)


def refusals(path: str) -> list[tuple[Any, ...]]:
    """The recorded replays."""
    return rows(path, "SELECT handoff_id, scope, redemption_id, refused_at FROM handoff_replay_refused")


def outbox(path: str) -> list[tuple[Any, ...]]:
    """The outbox."""
    return rows(path, "SELECT handoff_id, scope, redemption_id, consumed_at FROM handoff_outbox ORDER BY handoff_id")


def is_sound(path: str) -> bool:
    """Whether SQLite finds nothing wrong with the file."""
    return rows(path, "PRAGMA integrity_check") == [("ok",)]


@contextmanager
def write_lock(path: str) -> Generator[sqlite3.Connection]:
    """Hold the file's write lock from a second connection."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("ROLLBACK")

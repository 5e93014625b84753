"""path -> one open connection: write-ahead mode, synchronous, with the schema of this release; and its transactions.

Deadlines are those of `time.monotonic`.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Final

from ghasi_handoff.stores._opening import Owner

FULL: Final = 2  # of PRAGMA synchronous


def schema_scripts(name: str) -> list[str]:
    """The scripts of a schema file. The one at position n brings a file of schema version n to n + 1."""
    text = (files("ghasi_handoff.stores.sqlite") / name).read_text("utf-8")
    return re.split(r"^-- Version \d+\n", text, flags=re.MULTILINE)[1:]


def connect(path: str, schema: Sequence[str], deadline: float, owner: Owner) -> sqlite3.Connection:
    """A connection that threads may take in turn, to a file that is made if it is not there."""
    while True:
        connection = sqlite3.connect(
            path, timeout=milliseconds_left(deadline) / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, schema, owner)
        except sqlite3.OperationalError as exc:
            connection.close()
            # Two processes that turn a new file to write-ahead mode at once: one is told "busy" without any waiting.
            if not _may_retry(exc, deadline):
                raise
            time.sleep(0.005)
        except BaseException:
            connection.close()
            raise
        else:
            return connection


def _prepare(connection: sqlite3.Connection, schema: Sequence[str], owner: Owner) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise owner.error(f"SQLite: the file cannot be put in write-ahead mode (it stays in {mode})")
    # FULL: under NORMAL, a commit that was answered may be gone after a power failure, and the handoff could be
    # replayed.
    connection.execute("PRAGMA synchronous = FULL")
    if 0 <= schema_version(connection) < len(schema):
        connection.execute("BEGIN IMMEDIATE")
        version = schema_version(connection)  # asked again under the lock: another process may have done it meanwhile
        if 0 <= version < len(schema):
            for script in schema[version:]:
                for statement in script.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(schema)}")
        connection.execute("COMMIT")
    version = schema_version(connection)
    if version != len(schema):
        raise owner.wrong_version("SQLite", version, len(schema))


@contextmanager
def transaction(connection: sqlite3.Connection, deadline: float) -> Generator[None]:
    """A write transaction, committed at the end. After an error it stays open, and the session undoes it."""
    # Asked for every millisecond: SQLite itself sleeps ever longer, and misses its turn.
    connection.execute("PRAGMA busy_timeout = 1")
    while True:
        try:
            # IMMEDIATE: a transaction that begins by reading can't wait for the write lock, it fails at once.
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            if not _may_retry(exc, deadline):
                raise
        else:
            break
    yield
    connection.execute("COMMIT")


def schema_version(connection: sqlite3.Connection) -> int:
    """The schema version of the file; 0 if it is new."""
    return one_integer(connection, "PRAGMA user_version")


def one_integer(connection: sqlite3.Connection, query: str) -> int:
    """The only value of the only row."""
    (value,) = connection.execute(query).fetchone()
    return int(value)


def milliseconds_left(deadline: float) -> int:
    """Until `deadline`, by `time.monotonic`; 0 if it has passed."""
    return max(0, int((deadline - time.monotonic()) * 1000))


def _may_retry(exc: sqlite3.OperationalError, deadline: float) -> bool:
    return exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY and time.monotonic() < deadline

"""What a pool needs around it: no use after a fork, an end to every wait, and errors without secrets."""

from __future__ import annotations

import gc
import os
import socket
import threading
import weakref
from typing import Any, Final, TypeAlias

import psycopg
import psycopg_pool
from psycopg import AsyncConnection, Connection

from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.stores._opening import Owner

DRIVER_ERRORS: Final = (psycopg.Error, psycopg_pool.PoolClosed, OSError)
Pool: TypeAlias = "psycopg_pool.ConnectionPool[Any] | psycopg_pool.AsyncConnectionPool[Any]"
_POOLS: Final = (psycopg_pool.ConnectionPool, psycopg_pool.AsyncConnectionPool)
# Those that stores have. The garbage collector does not list what `gc.freeze` has set aside, as some servers do before
# they fork.
_of_stores: Final[weakref.WeakSet[Pool]] = weakref.WeakSet()
_open_at_fork: Final[weakref.WeakSet[Pool]] = weakref.WeakSet()


def know(pool: Pool) -> None:
    """From now on it is noticed whether a pool is open at a fork, whenever it is opened."""
    _of_stores.add(pool)


def was_open_at_fork(pool: Pool) -> bool:
    """Whether this process has the pool from its parent: each would read answers to the other's statements."""
    return pool in _open_at_fork


def _after_fork_in_child() -> None:
    # Also the pools that no store has yet: one may be made over an inherited pool in the child. By type(), since an
    # object that stands for another, as lazy ones do, may do anything when it is asked for its class.
    listed = (found for found in gc.get_objects() if issubclass(type(found), _POOLS))
    for pool in (*_of_stores, *listed):
        if not pool.closed:
            _open_at_fork.add(pool)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class LostConnectionError(Exception):
    """The connection was lost: what became of the statement is unknown, and another connection may know."""

    def __init__(self, error: ReplayStoreError) -> None:
        super().__init__(str(error))
        self.error = error


class InUse:
    """The connection that a batch uses now, and how to end its wait for a server that does not answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection[Any] | AsyncConnection[Any] | None = None

    def begin(self, connection: Connection[Any] | AsyncConnection[Any]) -> None:
        with self._lock:
            self._connection = connection

    def end(self) -> None:
        with self._lock:
            self._connection = None

    def cut(self) -> None:
        """Shut the socket down: whoever waits on it is told at once that the connection is lost."""
        with self._lock:  # held, so that a connection that went back to the pool is never hit
            connection = self._connection
            if connection is None:
                return
            try:
                with socket.socket(fileno=os.dup(connection.fileno())) as copy:
                    copy.shutdown(socket.SHUT_RDWR)
            except (psycopg.Error, OSError):
                return  # the other side was quicker: it is lost already


def translated(exc: Exception, owner: Owner, *, lost: bool) -> ReplayStoreError | LostConnectionError:
    """The driver's error as the owner's, without what a message could carry of a connection string."""
    state = getattr(exc, "sqlstate", None)
    primary = exc.diag.message_primary if isinstance(exc, psycopg.Error) else None
    text = "PostgreSQL: " + ": ".join(part for part in (type(exc).__name__, state, primary) if part)
    if isinstance(exc, psycopg.errors.UndefinedFunction | psycopg.errors.UndefinedTable):
        text += f"; run create_schema(), `{owner.made_by}`, or the migration"
    elif isinstance(exc, psycopg_pool.PoolTimeout):
        text += ": no connection within the timeout: the server is not to be reached, or others hold the whole pool"
    error = owner.error(text)
    error.__cause__ = exc
    return LostConnectionError(error) if lost else error

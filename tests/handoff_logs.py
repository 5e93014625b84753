"""A handoff log on either product, for the tests of the log and of the handshake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from ghasi_handoff.handshake import PostgresHandoffLog, SQLiteHandoffLog

# The seconds that a log may take, where it does not matter how many.
UNHURRIED = 30.0


def emptied_pool(product: str, request: pytest.FixtureRequest, empty: str) -> ConnectionPool[Any] | None:
    """The fixture ``shared_pool``, after the statements of `empty` have run; None for a product without a pool."""
    if product == "sqlite":
        return None
    shared: ConnectionPool[Any] = request.getfixturevalue("shared_pool")
    with shared.connection() as connection:
        connection.execute(empty.encode())
    return shared


def made_log(
    folder: Path, pool: ConnectionPool[Any] | None, clock: Callable[[], float]
) -> SQLiteHandoffLog | PostgresHandoffLog:
    """A log in the folder, with its file made; or over the pool, whose database has the tables."""
    if pool is not None:
        return PostgresHandoffLog(pool, clock=clock, timeout=UNHURRIED)
    log = SQLiteHandoffLog(folder / "log.db", clock=clock, timeout=UNHURRIED)
    log.create_schema()
    return log

"""A command runner for each test, and logging as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from ghasi_handoff.handshake import PostgresHandoffLog, SQLiteHandoffLog
from ghasi_handoff.stores.postgres import PostgresReplayStore
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from .command_runner import CommandRunner, run_here
from .two_services import TwoServices


@pytest.fixture
def runner(tmp_path: Path) -> CommandRunner:
    """A folder with a key file, and a clock that stands at `NOW`."""
    return CommandRunner(tmp_path)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command owns its process, and sets what other libraries log; here other tests come after it."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield
    root.handlers[:] = handlers


@pytest.fixture(params=["sqlite", "postgresql"])
def services(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TwoServices]:
    """On each product."""
    with ExitStack() as stack:
        log: Any
        store: Any
        if request.param == "sqlite":
            log_url, store_url = f"sqlite:///{tmp_path}/log.db", f"sqlite:///{tmp_path}/replay.db"
            log, store = SQLiteHandoffLog(tmp_path / "log.db"), SQLiteReplayStore(tmp_path / "replay.db", outbox=True)
        else:
            log_url = store_url = request.getfixturevalue("postgres_url")
            pool = stack.enter_context(ConnectionPool(log_url, min_size=1, max_size=4, open=True))
            log, store = PostgresHandoffLog(pool), PostgresReplayStore(pool, outbox=True)
        with log, store:
            assert run_here("handoff", "init", "--log-url", log_url).stdout == "ready\n"
            store.create_schema()
            yield TwoServices(log_url, store_url, log, store, tmp_path)

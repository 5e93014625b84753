"""URL -> an open replay store or handoff log. The driver is imported only here, and only when it is needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from ghasi_handoff.errors import ConfigurationError, ReplayStoreError
from ghasi_handoff.handshake._urls import product_of, sqlite_path

if TYPE_CHECKING:
    from psycopg_pool import ConnectionPool

    from ghasi_handoff.cli._output import Clock
    from ghasi_handoff.handshake import PostgresHandoffLog, SQLiteHandoffLog
    from ghasi_handoff.stores.postgres import PostgresReplayStore
    from ghasi_handoff.stores.redis import RedisReplayStore
    from ghasi_handoff.stores.sqlite import SQLiteReplayStore

    Store: TypeAlias = "SQLiteReplayStore | PostgresReplayStore | RedisReplayStore"
    Log: TypeAlias = "SQLiteHandoffLog | PostgresHandoffLog"

STORE_VARIABLE: Final = "GHASI_HANDOFF_STORE_URL"
LOG_VARIABLE: Final = "GHASI_HANDOFF_LOG_URL"

timeout: Final = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 60),
    default=10.0,
    show_default=True,
    help="How long the store may take to answer.",
)


@contextmanager
def opened_store(
    url: str | None, clock: Clock, timeout: float, *, outbox: bool = False, new: bool = False
) -> Generator[tuple[str, Any]]:
    """The product and its replay store. Only a `new` one may be made by being opened.

    Raises:
        ReplayStoreError: There is no such file.
        ConfigurationError: No URL, an unknown one, or a driver that is not installed.
    """
    given = url or _from_environment(STORE_VARIABLE, "store")
    product, rest = product_of(given, ("sqlite", "postgresql", "redis"), "store")
    if outbox and product == "redis":
        raise ConfigurationError("a Redis store has no outbox")
    with ExitStack() as stack:
        store: Store
        if product == "sqlite":
            from ghasi_handoff.stores.sqlite import SQLiteReplayStore

            store = SQLiteReplayStore(_path(rest, "store", new=new), outbox, timeout=timeout, clock=clock)
        elif product == "postgresql":
            from ghasi_handoff.stores.postgres import PostgresReplayStore

            store = PostgresReplayStore(_pool(given, timeout, stack), outbox, timeout=timeout, clock=clock)
        else:
            store = _redis(given, clock, timeout, stack)
        yield product, stack.enter_context(store)


@contextmanager
def opened_log(url: str | None, clock: Clock, timeout: float, *, new: bool = False) -> Generator[tuple[str, Any]]:
    """The product and its handoff log. Only a `new` one may be made by being opened.

    Raises:
        ReplayStoreError: There is no such file.
        ConfigurationError: No URL, an unknown one, or a driver that is not installed.
    """
    given = url or _from_environment(LOG_VARIABLE, "log")
    product, rest = product_of(given, ("sqlite", "postgresql"), "log")
    with ExitStack() as stack:
        log: Log
        if product == "sqlite":
            from ghasi_handoff.handshake import SQLiteHandoffLog

            log = SQLiteHandoffLog(_path(rest, "handoff", new=new), timeout=timeout, clock=clock)
        else:
            from ghasi_handoff.handshake import PostgresHandoffLog

            log = PostgresHandoffLog(_pool(given, timeout, stack), timeout=timeout, clock=clock)
        yield product, stack.enter_context(log)


def _from_environment(variable: str, what: str) -> str:
    given = os.environ.get(variable, "")
    if not given:
        raise ConfigurationError(f"name the {what} by its URL, or put that in {variable}")
    return given


def _path(rest: str, group: str, *, new: bool) -> str:
    path = sqlite_path(rest)
    # A mistyped path must not become an empty database, which a cron job then maintains every night.
    if not new and not os.path.exists(path):
        raise ReplayStoreError(f"SQLite: there is no such file; `ghasi-handoff {group} init` or the first use makes it")
    return path


def _pool(url: str, timeout: float, stack: ExitStack) -> ConnectionPool[Any]:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
    from psycopg_pool import ConnectionPool

    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # it would report each try to connect; we report one
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ConfigurationError("this is no PostgreSQL URL") from None
    pool: ConnectionPool[Any] = ConnectionPool(
        url, min_size=1, max_size=2, timeout=timeout, kwargs={"connect_timeout": max(2, int(timeout))}, open=False
    )
    stack.callback(pool.close, timeout=1)
    pool.open()
    return pool


def _redis(url: str, clock: Clock, timeout: float, stack: ExitStack) -> RedisReplayStore:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from ghasi_handoff.stores.redis import RedisReplayStore

    try:
        client = redis.Redis.from_url(
            url, socket_timeout=timeout / 2, socket_connect_timeout=timeout / 2, retry=Retry(NoBackoff(), 0)
        )
    except ValueError:
        raise ConfigurationError("this is no Redis URL") from None
    stack.callback(client.close)
    return RedisReplayStore(client, timeout=timeout, clock=clock)

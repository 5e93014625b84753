"""URL -> an open replay store or handoff log. The driver is imported only here, and only when it is needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote

import click

from ghasi_handoff.errors import ConfigurationError, ReplayStoreError

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

_EXTRAS: Final = {"postgresql": "postgres", "redis": "redis", "client": "client"}
_DRIVERS: Final = {"postgresql": "psycopg_pool", "redis": "redis", "client": "httpx2"}
_PRODUCTS: Final = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
}

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
    product, rest = _product(given, _PRODUCTS, "store")
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
    product, rest = _product(given, {name: kind for name, kind in _PRODUCTS.items() if kind != "redis"}, "log")
    with ExitStack() as stack:
        log: Log
        if product == "sqlite":
            from ghasi_handoff.handshake import SQLiteHandoffLog

            log = SQLiteHandoffLog(_path(rest, "handoff", new=new), timeout=timeout, clock=clock)
        else:
            from ghasi_handoff.handshake import PostgresHandoffLog

            log = PostgresHandoffLog(_pool(given, timeout, stack), timeout=timeout, clock=clock)
        yield product, stack.enter_context(log)


def require_extra(product: str) -> None:
    """Say what to install, where a driver is missing.

    Raises:
        ConfigurationError: It is missing.
    """
    driver = _DRIVERS.get(product)
    if driver is not None and find_spec(driver) is None:
        name = "calling bff-consumer" if product == "client" else product
        raise ConfigurationError(f"{name} needs a driver: install ghasi-handoff[{_EXTRAS[product]}]")


def _from_environment(variable: str, what: str) -> str:
    given = os.environ.get(variable, "")
    if not given:
        raise ConfigurationError(f"name the {what} by its URL, or put that in {variable}")
    return given


def _product(url: str, known: dict[str, str], what: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    product = known.get(scheme)
    if product is None or not rest:
        names = ", ".join(f"{name}://" for name in known)
        raise ConfigurationError(f"the {what}'s URL must begin with one of {names}")
    require_extra(product)
    return product, rest


def _path(rest: str, group: str, *, new: bool) -> str:
    if not rest.startswith("/") or len(rest) == 1:
        raise ConfigurationError("an SQLite URL is sqlite:///file, or sqlite:////folder/file for a whole path")
    path = unquote(rest[1:])
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

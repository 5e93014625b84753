"""The group ``store``: replay stores, made, examined, counted and purged by whoever runs them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote

import click

from ghasi_handoff._encoding import from_seconds
from ghasi_handoff._verify import DEFAULT_LEEWAY
from ghasi_handoff.cli._output import REFUSED, Answer, answers, iso, printable, table
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.keys import MAX_LEEWAY_SECONDS

if TYPE_CHECKING:
    from ghasi_handoff.cli._output import Clock
    from ghasi_handoff.replay import StoreReport
    from ghasi_handoff.stores.postgres import PostgresReplayStore
    from ghasi_handoff.stores.redis import RedisReplayStore
    from ghasi_handoff.stores.sqlite import SQLiteReplayStore

    _Store: TypeAlias = "SQLiteReplayStore | PostgresReplayStore | RedisReplayStore"

_EXTRAS: Final = {"postgresql": "postgres", "redis": "redis"}
_PRODUCTS: Final = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
}

_url: Final = click.argument("url", metavar="[URL]", required=False, default=None)
_timeout: Final = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 60),
    default=10.0,
    show_default=True,
    help="How long the store may take to answer.",
)


@click.group(short_help="Make, check, count and maintain a replay store.")
def store() -> None:
    r"""Make, check, count and maintain a replay store.

    \b
    URL is one of
      sqlite:///replay.db            a file, from the current folder
      sqlite:////var/lib/replay.db   a file, by its whole path
      postgresql://user@host/db      the tables in a database
      redis://host:6379/0            a server (rediss:// with TLS, unix:// by path)

    Without it, GHASI_HANDOFF_STORE_URL must hold it: a password belongs there, not on a command line.
    """


@store.command()
@_url
@click.option("--sql", is_flag=True, help="PostgreSQL: print the migration as plain SQL, and connect to nothing.")
@_timeout
@answers
def init(clock: Clock, *, url: str | None, sql: bool, timeout: float) -> Answer:
    """Make the file or the tables, where they are not there yet. Safe to repeat."""
    if sql:
        _require_extra("postgresql")
        from ghasi_handoff.stores.postgres import SCHEMA

        return Answer(facts={"sql": SCHEMA}, text=SCHEMA.rstrip("\n"))
    with _opened(url, clock, timeout) as (product, opened):
        if product != "redis":
            opened.create_schema()
        made = "nothing to make: keys are made by the redemptions" if product == "redis" else "ready"
        report = opened.check()
    return _reported(report, {"store": made})


@store.command()
@_url
@click.option(
    "--leeway",
    metavar="SECONDS",
    type=click.IntRange(0, MAX_LEEWAY_SECONDS),
    default=int(DEFAULT_LEEWAY.total_seconds()),
    show_default=True,
    help="How far the store's clock may be from this machine's.",
)
@_timeout
@answers
def check(clock: Clock, *, url: str | None, leeway: int, timeout: float) -> Answer:
    """Ask the live store for everything that could break its promises. Exit code 1 if anything could.

    Run it where the service runs, after each change of the server, and from monitoring.
    """
    with _opened(url, clock, timeout) as (_, opened):
        report = opened.check(leeway=timedelta(seconds=leeway))
    return _reported(report, {})


@store.command()
@_url
@_timeout
@answers
def stats(clock: Clock, *, url: str | None, timeout: float) -> Answer:
    """Count what the store holds."""
    with _opened(url, clock, timeout) as (_, opened):
        found = opened.stats()
    moments = ("oldest_at", "newest_at", "purged_before")
    facts = {name: value for name, value in asdict(found).items() if value is not None}
    rows = [
        (name.replace("_", " "), iso(from_seconds(value)) if name in moments else f"{value:,}")
        for name, value in facts.items()
        if not (name == "purged_before" and value == 0)
    ]
    return Answer(facts=facts, text=table(rows))


@store.command()
@_url
@click.option("--quiet", is_flag=True, help="Print nothing when all went well, as a cron job should.")
@_timeout
@answers
def maintain(clock: Clock, *, url: str | None, quiet: bool, timeout: float) -> Answer:
    """Remove entries that no token can need any more. For a cron job: hourly is enough.

    Safe to repeat, to interrupt, and to run twice at once. The service goes on meanwhile. In Redis entries expire by
    themselves, and there is nothing to do.
    """
    with _opened(url, clock, timeout) as (product, opened):
        progress = None if quiet else _show_progress
        removed = opened.purge() if product == "redis" else opened.purge(progress=progress)
    return Answer(facts={"removed": removed}, text=b"" if quiet else f"removed {removed:,} entries")


def _show_progress(removed: int) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        click.echo(f"\rremoved {removed:,} ...", nl=False, err=True)


def _reported(report: StoreReport, facts: dict[str, str]) -> Answer:
    lines = [table([("server", report.server), *facts.items(), *report.settings.items()])]
    for hazard in report.hazards:
        name = click.style(hazard.code, fg="red", bold=True)
        lines.append(f"\n{name}: {printable(hazard.text)}\n  {printable(hazard.remedy)}")
    if report.ok:
        lines.append("\nno hazards")
    return Answer(
        facts={
            "ok": report.ok,
            "server": report.server,
            **facts,
            "settings": report.settings,
            "hazards": [asdict(hazard) for hazard in report.hazards],
        },
        text="\n".join(lines),
        status=0 if report.ok else REFUSED,
    )


@contextmanager
def _opened(url: str | None, clock: Clock, timeout: float) -> Generator[tuple[str, Any]]:
    """The product and its store. The driver is imported only here."""
    given = url or _from_environment()
    scheme, _, rest = given.partition("://")
    product = _PRODUCTS.get(scheme)
    if product is None or not rest:
        known = ", ".join(f"{name}://" for name in _PRODUCTS)
        raise ConfigurationError(f"the store's URL must begin with one of {known}")
    _require_extra(product)
    with ExitStack() as stack:
        opened: _Store
        if product == "sqlite":
            opened = _sqlite(rest, clock, timeout)
        elif product == "postgresql":
            opened = _postgres(given, clock, timeout, stack)
        else:
            opened = _redis(given, clock, timeout, stack)
        yield product, stack.enter_context(opened)


def _from_environment() -> str:
    given = os.environ.get("GHASI_HANDOFF_STORE_URL", "")
    if not given:
        raise ConfigurationError("name the store by its URL, or put that in GHASI_HANDOFF_STORE_URL")
    return given


def _require_extra(product: str) -> None:
    extra = _EXTRAS.get(product)
    driver = {"postgres": "psycopg_pool", "redis": "redis"}.get(extra or "")
    if driver is not None and find_spec(driver) is None:
        raise ConfigurationError(f"{product} needs a driver: install ghasi-handoff[{extra}]")


def _sqlite(rest: str, clock: Clock, timeout: float) -> SQLiteReplayStore:
    from ghasi_handoff.stores.sqlite import SQLiteReplayStore

    if not rest.startswith("/") or len(rest) == 1:
        raise ConfigurationError("an SQLite URL is sqlite:///file, or sqlite:////folder/file for a whole path")
    return SQLiteReplayStore(unquote(rest[1:]), timeout=timeout, clock=clock)


def _postgres(url: str, clock: Clock, timeout: float, stack: ExitStack) -> PostgresReplayStore:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
    from psycopg_pool import ConnectionPool

    from ghasi_handoff.stores.postgres import PostgresReplayStore

    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # it would report each try to connect; we report one
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ConfigurationError("this is no PostgreSQL URL") from None
    pool = ConnectionPool(
        url, min_size=1, max_size=2, timeout=timeout, kwargs={"connect_timeout": max(2, int(timeout))}, open=False
    )
    stack.callback(pool.close, timeout=1)
    pool.open()
    return PostgresReplayStore(pool, timeout=timeout, clock=clock)


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

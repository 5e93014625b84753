"""The application's redis-py client: what it must be, what its errors become, and how long its servers are trusted."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import redis
import redis.cluster
from redis import exceptions

from ghasi_handoff._limits import REDIS_TRUSTED_SECONDS
from ghasi_handoff.errors import ConfigurationError, ReplayStoreError

Failures: TypeAlias = tuple[type[Exception], ...]
# RedisClusterException is no RedisError. asyncio's TimeoutError is an OSError.
FAILURES: Final[Failures] = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
# What redis-py raises when a connection was opened in an event loop that has ended.
ASYNC_FAILURES: Final[Failures] = (*FAILURES, RuntimeError)

_is_error_word: Final = re.compile("[A-Z]{2,20}").fullmatch


class Trust:
    """Whether the servers were lately found fit to hold entries. A race of threads makes one more examination."""

    def __init__(self) -> None:
        self._until = 0.0
        self.topology_is_old = False  # of a cluster: to be asked for anew

    def __bool__(self) -> bool:
        return time.monotonic() < self._until

    def grant(self) -> None:
        """They were examined just now."""
        self._until = time.monotonic() + REDIS_TRUSTED_SECONDS

    def withdraw(self) -> None:
        """The next consume may be for a server that was not examined."""
        self._until = 0.0

    def doubt_all(self) -> None:
        """Something failed: the next connection may be to another server, and a cluster may have other nodes."""
        self.withdraw()
        self.topology_is_old = True


@contextmanager
def translated(failures: Failures, trust: Trust, handoff_id: str | None) -> Generator[None]:
    """Failures as a `ReplayStoreError` of the caller's own, after which no server is trusted any more."""
    try:
        yield
    except ReplayStoreError as exc:
        trust.doubt_all()
        # A fresh one: several callers may have been given the same.
        raise ReplayStoreError(str(exc), handoff_id=handoff_id) from exc.__cause__
    except failures as exc:
        trust.doubt_all()
        raise failure(exc, handoff_id) from chained(exc)


def failure(exc: BaseException, handoff_id: str | None) -> ReplayStoreError:
    """`exc` as the error of a store. Of the server's text at most the first word: it may quote what was sent."""
    text = f"Redis: {type(exc).__name__}"
    if type(exc) is exceptions.ResponseError:
        word = str(exc).partition(" ")[0]
        if _is_error_word(word):
            text += f" {word}"
    return ReplayStoreError(text, handoff_id=handoff_id)


def chained(exc: BaseException) -> BaseException | None:
    """`exc` as a cause to show, unless its text may quote what was sent."""
    harmless = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, RuntimeError)
    return exc if isinstance(exc, harmless) else None


def require_bounded(client: redis.Redis | redis.cluster.RedisCluster, timeout: float) -> None:
    """Refuse a client that could wait longer than the store's timeout: no thread can be made to give up a socket."""
    rounds, wait, by_path = 1, 0.0, False
    settings: dict[str, Any]
    if isinstance(client, redis.cluster.RedisCluster):
        settings = client.nodes_manager.connection_kwargs
        retries = client.retry.get_retries()
        rounds = 2  # one node hangs: it may be asked for the cluster's topology, and for the entry
    else:
        pool = client.connection_pool
        settings = pool.connection_kwargs
        retry = settings.get("retry")
        asks_again = settings.get("retry_on_error") or settings.get("retry_on_timeout")
        retries = retry.get_retries() if retry is not None else int(bool(asks_again))
        if isinstance(pool, redis.BlockingConnectionPool):
            wait = pool.timeout
        by_path = issubclass(pool.connection_class, redis.UnixDomainSocketConnection)
    connect = 0.0 if by_path else settings.get("socket_connect_timeout")
    total = 0.0
    for seconds, positive in ((wait, False), (connect, not by_path), (settings.get("socket_timeout"), True)):
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or (positive and seconds <= 0):
            total = float("inf")
        else:
            total += rounds * seconds
    if retries != 0 or not total <= timeout:
        share = timeout / 2 / rounds
        raise ConfigurationError(
            f"client: it could wait longer than the store's timeout of {timeout:g} s; make it with"
            f" socket_connect_timeout={share:g}, socket_timeout={share:g} and retry=Retry(NoBackoff(), 0)"
            + (", and a pool whose own timeout fits in, too" if wait != 0 else "")
        )


def require_primary_reads(client: object) -> None:
    """Refuse a cluster client that reads from replicas."""
    if getattr(client, "read_from_replicas", False) or getattr(client, "load_balancing_strategy", None):
        raise ConfigurationError("client: it reads from replicas, which may lack entries; leave that off")


def type_name(value: object) -> str:
    """The type of `value`, with its module: redis-py has several of one name."""
    return f"{type(value).__module__}.{type(value).__qualname__}"

"""What redis-py raises -> the error of a store, without what was sent. And how long a server is trusted."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, TypeAlias

from redis import exceptions

from ghasi_handoff._limits import REDIS_TRUSTED_SECONDS
from ghasi_handoff.errors import ReplayStoreError

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

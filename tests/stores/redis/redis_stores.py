"""Stores in Redis and their clients, called alike whether they are awaited or not; and what the tests ask of a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from ghasi_handoff import Consumption, ReplayStoreError
from ghasi_handoff.stores.redis import AsyncRedisReplayStore, RedisReplayStore
from ghasi_handoff.stores.redis._entries import Ask, ask

from ..entries import NOW, SCOPE, handoff_id

KEY = "ghasi-handoff:bff-consumer%0Abff-tenant-booking:"


class OneStore:
    """A store and its client, called alike whether it is awaited or not. Each has one event loop for all its calls."""

    def __init__(self, url: str, *, awaited: bool, cluster: bool = False, **settings: Any) -> None:
        self.runner = asyncio.Runner() if awaited else None
        client_settings: dict[str, Any] = settings.pop("client_settings", {})
        timeout = settings.get("timeout", 2)
        self.client: Any
        self.store: Any
        if self.runner is not None:
            kind: Any = redis.asyncio.RedisCluster if cluster else redis.asyncio.Redis

            async def make() -> None:
                self.client = kind.from_url(url, **client_settings)
                self.store = AsyncRedisReplayStore(self.client, **settings)

            self.runner.run(make())
        else:
            share = timeout / (4 if cluster else 2)
            client_settings = {"socket_timeout": share, "socket_connect_timeout": share, **client_settings}
            client_settings = {"retry": Retry(NoBackoff(), 0), **client_settings}
            kind = redis.RedisCluster if cluster else redis.Redis
            self.client = kind.from_url(url, **client_settings)
            self.store = RedisReplayStore(self.client, **settings)

    def _wait(self, answer: Any) -> Any:
        async def wait() -> Any:
            return await answer

        return answer if self.runner is None else self.runner.run(wait())

    def consume(self, handoff: str, **told: Any) -> Consumption:
        return cast("Consumption", self._wait(self.store.consume(handoff, **told)))

    def check(self, **settings: Any) -> Any:
        return self._wait(self.store.check(**settings))

    def stats(self) -> Any:
        return self._wait(self.store.stats())

    def purge(self, now: Any = None) -> Any:
        return self._wait(self.store.purge(now))

    def close(self) -> None:
        if self.runner is None:
            self.store.close()
            self.client.close()
        else:
            self._wait(self.store.aclose())
            self._wait(self.client.aclose())
            self.runner.close()


OpenOne = Callable[..., OneStore]


def connect(url: str) -> Any:
    """A client of the test's own. Any: redis-py leaves many methods without types."""
    return redis.Redis.from_url(url)


def timed(act: Callable[[], object]) -> float:
    """How long a refusal took."""
    start = time.monotonic()
    with pytest.raises(ReplayStoreError):
        act()
    return time.monotonic() - start


def settle(act: Callable[[], Consumption], *, attempts: int = 1000) -> Consumption:
    """Retry what is in doubt, as a browser does."""
    for _ in range(attempts):
        try:
            return act()
        except ReplayStoreError:
            time.sleep(0.003)
    return act()


def asked() -> Ask:
    return ask("p", handoff_id(NOW), SCOPE, "us", NOW, NOW + 440)

"""The stores in Redis keep every promise of the conformance kit."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry
from typing_extensions import override

from ghasi_handoff.stores.redis import AsyncRedisReplayStore, RedisReplayStore
from ghasi_handoff.testing import AsyncReplayStoreConformance, ReplayStoreConformance

from ..kit_tiers import CRASH, PROCESSES, PURGE_RACE, only, without

# Where other processes of a test find the server.
# Its entries have an end by the clock: that is waited for in the fast tier, too.
SLOW = PROCESSES | PURGE_RACE
SERVER_URL = "GHASI_TEST_CONFORMANCE_REDIS_URL"


@pytest.fixture(autouse=True)
def conformance_server(shared_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One server for all tests of the kit; their places are prefixes."""
    monkeypatch.setenv(SERVER_URL, shared_server.url)


def _prefix(place: Path) -> str:
    return re.sub("[^A-Za-z0-9]", "-", str(place))[-60:]


class WithItsClient(RedisReplayStore):
    """A store that closes its client, which nobody else uses."""

    def __init__(self, client: redis.Redis, **settings: Any) -> None:
        super().__init__(client, **settings)
        self._client = client

    @override
    def close(self) -> None:
        super().close()
        self._client.close()


class AsyncWithItsClient(AsyncRedisReplayStore):
    """A store that closes its client, which nobody else uses."""

    def __init__(self, client: redis.asyncio.Redis, **settings: Any) -> None:
        super().__init__(client, **settings)
        self._client = client

    @override
    async def aclose(self) -> None:
        await super().aclose()
        await self._client.aclose()


class RedisKit(ReplayStoreConformance):
    @override
    def make_store(self, place: Path) -> RedisReplayStore:
        return self._make(os.environ[SERVER_URL], place, 10)

    @override
    def make_failing_store(self, place: Path) -> RedisReplayStore:
        return self._make("redis://127.0.0.1:1", place, 1)

    def _make(self, url: str, place: Path, timeout: float) -> RedisReplayStore:
        client = redis.Redis.from_url(
            url, socket_timeout=timeout / 2, socket_connect_timeout=timeout / 2, retry=Retry(NoBackoff(), 0)
        )
        return WithItsClient(client, timeout=timeout, prefix=_prefix(place))


class AsyncRedisKit(AsyncReplayStoreConformance):
    @override
    def make_store(self, place: Path) -> AsyncRedisReplayStore:
        return AsyncWithItsClient(
            redis.asyncio.Redis.from_url(os.environ[SERVER_URL]), timeout=10, prefix=_prefix(place)
        )

    @override
    def make_failing_store(self, place: Path) -> AsyncRedisReplayStore:
        return AsyncWithItsClient(redis.asyncio.Redis.from_url("redis://127.0.0.1:1"), timeout=1, prefix=_prefix(place))


@without(SLOW)
class TestRedis(RedisKit):
    pass


@without(SLOW | CRASH)
class TestAsyncRedis(AsyncRedisKit):
    pass


@pytest.mark.thorough
@only(SLOW)
class TestRedisForLong(RedisKit):
    pass


@pytest.mark.thorough
@only(SLOW | CRASH)
class TestAsyncRedisForLong(AsyncRedisKit):
    pass

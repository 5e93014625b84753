"""The store in Redis: what it sends and decides, which servers it refuses, and what it does when one fails."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.cluster import LoadBalancingStrategy
from redis.exceptions import ResponseError
from redis.retry import Retry
from typing_extensions import override

from ghasi_handoff import ConfigurationError, Consumption, InvalidHandoffInputError, ReplayStoreError
from ghasi_handoff.stores.redis import Ask, AsyncRedisReplayStore, RedisReplayStore, ask, exchange, read_answers
from ghasi_handoff.testing import AsyncReplayStoreConformance, ReplayStoreConformance
from tests.servers import RedisCluster, RedisServer

from .entries import NOW, SCOPE, SLACK, entry, handoff_id, handoff_ids, redemption_id

KEY = "ghasi-handoff:bff-consumer%0Abff-tenant-booking:"
EVICTING = [
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
]


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


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    """A server for the tests that leave it as it was."""
    with RedisServer({"appendonly": "yes"}) as server:
        yield server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that a test may hang, kill and set otherwise."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """Three primaries."""
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture
def admin(shared_server: RedisServer) -> Iterator[Any]:
    """A client of the shared server, which it empties."""
    with connect(shared_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture(params=["sync", "async"])
def open_one(request: pytest.FixtureRequest) -> Iterator[OpenOne]:
    """Opens stores of each kind in turn."""
    opened: list[OneStore] = []

    def open_store(url: str, **settings: Any) -> OneStore:
        opened.append(OneStore(url, awaited=request.param == "async", **settings))
        return opened[-1]

    yield open_store
    for one in opened:
        one.close()


@pytest.fixture
def store(open_one: OpenOne, shared_server: RedisServer, admin: Any) -> OneStore:
    """A store of each kind in turn, in an empty server."""
    return open_one(shared_server.url)


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


# What is sent


def test_entry_on_the_wire(store: OneStore, admin: Any) -> None:
    """The key names scope and id, its value is "holder consumed_at", and it lives from the id's time to the retention."""
    store.consume(handoff_id(NOW), **entry(1, at=NOW + 100, until=NOW + 440))
    key = KEY + handoff_id(NOW)
    assert admin.keys() == [key.encode()]
    assert admin.get(key) == f"{redemption_id(1)} {NOW + 100}".encode()
    assert 430_000 < admin.pttl(key) <= 440_000


def test_commands_on_the_wire(store: OneStore, admin: Any) -> None:
    """A consume is SET NX PX and GET, and no time of day is ever sent to the server."""
    store.consume(handoff_id(NOW), **entry(1))  # what a first use needs has been sent
    with admin.monitor() as monitor:
        admin.ping()
        store.consume(handoff_id(NOW, 1), **entry(2))
        admin.ping()
        seen = (command["command"] for command in monitor.listen())
        while next(seen) != "PING":
            pass
        sent = list(iter(lambda: next(seen), "PING"))
    key = KEY + handoff_id(NOW, 1)
    assert sent == [f"SET {key} {redemption_id(2)} {NOW} NX PX 440000", f"GET {key}"]


@pytest.mark.parametrize("late", [-30, 0, 1, 439])
def test_no_clock_shortens_the_life_of_a_key(late: int) -> None:
    """A key lives at least from the id's time to the retention, however late or early the caller's clock is."""
    asked = ask("p", handoff_id(NOW), SCOPE, redemption_id(1), NOW + late, NOW + 440)
    assert asked.milliseconds == 1000 * (440 + max(0, -late))


def test_keys_are_injective() -> None:
    """No two entries share a key, whatever their scopes and the stores' prefixes hold."""
    scopes = [
        "a",
        "a:b",
        "b",
        "a\nb",
        "a%0Ab",
        "a%3Ab",
        "a b",
        "A",
        "a\0",
        "\ud800",
        "\udfff",
        "ä",
        "a\u0308",
        "{a}",
        "a:",
    ]
    prefixes = ["p", "p:a", "p:a:b", "p/"]
    keys = {
        ask(prefix, handoff, scope, "r", NOW, NOW + 1).key
        for prefix in prefixes
        for scope in scopes
        for handoff in handoff_ids(2)
    }
    assert len(keys) == len(prefixes) * len(scopes) * 2


def test_a_prefix_keeps_stores_apart(open_one: OpenOne, shared_server: RedisServer, admin: Any) -> None:
    """Two prefixes are two stores."""
    one, other = open_one(shared_server.url, prefix="one"), open_one(shared_server.url, prefix="other")
    assert one.consume(handoff_id(NOW), **entry(1)).first
    assert other.consume(handoff_id(NOW), **entry(2)).first


# Who holds a handoff


def test_holder_is_told(store: OneStore) -> None:
    """The first becomes the holder; it and others are told so ever after."""
    answers = [store.consume(handoff_id(NOW), **entry(number, at=NOW + number)) for number in (1, 1, 2)]
    assert answers == [Consumption(redemption_id(1), number == 0, NOW + 1) for number in range(3)]


@pytest.mark.parametrize("client_settings", [{}, {"decode_responses": True}, {"protocol": 2}, {"protocol": 3}])
def test_settings_of_the_client_do_not_matter(
    open_one: OpenOne, shared_server: RedisServer, admin: Any, client_settings: dict[str, Any]
) -> None:
    """Answers are the same whatever the client decodes, and whichever protocol it speaks."""
    admin.set(KEY + handoff_id(NOW, 1), f"{redemption_id(5)} {NOW}")
    one = open_one(shared_server.url, client_settings=client_settings)
    assert one.consume(handoff_id(NOW), **entry(1)) == Consumption(redemption_id(1), True, NOW)
    assert one.consume(handoff_id(NOW, 1), **entry(1)) == Consumption(redemption_id(5), False, NOW)
    assert one.check().ok
    assert one.stats().entries == 2


@pytest.mark.parametrize("holder", ["a b", "a\nb", " ", "ä\0", "1 2 3"])
def test_any_text_may_hold(store: OneStore, holder: str) -> None:
    """A redemption id may have spaces, line feeds and characters beyond ASCII."""
    told = {**entry(), "redemption_id": holder}
    assert store.consume(handoff_id(NOW), **told).first
    assert store.consume(handoff_id(NOW), **entry(2)).holder == holder


def test_text_that_cannot_be_sent_is_refused(store: OneStore) -> None:
    """Half a surrogate pair cannot be encoded, so it cannot hold a handoff."""
    with pytest.raises(InvalidHandoffInputError, match="UTF-8"):
        store.consume(handoff_id(NOW), **{**entry(), "redemption_id": "\ud800"})


@pytest.mark.parametrize(
    "value", [b"", b"x", b" 5", b"x ", b"x -5", b"x 05", b"x 5\n", b"x 5.0", b"x 1234567890123", b"\xff 5", b"x\t5"]
)
def test_a_value_that_is_no_entry_is_in_doubt(store: OneStore, admin: Any, value: bytes) -> None:
    """A value that this store would not have written names no holder."""
    admin.set(KEY + handoff_id(NOW), value)
    with pytest.raises(ReplayStoreError, match="no entry") as caught:
        store.consume(handoff_id(NOW), **entry(1))
    assert caught.value.log_fields == {"handoff_id": handoff_id(NOW)}


def test_a_key_of_another_type_is_in_doubt(store: OneStore, admin: Any) -> None:
    """A list where the entry should be is an error of the server, and no answer; the next consume is not disturbed."""
    admin.rpush(KEY + handoff_id(NOW), "x")
    with pytest.raises(ReplayStoreError, match=r"^Redis: ResponseError WRONGTYPE$") as caught:
        store.consume(handoff_id(NOW), **entry(1))
    assert caught.value.__cause__ is None  # a server's text may quote what was sent
    assert store.consume(handoff_id(NOW, 1), **entry(2)).first


def _asked() -> Ask:
    return ask("p", handoff_id(NOW), SCOPE, "us", NOW, NOW + 440)


def test_only_get_decides() -> None:
    """OK from SET means nothing if GET has no value, or another's."""
    with pytest.raises(ReplayStoreError, match="gone"):
        read_answers(_asked(), b"OK", None)
    assert read_answers(_asked(), b"OK", b"them 5") == Consumption("them", False, 5)
    assert read_answers(_asked(), None, f"us {NOW}".encode()) == Consumption("us", False, NOW)
    assert read_answers(_asked(), b"OK", f"us {NOW}".encode()) == Consumption("us", True, NOW)
    assert read_answers(_asked(), b"OK", f"us {NOW - 1}".encode()) == Consumption("us", False, NOW - 1)


def test_an_error_from_set_is_in_doubt() -> None:
    """Where SET failed, GET is not believed: a read-only replica may have an entry that its primary lost."""
    with pytest.raises(ResponseError):
        read_answers(_asked(), ResponseError("READONLY"), f"us {NOW}".encode())


def test_one_holder_among_threads(shared_server: RedisServer, admin: Any) -> None:
    """Of 16 threads with one store that race for 50 handoffs, each handoff goes to one, and all are told which."""
    one = OneStore(shared_server.url, awaited=False)
    ids, start = handoff_ids(50), threading.Barrier(16)

    def race(number: int) -> list[Consumption]:
        start.wait()
        return [one.consume(handoff, **entry(number)) for handoff in ids]

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(race, range(16)))
    one.close()
    for told in zip(*answers, strict=True):
        assert len({answer.holder for answer in told}) == 1
        assert sum(answer.first for answer in told) == 1


def test_one_holder_among_tasks(shared_server: RedisServer, admin: Any) -> None:
    """Of 16 tasks that race for each of 300 handoffs, one becomes the holder, and all are told which."""

    async def race() -> None:
        async with redis.asyncio.Redis.from_url(shared_server.url) as client, AsyncRedisReplayStore(client) as store:
            for handoff in handoff_ids(300):
                told = await asyncio.gather(*(store.consume(handoff, **entry(number)) for number in range(16)))
                assert len({answer.holder for answer in told}) == 1
                assert sum(answer.first for answer in told) == 1

    asyncio.run(race())


def test_tasks_share_round_trips(shared_server: RedisServer, admin: Any) -> None:
    """A hundred consumes at once need two connections at most, and each is told its own."""

    async def together() -> None:
        pool = redis.asyncio.ConnectionPool.from_url(shared_server.url, max_connections=2)
        async with redis.asyncio.Redis(connection_pool=pool) as client, AsyncRedisReplayStore(client) as store:
            ids = handoff_ids(100)
            told = await asyncio.gather(*(store.consume(handoff, **entry(n)) for n, handoff in enumerate(ids)))
            assert [answer.holder for answer in told] == [redemption_id(n) for n in range(100)]
            assert all(answer.first for answer in told)
        await pool.aclose()

    asyncio.run(together())


# Construction


def test_constructor_does_no_io(open_one: OpenOne) -> None:
    """A store can be made before its server is there."""
    open_one("redis://127.0.0.1:1")


def test_importing_the_package_imports_no_driver() -> None:
    """Who does not use this store needs no redis-py."""
    code = "import sys, ghasi_handoff, ghasi_handoff.stores; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_client_stays_open(shared_server: RedisServer, admin: Any) -> None:
    """Closing a store leaves the client as it was; the store itself is over."""
    with redis.Redis.from_url(
        shared_server.url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
    ) as client:
        with RedisReplayStore(client) as store:
            store.consume(handoff_id(NOW), **entry(1))
        with pytest.raises(ReplayStoreError, match="closed"):
            store.consume(handoff_id(NOW), **entry(1))
        assert client.ping()

    async def awaited() -> None:
        async with redis.asyncio.Redis.from_url(shared_server.url) as client:
            async with AsyncRedisReplayStore(client) as store:
                await store.consume(handoff_id(NOW), **entry(1))
            with pytest.raises(ReplayStoreError, match="closed"):
                await store.consume(handoff_id(NOW), **entry(1))
            assert await client.ping()

    asyncio.run(awaited())


def test_a_client_of_the_other_kind_is_refused() -> None:
    """A client that must be awaited cannot serve a store that does not, nor the other way round, nor can a pipeline."""
    plain = redis.Redis(socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0))
    awaited = redis.asyncio.Redis()
    wrong: Any
    for wrong in (awaited, plain.pipeline(), None, "redis://"):
        with pytest.raises(ConfigurationError, match="client"):
            RedisReplayStore(wrong)
    for wrong in (plain, awaited.pipeline(), None, "redis://"):
        with pytest.raises(ConfigurationError, match="client"):
            AsyncRedisReplayStore(wrong)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"socket_timeout": None},
        {"socket_connect_timeout": None},
        {"socket_timeout": 1.1},
        {"socket_connect_timeout": 1.1},
        {"socket_timeout": 0},
        {"retry": Retry(NoBackoff(), 1)},
        {"retry": Retry(NoBackoff(), -1)},
        {"retry": None, "retry_on_error": [redis.ConnectionError]},
    ],
)
def test_a_client_that_could_wait_too_long_is_refused(settings: dict[str, Any]) -> None:
    """A thread cannot be made to give up a socket, so a client must be bounded itself; the error says how."""
    good: dict[str, Any] = {"socket_timeout": 1, "socket_connect_timeout": 1, "retry": Retry(NoBackoff(), 0)}
    RedisReplayStore(redis.Redis(**good))
    client = redis.Redis(**{**good, **settings}) if settings else redis.Redis()
    with pytest.raises(ConfigurationError, match=r"socket_connect_timeout=1, socket_timeout=1 and retry=Retry"):
        RedisReplayStore(client)


@pytest.mark.parametrize(("wait", "fits"), [(0.5, True), (0.6, False), (None, False), (20, False)])
def test_waiting_for_the_pool_counts(wait: float | None, fits: bool) -> None:
    """A pool whose callers wait for a connection must let them go in time."""
    make: Any = redis.BlockingConnectionPool
    pool = make(timeout=wait, socket_timeout=0.5, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0))
    client = redis.Redis(connection_pool=pool)
    if fits:
        RedisReplayStore(client)
    else:
        with pytest.raises(ConfigurationError, match="pool"):
            RedisReplayStore(client)


@pytest.mark.parametrize("kind", [RedisReplayStore, AsyncRedisReplayStore])
@pytest.mark.parametrize(
    ("name", "value"),
    [("timeout", value) for value in (0, -1, 61, math.nan, True, "2", None, timedelta(minutes=2))]
    + [("prefix", value) for value in ("", "a*", "a b", "{a}", "a\n", "a" * 65, None, b"a")],
)
def test_arguments_are_checked(kind: Any, name: str, value: object) -> None:
    """A timeout is up to a minute; a prefix has no wildcard and no hash tag."""
    client: Any = redis.asyncio.Redis()
    if kind is RedisReplayStore:
        client = redis.Redis(socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0))
    with pytest.raises(ConfigurationError, match=name):
        kind(client, **{name: value})


def test_guarantees_promise_little() -> None:
    """Shared by machines; but a crash may lose the last second, and a failover the last writes."""
    for kind in (RedisReplayStore, AsyncRedisReplayStore):
        told = kind.guarantees
        assert (told.shared, told.durable, told.survives_failover, told.outbox) == (True, False, False, False)


def test_purging_is_left_to_the_server(store: OneStore) -> None:
    """Keys expire by themselves: a purge removes nothing, but still tells a time from what is none."""
    store.consume(handoff_id(NOW), **entry(1))
    assert store.purge(2 * NOW) == 0
    assert store.consume(handoff_id(NOW), **entry(2)).holder == redemption_id(1)
    with pytest.raises(ConfigurationError):
        store.purge("now")


# Servers that could forget


@pytest.mark.parametrize("policy", EVICTING)
def test_evicting_policies_are_refused_and_reported(
    open_one: OpenOne, shared_server: RedisServer, admin: Any, policy: str
) -> None:
    """No server that may evict is given an entry, whether or not its memory is limited yet."""
    one = open_one(shared_server.url)
    admin.config_set("maxmemory-policy", policy)
    try:
        with pytest.raises(ReplayStoreError, match=f"maxmemory_policy is {policy}") as caught:
            one.consume(handoff_id(NOW), **entry(1))
        assert caught.value.code == "store_unavailable"
        assert caught.value.log_fields == {"handoff_id": handoff_id(NOW)}
        (hazard,) = one.check().hazards
        assert hazard.code == "evicting_policy" and policy in hazard.text
        assert admin.dbsize() == 0
    finally:
        admin.config_set("maxmemory-policy", "noeviction")
    assert one.consume(handoff_id(NOW), **entry(1)).first


def test_a_policy_that_changes_is_noticed(
    open_one: OpenOne, shared_server: RedisServer, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is asked again after a minute, and after any error at once."""
    one = open_one(shared_server.url)
    one.consume(handoff_id(NOW), **entry(1))
    admin.config_set("maxmemory-policy", "volatile-ttl")
    try:
        one.consume(handoff_id(NOW), **entry(1))  # trusted for a minute
        admin.rpush(KEY + handoff_id(NOW, 1), "x")
        with pytest.raises(ReplayStoreError, match="WRONGTYPE"):
            one.consume(handoff_id(NOW, 1), **entry(1))
        with pytest.raises(ReplayStoreError, match="volatile-ttl"):
            one.consume(handoff_id(NOW), **entry(1))
        admin.config_set("maxmemory-policy", "noeviction")
        one.consume(handoff_id(NOW), **entry(1))
        admin.config_set("maxmemory-policy", "volatile-ttl")
        later = time.monotonic() + 61
        monkeypatch.setattr("ghasi_handoff.stores.redis.time.monotonic", lambda: later)
        with pytest.raises(ReplayStoreError, match="volatile-ttl"):
            one.consume(handoff_id(NOW), **entry(1))
    finally:
        admin.config_set("maxmemory-policy", "noeviction")


def test_a_full_server_refuses_and_loses_nothing(open_one: OpenOne, server: RedisServer) -> None:
    """Out of memory, nothing new is accepted, and nothing that was accepted is forgotten."""
    one = open_one(server.url)
    held = handoff_ids(200)
    for handoff in held:
        one.consume(handoff, **entry(1))
    with connect(server.url) as admin:
        admin.config_set("maxmemory", "1")
        for handoff in handoff_ids(5, start=1000):
            with pytest.raises(ReplayStoreError, match=r"^Redis: OutOfMemoryError$"):
                one.consume(handoff, **entry(2))
        admin.config_set("maxmemory", "0")
    assert {one.consume(handoff, **entry(3)).holder for handoff in held} == {redemption_id(1)}
    assert one.consume(handoff_id(NOW, 1000), **entry(2)).first


def test_a_replica_is_refused_and_reported(open_one: OpenOne, server: RedisServer, shared_server: RedisServer) -> None:
    """A replica is not believed, not even a writable one."""
    with connect(server.url) as admin:
        admin.config_set("replica-read-only", "no")
        admin.replicaof("127.0.0.1", str(shared_server.port))
        one = open_one(server.url)
        with pytest.raises(ReplayStoreError, match="role is slave"):
            one.consume(handoff_id(NOW), **entry(1))
        assert "replica" in {hazard.code for hazard in one.check().hazards}


def test_aof_off_is_reported(open_one: OpenOne, server: RedisServer) -> None:
    """A server that keeps nothing on disk is used, and reported."""
    with connect(server.url) as admin:
        admin.config_set("appendonly", "no")
        report = open_one(server.url).check()
        assert [hazard.code for hazard in report.hazards] == ["aof_off"]
        assert report.settings["aof_enabled"] == "0"
        assert not report.ok
        admin.config_set("appendonly", "yes")
        assert open_one(server.url).check().ok


def test_evicted_keys_are_reported(open_one: OpenOne, server: RedisServer) -> None:
    """That keys were evicted is reported even once the policy is right again."""
    with connect(server.url) as admin:
        admin.config_set("appendonly", "yes")
        admin.config_set("maxmemory-policy", "allkeys-lru")
        for number in range(100):
            admin.set(str(number), b"x" * 1000)
        admin.config_set("maxmemory", "1")
        with pytest.raises(redis.ResponseError):
            admin.set("one", "more")
        admin.config_set("maxmemory", "0")
        admin.config_set("maxmemory-policy", "noeviction")
        assert [hazard.code for hazard in open_one(server.url).check().hazards] == ["evicted_keys"]


@pytest.mark.parametrize(("ahead", "codes"), [(0, []), (-8, []), (60, ["clock_differs"]), (-60, ["clock_differs"])])
def test_clocks_are_compared(
    open_one: OpenOne, shared_server: RedisServer, admin: Any, ahead: int, codes: list[str]
) -> None:
    """A clock that differs from the server's by more than the leeway is reported."""
    one = open_one(shared_server.url, clock=lambda: time.time() + ahead)
    assert [hazard.code for hazard in one.check().hazards] == codes
    assert one.check(leeway=timedelta(seconds=90)).ok


def test_report_names_server_and_settings(store: OneStore, shared_server: RedisServer) -> None:
    """A report says what answered, and with which settings."""
    report = store.check()
    assert report.server == f"Redis {shared_server.version}"
    assert report.settings["maxmemory_policy"] == "noeviction"
    assert report.settings["appendfsync"] == "everysec"
    assert report.ok


def test_blocked_config_is_no_hazard(open_one: OpenOne, shared_server: RedisServer, admin: Any) -> None:
    """Where CONFIG is forbidden, as on managed servers, stores work and reports have one setting less."""
    admin.acl_setuser(
        "plain", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"], commands=["-config"]
    )
    one = open_one(shared_server.url.replace("redis://", "redis://plain:secret@"))
    assert one.consume(handoff_id(NOW), **entry(1)).first
    report = one.check()
    assert report.ok and "appendfsync" not in report.settings


def test_stats_count_entries(store: OneStore, admin: Any) -> None:
    """Entries of this prefix are counted, with the times of the oldest and the newest; other keys are not."""
    assert (store.stats().entries, store.stats().oldest_at) == (0, None)
    for number in range(2500):
        admin.set(f"other:{number}", "x")
    admin.set("ghasi-handoff:x", "x")
    for handoff in [*handoff_ids(1200), handoff_id(NOW - 50), handoff_id(NOW + 70)]:
        admin.set(KEY + handoff, "x 5")
    stats = store.stats()
    assert (stats.entries, stats.oldest_at, stats.newest_at) == (1202, NOW - 50, NOW + 70)
    assert (stats.purged_before, stats.refused, stats.outbox, stats.size_bytes) == (None,) * 4


# Failures


def test_an_unreachable_server_is_in_doubt(open_one: OpenOne) -> None:
    """Nobody at that port: no answer, for a consume, a check or statistics."""
    one = open_one("redis://user:geheim@127.0.0.1:1", timeout=1)
    for act in (lambda: one.consume(handoff_id(NOW), **entry(1)), one.check, one.stats):
        with pytest.raises(ReplayStoreError, match=r"^Redis: \w+$") as caught:
            act()
        shown: BaseException | None = caught.value
        while shown is not None:
            assert "geheim" not in f"{shown} {shown!r}"
            shown = shown.__cause__


def test_a_wrong_password_is_not_told(open_one: OpenOne, shared_server: RedisServer, admin: Any) -> None:
    """A password that the server refuses is in no text."""
    one = open_one(shared_server.url.replace("redis://", "redis://plain:geheim@"))
    with pytest.raises(ReplayStoreError, match=r"^Redis: AuthenticationError$") as caught:
        one.consume(handoff_id(NOW), **entry(1))
    assert "geheim" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_hung_server_is_given_up_in_time(open_one: OpenOne, server: RedisServer) -> None:
    """A server that hangs is given up within the timeout, with an open connection or a new one; then it is asked anew."""
    one, other = open_one(server.url, timeout=0.6), open_one(server.url, timeout=0.6)
    one.consume(handoff_id(NOW), **entry(1))
    server.pause()
    try:
        assert timed(lambda: one.consume(handoff_id(NOW, 1), **entry(1))) < 0.6 + SLACK / 5
        assert timed(lambda: one.consume(handoff_id(NOW, 1), **entry(1))) < 0.6 + SLACK / 5
        assert timed(lambda: other.consume(handoff_id(NOW, 1), **entry(1))) < 0.6 + SLACK / 5
    finally:
        server.resume()
    assert settle(lambda: one.consume(handoff_id(NOW, 1), **entry(1))).holder == redemption_id(1)
    assert one.consume(handoff_id(NOW, 1), **entry(2)).holder == redemption_id(1)


def test_many_tasks_leave_a_hung_server_in_time(server: RedisServer) -> None:
    """Fifty tasks that wait for a hung server are all let go within the timeout, and it serves them when it is back."""

    async def wait() -> None:
        async with (
            redis.asyncio.Redis.from_url(server.url) as client,
            AsyncRedisReplayStore(client, timeout=0.6) as store,
        ):
            await store.consume(handoff_id(NOW), **entry(1))
            server.pause()
            start = time.monotonic()
            told = await asyncio.gather(
                *(store.consume(handoff, **entry(1)) for handoff in handoff_ids(50)), return_exceptions=True
            )
            server.resume()
            assert time.monotonic() - start < 0.6 + SLACK / 5
            assert {type(answer) for answer in told} == {ReplayStoreError}
            assert {answer.log_fields["handoff_id"] for answer in told if isinstance(answer, ReplayStoreError)} == set(
                handoff_ids(50)
            )
            answers = await asyncio.gather(*(store.consume(handoff, **entry(1)) for handoff in handoff_ids(50)))
            assert {answer.holder for answer in answers} == {redemption_id(1)}

    asyncio.run(wait())


def test_a_restart_is_survived(open_one: OpenOne, server: RedisServer) -> None:
    """After the server was killed and is back, entries are found in its append-only file, without a new store."""
    with connect(server.url) as admin:
        admin.config_set("appendonly", "yes")
        admin.config_set("appendfsync", "always")
        one = open_one(server.url)
        while admin.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.01)
        one.consume(handoff_id(NOW), **entry(1))
    server.kill()
    assert timed(lambda: one.consume(handoff_id(NOW), **entry(1))) < 2 + SLACK
    server.start(appendonly="yes")
    assert settle(lambda: one.consume(handoff_id(NOW), **entry(2))).holder == redemption_id(1)


def test_cut_connections_leave_the_truth_to_a_retry(open_one: OpenOne, shared_server: RedisServer, admin: Any) -> None:
    """Connections are cut all the time: whoever retries by its own redemption id becomes, or is told, the one holder."""
    one = open_one(shared_server.url)
    over = threading.Event()

    def cut() -> None:
        with connect(shared_server.url) as client:
            while not over.is_set():
                client.client_kill_filter(_type="normal", skipme=True)
                time.sleep(0.005)

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        for number, handoff in enumerate(handoff_ids(300)):
            mine = settle(lambda number=number, handoff=handoff: one.consume(handoff, **entry(number)))  # type: ignore[misc]
            assert mine.holder == redemption_id(number)
    finally:
        over.set()
        cutter.join()
    for number, handoff in enumerate(handoff_ids(300)):
        assert settle(lambda handoff=handoff: one.consume(handoff, **entry(9999))).holder == redemption_id(number)  # type: ignore[misc]


def test_an_exhausted_pool_is_in_doubt(open_one: OpenOne, shared_server: RedisServer, admin: Any) -> None:
    """Where the application has all connections in use, a consume is refused; it works when one is given back."""
    one = open_one(shared_server.url, client_settings={"max_connections": 1})
    pool = one.client.connection_pool
    taken = one._wait(pool.get_connection())
    assert timed(lambda: one.consume(handoff_id(NOW), **entry(1))) < 2 + SLACK
    one._wait(pool.release(taken))
    assert one.consume(handoff_id(NOW), **entry(1)).first


def test_a_pool_that_makes_wait_is_left_in_time(shared_server: RedisServer, admin: Any) -> None:
    """A pool that would let a task wait for 20 s is left within the store's timeout."""

    async def wait() -> None:
        pool: Any = redis.asyncio.BlockingConnectionPool.from_url(shared_server.url, max_connections=1, timeout=20)
        async with (
            redis.asyncio.Redis(connection_pool=pool) as client,
            AsyncRedisReplayStore(client, timeout=0.3) as store,
        ):
            taken = await pool.get_connection()
            start = time.monotonic()
            with pytest.raises(ReplayStoreError):
                await store.consume(handoff_id(NOW), **entry(1))
            assert time.monotonic() - start < 0.3 + SLACK / 5
            await pool.release(taken)
            assert (await store.consume(handoff_id(NOW), **entry(1))).first
        await pool.aclose()

    asyncio.run(wait())


class SlowPool(redis.asyncio.ConnectionPool):
    """A pool that takes a moment to take a connection back, in which a task may be cancelled."""

    async def release(self, connection: Any) -> None:
        await asyncio.sleep(0)
        await super().release(connection)


@pytest.mark.parametrize("together", [False, True], ids=["alone", "in batches"])
@pytest.mark.parametrize("kind", ["plain", "blocking", "slow"])
def test_cancelled_tasks_never_cross_talk(shared_server: RedisServer, admin: Any, together: bool, kind: str) -> None:
    """Tasks are cancelled at random moments: no other is ever given their answer, and no connection is lost."""
    chance = random.Random(f"{together} {kind}")

    async def cancel_some() -> None:
        pool: Any = redis.asyncio.ConnectionPool.from_url(shared_server.url, max_connections=4)
        if kind == "blocking":
            pool = redis.asyncio.BlockingConnectionPool.from_url(shared_server.url, max_connections=2, timeout=5)
        if kind == "slow":
            pool = SlowPool.from_url(shared_server.url, max_connections=4)
        async with redis.asyncio.Redis(connection_pool=pool) as client, AsyncRedisReplayStore(client) as store:
            cancelled = 0
            for turn in range(400):
                numbers = range(turn * 10, turn * 10 + (10 if together else 1))
                tasks = {n: asyncio.create_task(store.consume(handoff_id(NOW, n), **entry(n))) for n in numbers}
                for _ in range(chance.randrange(12)):
                    await asyncio.sleep(0)
                for n in numbers:
                    if chance.random() < 0.5:
                        tasks[n].cancel()
                told = await asyncio.gather(*tasks.values(), return_exceptions=True)
                for n, answer in zip(numbers, told, strict=True):
                    if isinstance(answer, asyncio.CancelledError):
                        cancelled += 1
                    else:
                        assert answer == Consumption(redemption_id(n), True, NOW)
                after = await store.consume(handoff_id(NOW, numbers[0]), **entry(numbers[0]))
                assert after.holder == redemption_id(numbers[0])
            assert cancelled > 10
            # All connections can be had: none was lost.
            taken = [await pool.get_connection() for _ in range(pool.max_connections)]
            for connection in taken:
                await pool.release(connection)
        await pool.aclose()

    asyncio.run(cancel_some())


def test_all_tasks_cancelled_at_once_leave_a_working_store(shared_server: RedisServer, admin: Any) -> None:
    """Even a task of the store's own that is cancelled before it begins does not stop those who come later."""

    async def cancel_all() -> None:
        async with redis.asyncio.Redis.from_url(shared_server.url) as client, AsyncRedisReplayStore(client) as store:
            await store.consume(handoff_id(NOW), **entry(1))
            for turn in range(30):
                for handoff in handoff_ids(5):
                    asyncio.create_task(store.consume(handoff, **entry(1)))  # noqa: RUF006 - awaited below
                for _ in range(turn % 6):
                    await asyncio.sleep(0)
                others = asyncio.all_tasks() - {asyncio.current_task()}
                for task in others:
                    task.cancel()
                await asyncio.wait(others)
                told = await asyncio.gather(*(store.consume(handoff, **entry(1)) for handoff in handoff_ids(5)))
                assert {answer.holder for answer in told} == {redemption_id(1)}

    asyncio.run(cancel_all())


class CutShort:
    """A pool, and its only connection, that is interrupted before the second answer and does nothing about it."""

    def __init__(self, interruption: BaseException) -> None:
        self.interruption = interruption
        self.done: list[str] = []
        self.send_packed_command = self.pack_commands = lambda commands: commands

    def get_connection(self) -> CutShort:
        return self

    def read_response(self, **settings: object) -> object:
        self.done.append("read")
        if self.done == ["read", "read"]:
            raise self.interruption
        return b"OK"

    def disconnect(self) -> None:
        self.done.append("disconnect")

    def release(self, connection: object) -> None:
        assert connection is self
        self.done.append("release")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), redis.ConnectionError()])
def test_a_connection_with_an_answer_left_is_closed(interruption: BaseException) -> None:
    """Whatever interrupts a consume between its answers, the connection is closed before the next caller gets it."""
    # A fake, because the driver's own connections close themselves in the cases that can be provoked.
    pool = CutShort(interruption)
    with pytest.raises(type(interruption)):
        exchange(pool, _asked())
    assert pool.done == ["read", "read", "disconnect", "release"]


class AwaitedCutShort:
    """`CutShort`, awaited."""

    def __init__(self, pool: CutShort) -> None:
        self.pool = pool
        self.pack_commands = pool.pack_commands

    async def get_connection(self) -> AwaitedCutShort:
        return self

    async def send_packed_command(self, commands: object) -> None:
        await asyncio.sleep(0)

    async def read_response(self, **settings: object) -> object:
        return self.pool.read_response()

    async def disconnect(self, *, nowait: bool) -> None:
        self.pool.disconnect()

    async def release(self, connection: object) -> None:
        self.pool.release(self.pool)


@pytest.mark.parametrize("interruption", [asyncio.CancelledError(), redis.ConnectionError()])
def test_an_awaited_connection_with_an_answer_left_is_closed(interruption: BaseException) -> None:
    """Whatever interrupts an awaited consume between its answers, its connection is closed, too."""
    pool = CutShort(interruption)

    async def use() -> None:
        client: Any = redis.asyncio.Redis()
        client.connection_pool = AwaitedCutShort(pool)
        with pytest.raises(type(interruption)):
            await AsyncRedisReplayStore(client)._exchange([_asked()])

    asyncio.run(use())
    assert pool.done == ["read", "read", "disconnect", "release"]


@pytest.mark.filterwarnings("ignore")  # of a connection whose event loop has ended
def test_a_connection_of_an_ended_event_loop_is_in_doubt(shared_server: RedisServer, admin: Any) -> None:
    """Where the client still has connections of an event loop that ended, a consume is in doubt at worst."""

    def use_thrice() -> set[str]:
        client = redis.asyncio.Redis.from_url(shared_server.url)
        store = AsyncRedisReplayStore(client)

        async def use(number: int) -> str:
            try:
                return (await store.consume(handoff_id(NOW), **entry(number))).holder
            except ReplayStoreError:
                return redemption_id(1)
            finally:
                if number == 3:
                    await client.aclose()

        return {asyncio.run(use(number)) for number in (1, 2, 3)}

    assert use_thrice() == {redemption_id(1)}
    gc.collect()


def test_a_store_outlives_event_loops(shared_server: RedisServer, admin: Any) -> None:
    """A store made outside any event loop works in one after another, if the client keeps no connection of the last."""
    client = redis.asyncio.Redis.from_url(shared_server.url)
    store = AsyncRedisReplayStore(client)

    async def use(number: int) -> Consumption:
        try:
            return await store.consume(handoff_id(NOW), **entry(number))
        finally:
            await client.connection_pool.disconnect()

    assert [asyncio.run(use(number)).holder for number in (1, 2, 3)] == [redemption_id(1)] * 3


def test_a_failover_can_lose_the_last_writes(
    open_one: OpenOne, server: RedisServer, shared_server: RedisServer, admin: Any
) -> None:
    """What the replica had not received is forgotten when it takes over, and can be redeemed again: as guaranteed."""
    with connect(server.url) as replica:
        one = open_one(shared_server.url)
        replica.replicaof("127.0.0.1", str(shared_server.port))
        one.consume(handoff_id(NOW), **entry(1))
        deadline = time.monotonic() + 20
        while replica.get(KEY + handoff_id(NOW)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # The link is cut, and stays so, as in a partition of the network.
        admin.execute_command("ACL SETUSER", "default", "-psync", "-sync")
        try:
            admin.execute_command("CLIENT KILL", "TYPE", "slave")
            assert one.consume(handoff_id(NOW, 1), **entry(1)).first
            replica.replicaof("NO", "ONE")
        finally:
            admin.execute_command("ACL SETUSER", "default", "+psync", "+sync")
        two = open_one(server.url)
        assert two.consume(handoff_id(NOW), **entry(2)).holder == redemption_id(1)
        again = two.consume(handoff_id(NOW, 1), **entry(2))
        assert again == Consumption(redemption_id(2), True, NOW)
        assert not RedisReplayStore.guarantees.survives_failover


# Clusters


@pytest.fixture
def cluster_store(open_one: OpenOne, cluster: RedisCluster) -> OneStore:
    """A store of each kind in turn, in an empty cluster of three."""
    for node in cluster.nodes:
        with connect(node.url) as admin:
            admin.flushall()
    return open_one(cluster.url, cluster=True)


def test_a_cluster_holds_entries(cluster_store: OneStore, cluster: RedisCluster) -> None:
    """Entries are spread over all nodes, each with one holder."""
    ids = handoff_ids(60)
    assert all(cluster_store.consume(handoff, **entry(1)).first for handoff in ids)
    assert {cluster_store.consume(handoff, **entry(2)).holder for handoff in ids} == {redemption_id(1)}
    for node in cluster.nodes:
        with connect(node.url) as admin:
            assert 0 < admin.dbsize() < 60
    assert cluster_store.stats().entries == 60


def test_every_node_of_a_cluster_is_examined(cluster_store: OneStore, cluster: RedisCluster) -> None:
    """One primary that may evict is enough to refuse the cluster, and the report names it."""
    with connect(cluster.nodes[2].url) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(ReplayStoreError, match=f"{cluster.nodes[2].port} is allkeys-lru"):
                cluster_store.consume(handoff_id(NOW), **entry(1))
            report = cluster_store.check()
            (hazard,) = [hazard for hazard in report.hazards if hazard.code == "evicting_policy"]
            assert str(cluster.nodes[2].port) in hazard.text
        finally:
            admin.config_set("maxmemory-policy", "noeviction")
    assert cluster_store.consume(handoff_id(NOW), **entry(1)).first
    assert len([name for name in cluster_store.check().settings if name.endswith("maxmemory_policy")]) == 3


def test_a_slot_that_moves_is_followed(cluster_store: OneStore, cluster: RedisCluster) -> None:
    """While a slot is on its way to another node, and afterwards, its entry has one holder."""
    key = KEY + handoff_id(NOW)
    nodes = [connect(node.url) for node in cluster.nodes]
    names = [node.execute_command("CLUSTER MYID") for node in nodes]
    slot = nodes[0].execute_command("CLUSTER KEYSLOT", key)
    cluster_store.consume(handoff_id(NOW, 1), **entry(1))
    source = next(n for n, node in enumerate(nodes) if _serves(node, key))
    target = (source + 1) % 3
    try:
        nodes[target].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[source])
        nodes[source].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[target])
        assert cluster_store.consume(handoff_id(NOW), **entry(1)).holder == redemption_id(1)
        assert cluster_store.consume(handoff_id(NOW), **entry(2)).holder == redemption_id(1)
        for node in (nodes[target], nodes[source], nodes[3 - source - target]):
            node.execute_command("CLUSTER SETSLOT", slot, "NODE", names[target])
        assert cluster_store.consume(handoff_id(NOW), **entry(3)).holder == redemption_id(1)
        assert cluster_store.consume(handoff_id(NOW), **entry(3)).holder == redemption_id(1)
        nodes[target].delete(key)
    finally:
        for node in (nodes[source], nodes[target], nodes[3 - source - target]):
            node.execute_command("CLUSTER SETSLOT", slot, "NODE", names[source])
            node.close()


def _serves(node: Any, key: str) -> bool:
    try:
        node.get(key)
    except redis.ResponseError:
        return False
    return True


def test_a_hung_node_is_given_up_in_time(open_one: OpenOne) -> None:
    """Entries of a node that hangs are in doubt within the timeout; when it is back, they have their one holder."""
    with RedisCluster() as cluster:
        one = open_one(cluster.url, cluster=True, timeout=1)
        ids = handoff_ids(8)
        for handoff in ids[:4]:
            one.consume(handoff, **entry(1))
        cluster.nodes[1].pause()
        try:
            refused = 0
            for handoff in ids:
                start = time.monotonic()
                try:
                    assert one.consume(handoff, **entry(1)).holder == redemption_id(1)
                except ReplayStoreError:
                    refused += 1
                assert time.monotonic() - start < 1 + SLACK / 5
            assert refused > 0
        finally:
            cluster.nodes[1].resume()
        for handoff in ids:
            assert settle(lambda handoff=handoff: one.consume(handoff, **entry(1))).holder == redemption_id(1)  # type: ignore[misc]
            assert one.consume(handoff, **entry(2)).holder == redemption_id(1)


def test_an_unreachable_cluster_is_in_doubt(open_one: OpenOne) -> None:
    """Without any of its nodes a cluster gives no answer, the first time nor later."""
    with RedisCluster() as cluster:
        one = open_one(cluster.url, cluster=True)
        one.consume(handoff_id(NOW), **entry(1))
        for node in cluster.nodes:
            node.kill()
        for act in [lambda: one.consume(handoff_id(NOW), **entry(1))] * 3 + [one.check, one.stats]:
            assert timed(act) < 2 + SLACK


def test_another_node_takes_over(open_one: OpenOne) -> None:
    """When a node has died and another serves its slots, the store finds it by itself."""
    with RedisCluster() as cluster:
        one = open_one(cluster.url, cluster=True)
        ids = handoff_ids(12)
        for handoff in ids[:6]:
            one.consume(handoff, **entry(1))
        cluster.nodes[1].kill()
        survivors = [connect(cluster.nodes[number].url) for number in (0, 2)]
        lost = range(16384 // 3, 2 * 16384 // 3)
        for survivor in survivors:
            survivor.execute_command("CLUSTER DELSLOTS", *lost)
        survivors[0].execute_command("CLUSTER ADDSLOTS", *lost)
        survivors[0].execute_command("CLUSTER BUMPEPOCH")
        deadline = time.monotonic() + 20
        while any(survivor.execute_command("CLUSTER INFO")["cluster_state"] != "ok" for survivor in survivors):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for survivor in survivors:
            survivor.close()
        for handoff in ids[6:]:
            assert settle(lambda handoff=handoff: one.consume(handoff, **entry(1))).holder == redemption_id(1)  # type: ignore[misc]
            assert settle(lambda handoff=handoff: one.consume(handoff, **entry(2))).holder == redemption_id(1)  # type: ignore[misc]


def test_a_cluster_that_is_down_is_reported(open_one: OpenOne) -> None:
    """A cluster that lacks a primary refuses, and says why."""
    with RedisCluster() as cluster:
        one = open_one(cluster.url, cluster=True)
        one.consume(handoff_id(NOW), **entry(1))
        with connect(cluster.nodes[0].url) as admin:
            admin.execute_command("CLUSTER DELSLOTS", *range(100))
            deadline = time.monotonic() + 20
            while admin.execute_command("CLUSTER INFO")["cluster_state"] != "fail":
                assert time.monotonic() < deadline
                time.sleep(0.05)
        codes = {hazard.code for hazard in one.check().hazards}
        assert "cluster_down" in codes


def test_reading_from_replicas_is_refused(cluster: RedisCluster) -> None:
    """A client that sends GET to replicas would be told what they have not received yet."""
    settings: dict[str, Any] = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "retry": Retry(NoBackoff(), 0)}
    with (
        redis.RedisCluster.from_url(
            cluster.url, load_balancing_strategy=LoadBalancingStrategy.ROUND_ROBIN, **settings
        ) as client,
        pytest.raises(ConfigurationError, match="replicas"),
    ):
        RedisReplayStore(client)
    with redis.RedisCluster.from_url(cluster.url, **settings) as client:
        RedisReplayStore(client)
        with pytest.raises(ConfigurationError, match=r"socket_timeout=0\.25"):
            RedisReplayStore(client, timeout=1)


# The conformance kit

# Where other processes of a test find the server.
SERVER_URL = "GHASI_TEST_CONFORMANCE_REDIS_URL"


@pytest.fixture
def conformance_server(shared_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One server for all tests of the kit; their places are prefixes."""
    monkeypatch.setenv(SERVER_URL, shared_server.url)


def _prefix(place: Path) -> str:
    return re.sub("[^A-Za-z0-9]", "-", str(place))[-60:]


class WithItsClient(RedisReplayStore):
    """A store that closes its client, which nobody else uses."""

    @override
    def close(self) -> None:
        super().close()
        self._single.close()


class AsyncWithItsClient(AsyncRedisReplayStore):
    """A store that closes its client, which nobody else uses."""

    @override
    async def aclose(self) -> None:
        await super().aclose()
        await self._single.aclose()


@pytest.mark.usefixtures("conformance_server")
class TestRedis(ReplayStoreConformance):
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


@pytest.mark.usefixtures("conformance_server")
class TestAsyncRedis(AsyncReplayStoreConformance):
    @override
    def make_store(self, place: Path) -> AsyncRedisReplayStore:
        return AsyncWithItsClient(
            redis.asyncio.Redis.from_url(os.environ[SERVER_URL]), timeout=10, prefix=_prefix(place)
        )

    @override
    def make_failing_store(self, place: Path) -> AsyncRedisReplayStore:
        return AsyncWithItsClient(redis.asyncio.Redis.from_url("redis://127.0.0.1:1"), timeout=1, prefix=_prefix(place))

"""The store in Redis: what it sends and decides, and which servers it refuses."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from ghasi_handoff import ConfigurationError, Consumption, InvalidHandoffInputError, ReplayStoreError
from ghasi_handoff.replay import ReplayRecord
from ghasi_handoff.stores.redis import AsyncRedisReplayStore, RedisReplayStore
from ghasi_handoff.stores.redis._entries import ask, read_answers, read_trace
from tests.servers import RedisServer

from ..entries import NOW, SCOPE, entry, handoff_id, handoff_ids, redemption_id
from .redis_stores import KEY, OneStore, OpenOne, asked, connect

EVICTING = [
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
]


@pytest.fixture
def store(open_one: OpenOne, shared_server: RedisServer, admin: Any) -> OneStore:
    """A store of each kind in turn, in an empty server."""
    return open_one(shared_server.url)


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


def test_a_trace_shows_a_holder_that_is_no_utf_8(store: OneStore, admin: Any) -> None:
    """A consume refuses such a value; support sees what is there, with replacement characters."""
    admin.set(KEY + handoff_id(NOW), b"\xff\xfeabc 5")
    with pytest.raises(ReplayStoreError, match="no entry"):
        store.consume(handoff_id(NOW), **entry(1))
    assert read_trace(admin.get(KEY + handoff_id(NOW)), SCOPE).records == (ReplayRecord(SCOPE, "\ufffd\ufffdabc", 5),)


def test_a_key_of_another_type_is_in_doubt(store: OneStore, admin: Any) -> None:
    """A list where the entry should be is an error of the server, and no answer; the next consume is not disturbed."""
    admin.rpush(KEY + handoff_id(NOW), "x")
    with pytest.raises(ReplayStoreError, match=r"^Redis: ResponseError WRONGTYPE$") as caught:
        store.consume(handoff_id(NOW), **entry(1))
    assert caught.value.__cause__ is None  # a server's text may quote what was sent
    assert store.consume(handoff_id(NOW, 1), **entry(2)).first


def test_only_get_decides() -> None:
    """OK from SET means nothing if GET has no value, or another's."""
    with pytest.raises(ReplayStoreError, match="gone"):
        read_answers(asked(), b"OK", None)
    assert read_answers(asked(), b"OK", b"them 5") == Consumption("them", False, 5)
    assert read_answers(asked(), None, f"us {NOW}".encode()) == Consumption("us", False, NOW)
    assert read_answers(asked(), b"OK", f"us {NOW}".encode()) == Consumption("us", True, NOW)
    assert read_answers(asked(), b"OK", f"us {NOW - 1}".encode()) == Consumption("us", False, NOW - 1)


def test_an_error_from_set_is_in_doubt() -> None:
    """Where SET failed, GET is not believed: a read-only replica may have an entry that its primary lost."""
    with pytest.raises(ResponseError):
        read_answers(asked(), ResponseError("READONLY"), f"us {NOW}".encode())


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
    """Of 16 tasks that race for each of 100 handoffs, one becomes the holder, and all are told which."""

    async def race() -> None:
        async with redis.asyncio.Redis.from_url(shared_server.url) as client, AsyncRedisReplayStore(client) as store:
            for handoff in handoff_ids(100):
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
        monkeypatch.setattr("ghasi_handoff.stores.redis._client.time.monotonic", lambda: later)
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
    admin.mset({f"other:{number}": "x" for number in range(2500)})
    admin.set("ghasi-handoff:x", "x")
    ids = [*handoff_ids(1200), handoff_id(NOW - 50), handoff_id(NOW + 70)]
    admin.mset({KEY + handoff: "x 5" for handoff in ids})
    stats = store.stats()
    assert (stats.entries, stats.oldest_at, stats.newest_at) == (1202, NOW - 50, NOW + 70)
    assert (stats.purged_before, stats.refused, stats.outbox, stats.size_bytes) == (None,) * 4

"""The store in Redis when a server, a connection, a pool or its caller fails: in doubt in time, and then the truth."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import threading
import time
from typing import Any

import pytest
import redis
import redis.asyncio

from ghasi_handoff import Consumption, ReplayStoreError
from ghasi_handoff.stores.redis import AsyncRedisReplayStore, RedisReplayStore
from ghasi_handoff.stores.redis._task_servers import AsyncServers
from ghasi_handoff.stores.redis._thread_servers import exchange
from tests.servers import RedisServer, wait_until

from ..entries import NOW, SLACK, entry, handoff_id, handoff_ids, redemption_id
from .redis_stores import KEY, OpenOne, asked, connect, settle, timed


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
        assert timed(lambda: one.consume(handoff_id(NOW, 1), **entry(1))) < 0.6 + SLACK
        assert timed(lambda: one.consume(handoff_id(NOW, 1), **entry(1))) < 0.6 + SLACK
        assert timed(lambda: other.consume(handoff_id(NOW, 1), **entry(1))) < 0.6 + SLACK
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
            assert time.monotonic() - start < 0.6 + SLACK
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
        wait_until(lambda: not admin.info("persistence")["aof_rewrite_in_progress"], "for the append-only file")
        one.consume(handoff_id(NOW), **entry(1))
    server.kill()
    assert timed(lambda: one.consume(handoff_id(NOW), **entry(1))) < 2 + SLACK
    server.start(appendonly="yes")
    assert settle(lambda: one.consume(handoff_id(NOW), **entry(2))).holder == redemption_id(1)


@pytest.mark.parametrize("handoffs", [60, pytest.param(300, marks=pytest.mark.thorough)])
def test_cut_connections_leave_the_truth_to_a_retry(
    open_one: OpenOne, shared_server: RedisServer, admin: Any, handoffs: int
) -> None:
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
        for number, handoff in enumerate(handoff_ids(handoffs)):
            mine = settle(lambda number=number, handoff=handoff: one.consume(handoff, **entry(number)))  # type: ignore[misc]
            assert mine.holder == redemption_id(number)
    finally:
        over.set()
        cutter.join()
    for number, handoff in enumerate(handoff_ids(handoffs)):
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
            assert time.monotonic() - start < 0.3 + SLACK
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
@pytest.mark.parametrize("turns", [60, pytest.param(400, marks=pytest.mark.thorough)])
def test_cancelled_tasks_never_cross_talk(
    shared_server: RedisServer, admin: Any, turns: int, together: bool, kind: str
) -> None:
    """Tasks are cancelled at random moments: no other is ever given their answer, and no connection is lost."""
    chance = random.Random(f"{together} {kind}")

    async def cancel_some() -> None:
        pool: Any = redis.asyncio.ConnectionPool.from_url(shared_server.url, max_connections=4)
        if kind == "blocking":
            pool = redis.asyncio.BlockingConnectionPool.from_url(shared_server.url, max_connections=2, timeout=60)
        if kind == "slow":
            pool = SlowPool.from_url(shared_server.url, max_connections=4)
        async with (
            redis.asyncio.Redis(connection_pool=pool) as client,
            AsyncRedisReplayStore(client, timeout=60) as store,
        ):
            cancelled = 0
            for turn in itertools.count():
                # At random moments: as many turns more as it takes until enough were cancelled.
                if turn >= turns and cancelled > 10:
                    break
                assert turn < 10_000
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
        exchange(pool, asked())
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
            await AsyncServers(client, 2).exchange([asked()])

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

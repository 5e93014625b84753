"""The Redis store for asyncio: consumes that come while another is on its way share one round trip."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Self, TypeVar
from weakref import WeakKeyDictionary

import redis.asyncio
import redis.asyncio.client
import redis.asyncio.cluster
import redis.client
from redis import exceptions

from ghasi_handoff._limits import DEFAULT_LEEWAY
from ghasi_handoff.errors import ConfigurationError, ReplayStoreError
from ghasi_handoff.replay import Consumption, ReplayTrace, StoreGuarantees, StoreReport, StoreStats, purge_time
from ghasi_handoff.stores._deadline import DEFAULT_TIMEOUT_SECONDS, timeout_seconds
from ghasi_handoff.stores.redis._client import require_primary_reads, type_name
from ghasi_handoff.stores.redis._entries import (
    ASYNC_FAILURES,
    DEFAULT_PREFIX,
    Ask,
    Trust,
    ask,
    chained,
    entry_key,
    failure,
    key_prefix,
    read_answers,
    read_trace,
)
from ghasi_handoff.stores.redis._examination_async import count_entries, examine, require_fit

MAX_BATCH: Final = 256
_T = TypeVar("_T")


class AsyncRedisReplayStore:
    """`RedisReplayStore` for asyncio.

    A caller that is cancelled leaves the question open, never half answered: the connection is closed, because an
    answer that nobody read would go to the next caller. The same consume repeated gets the truth.

    Consumes that come while another is on its way share one connection and one round trip.

    Args:
        client: `redis.asyncio.Redis` or `redis.asyncio.cluster.RedisCluster`; never closed by the store. It may retry.
        timeout: How long a consume may take at most, waiting for a connection included. Seconds or a timedelta, up to
            60 s.
        clock: Returns Unix seconds; read only to check.
        prefix: Begins every key.

    Raises:
        ConfigurationError: An argument is not valid.
    """

    guarantees = StoreGuarantees(durable=False, shared=True, survives_failover=False, outbox=False)

    def __init__(
        self,
        client: redis.asyncio.Redis | redis.asyncio.cluster.RedisCluster,
        *,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
        prefix: str = DEFAULT_PREFIX,
    ) -> None:
        if not isinstance(client, (redis.asyncio.Redis, redis.asyncio.cluster.RedisCluster)) or isinstance(
            client, redis.asyncio.client.Pipeline
        ):
            raise ConfigurationError(
                f"client must be a redis.asyncio.Redis or redis.asyncio.RedisCluster, not {type_name(client)}"
            )
        # Any: redis-py leaves many methods without types.
        self._cluster: Any = client if isinstance(client, redis.asyncio.cluster.RedisCluster) else None
        self._single: Any = client if isinstance(client, redis.asyncio.Redis) else None
        require_primary_reads(client)
        self._timeout = timeout_seconds(timeout)
        self._clock = clock
        self._prefix = key_prefix(prefix)
        self._trust = Trust()
        self._topology_is_old = False
        self._closed = False
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()  # an event loop holds its tasks only weakly

    async def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ghasi_handoff.ReplayStore.consume`.

        Raises:
            ReplayStoreError: No sure answer within the timeout; past its retention; a server that may evict.
        """
        asked = ask(self._prefix, handoff_id, scope, redemption_id, consumed_at, retain_until)
        self._require_open(handoff_id)
        try:
            async with asyncio.timeout(self._timeout):
                answers = await self._answers(asked)
            return read_answers(asked, *answers)
        except ReplayStoreError as exc:
            self._distrust()
            # A fresh one: several callers may have been given the same.
            raise ReplayStoreError(str(exc), handoff_id=handoff_id) from exc.__cause__
        except ASYNC_FAILURES as exc:
            self._distrust()
            raise failure(exc, handoff_id) from chained(exc)

    @property
    def outbox(self) -> None:
        """None: a Redis store has no outbox."""
        return

    async def create_schema(self) -> None:
        """Does nothing: a redemption makes its key."""

    async def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """As `RedisReplayStore.purge`."""
        purge_time(now, self._clock)
        return 0

    async def check(self, *, leeway: timedelta = DEFAULT_LEEWAY) -> StoreReport:
        """As `RedisReplayStore.check`."""
        return await self._look(lambda nodes: examine(self._execute, nodes, self._clock, leeway))

    async def stats(self) -> StoreStats:
        """As `RedisReplayStore.stats`."""
        return await self._look(lambda nodes: count_entries(self._execute, nodes, self._prefix))

    async def trace(self, handoff_id: str, scope: str | None = None) -> ReplayTrace | None:
        """As `RedisReplayStore.trace`."""
        self._require_open(handoff_id)
        if scope is None:
            return None
        try:
            async with asyncio.timeout(self._timeout):
                client = self._single if self._single is not None else self._cluster
                return read_trace(await client.get(entry_key(self._prefix, scope, handoff_id)), scope)
        except ASYNC_FAILURES as exc:
            raise failure(exc, handoff_id) from chained(exc)

    async def aclose(self) -> None:
        """Let what still runs in this event loop end. The client stays as it is."""
        self._closed = True
        loop = asyncio.get_running_loop()
        running = [task for task in self._tasks if task.get_loop() is loop]
        if running:
            await asyncio.wait(running)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _require_open(self, handoff_id: str | None = None) -> None:
        if self._closed:
            raise ReplayStoreError("the store is closed", handoff_id=handoff_id)

    def _distrust(self) -> None:
        self._trust.withdraw()
        self._topology_is_old = True

    async def _answers(self, asked: Ask) -> tuple[object, object]:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = _Line()
        if not self._trust:
            await self._examined(line)
        if self._cluster is not None:
            return await self._apart(self._exchange_in_cluster(asked))
        if line.busy:
            # What comes while another is on its way goes together: one connection, one round trip.
            future: asyncio.Future[tuple[object, object]] = loop.create_future()
            line.waiting.append((asked, future))
            if line.server is None or line.server.done():  # done: cancelled before it began
                line.server = self._keep(loop.create_task(self._serve(line)))
            return await future
        line.busy = True
        try:
            (answers,) = await self._exchange([asked])
        finally:
            line.busy = line.server is not None and not line.server.done()
        return answers

    async def _examined(self, line: _Line) -> None:
        loop = asyncio.get_running_loop()
        if line.examination is not None and not line.examination.done():
            with contextlib.suppress(*ASYNC_FAILURES):  # it may have begun long ago, and end just now
                return await asyncio.shield(line.examination)
        if line.examination is None or line.examination.done():
            line.examination = self._keep(loop.create_task(self._require_fit()))
        return await asyncio.shield(line.examination)

    async def _serve(self, line: _Line) -> None:
        """Until nobody waits. In a task of its own, which no caller's cancellation ends."""
        batch: list[tuple[Ask, asyncio.Future[tuple[object, object]]]] = []
        try:
            while line.waiting:
                batch = [waiter for waiter in line.waiting[:MAX_BATCH] if not waiter[1].done()]
                del line.waiting[:MAX_BATCH]
                if not batch:
                    continue
                try:
                    async with asyncio.timeout(self._timeout):
                        answers = await self._exchange([asked for asked, _ in batch])
                except ASYNC_FAILURES as exc:
                    for asked, future in batch:
                        if not future.done():
                            error = failure(exc, asked.handoff_id)
                            error.__cause__ = chained(exc)
                            future.set_exception(error)
                else:
                    for (_, future), pair in zip(batch, answers, strict=True):
                        if not future.done():
                            future.set_result(pair)
        finally:
            line.busy = False
            line.server = None
            # Only if this task was cancelled with its event loop, or a client raised what it should not.
            for asked, future in (*batch, *line.waiting):
                if not future.done():
                    future.set_exception(ReplayStoreError("Redis: the batch was ended", handoff_id=asked.handoff_id))
            line.waiting.clear()

    async def _apart(self, work: Coroutine[Any, Any, _T]) -> _T:
        """In a task of its own, which goes on when the caller is cancelled, so that no connection is left half read."""
        return await asyncio.shield(self._keep(asyncio.get_running_loop().create_task(work)))

    def _keep(self, task: asyncio.Task[_T]) -> asyncio.Task[_T]:
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # or asyncio complains, when the caller has left

    async def _look(self, examination: Callable[[Sequence[str | None]], Awaitable[_T]]) -> _T:
        self._require_open()

        async def look() -> _T:
            return await examination(await self._nodes())

        try:
            return await self._apart(look())
        except ASYNC_FAILURES as exc:
            self._distrust()
            raise failure(exc, None) from chained(exc)

    async def _require_fit(self) -> None:
        async with asyncio.timeout(self._timeout):
            await require_fit(self._execute, await self._nodes())
        self._trust.grant()

    async def _nodes(self) -> Sequence[str | None]:
        if self._cluster is None:
            return [None]
        async with asyncio.timeout(self._timeout):
            await self._cluster.initialize()
            if self._topology_is_old:
                await self._cluster.nodes_manager.initialize()
                self._topology_is_old = False
        return [node.name for node in self._cluster.get_primaries()]

    async def _execute(self, words: tuple[str | int, ...], node: str | None) -> Any:
        async with asyncio.timeout(self._timeout):
            if self._single is not None:
                return await self._single.execute_command(*words)
            found = self._cluster.get_node(node_name=node)
            if found is None:
                raise exceptions.ConnectionError("the node has left the cluster")
            return await found.execute_command(*words)

    async def _exchange(self, batch: Sequence[Ask]) -> list[tuple[object, object]]:
        """All commands and all answers over one connection of the client's pool."""
        pool = self._single.connection_pool
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command(connection.pack_commands(_commands(batch)))
            answers: list[object] = []
            for _ in range(2 * len(batch)):
                try:
                    answers.append(await connection.read_response(disable_decoding=True))
                except exceptions.ResponseError as exc:
                    answers.append(exc)
        except BaseException:
            # Cancelled or failed, perhaps with an answer still to come, which the next caller would get.
            await self._apart(_drop(pool, connection))
            raise
        try:
            await pool.release(connection)
        except asyncio.CancelledError:
            await self._apart(_drop(pool, connection))
            raise
        return list(zip(answers[::2], answers[1::2], strict=True))

    async def _exchange_in_cluster(self, asked: Ask) -> tuple[object, object]:
        pipeline = self._cluster.pipeline(transaction=False)
        pipeline.execute_command(*asked.set_command)
        pipeline.execute_command(*asked.get_command, **{redis.client.NEVER_DECODE: True})
        async with asyncio.timeout(self._timeout):
            set_answer, get_answer = await pipeline.execute()
        return set_answer, get_answer


class _Line:
    """The callers of one event loop."""

    __slots__ = ("busy", "examination", "server", "waiting")

    def __init__(self) -> None:
        self.busy = False  # a consume is on its way
        self.examination: asyncio.Task[None] | None = None  # one for all who find the servers not examined
        self.server: asyncio.Task[None] | None = None  # sends those that wait
        self.waiting: list[tuple[Ask, asyncio.Future[tuple[object, object]]]] = []


def _commands(batch: Iterable[Ask]) -> list[tuple[str | bytes | int, ...]]:
    return [command for asked in batch for command in (asked.set_command, asked.get_command)]


async def _drop(pool: Any, connection: Any) -> None:
    """Close a connection and give it back, to be opened anew by whoever takes it next."""
    try:
        await connection.disconnect(nowait=True)
    finally:
        # KeyError: a release that was cancelled had already taken it back.
        with contextlib.suppress(KeyError):
            await pool.release(connection)

"""Consumes of tasks -> SET and GET over one connection -> both answers. The application's client, as the store uses it.

Consumes that come while another is on its way go together: one connection, one round trip.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import redis.asyncio
import redis.asyncio.client
import redis.asyncio.cluster
import redis.client
from redis import exceptions

from ghasi_handoff._limits import MAX_BATCH
from ghasi_handoff.errors import ConfigurationError, ReplayStoreError
from ghasi_handoff.stores.redis._client import ASYNC_FAILURES, Trust, chained, failure, require_primary_reads, type_name
from ghasi_handoff.stores.redis._entries import Answers, Ask
from ghasi_handoff.stores.redis._examination_async import Execute, require_fit

_T = TypeVar("_T")


class AsyncServers:
    """One server, or the primaries of a cluster, for asyncio.

    No caller that is cancelled leaves a connection with an answer that nobody read: the next caller would get it.
    """

    def __init__(self, client: redis.asyncio.Redis | redis.asyncio.cluster.RedisCluster, timeout: float) -> None:
        if not isinstance(client, (redis.asyncio.Redis, redis.asyncio.cluster.RedisCluster)) or isinstance(
            client, redis.asyncio.client.Pipeline
        ):
            raise ConfigurationError(
                f"client must be a redis.asyncio.Redis or redis.asyncio.RedisCluster, not {type_name(client)}"
            )
        require_primary_reads(client)
        # Any: redis-py leaves many methods without types.
        self._client: Any = client
        self._in_cluster = isinstance(client, redis.asyncio.cluster.RedisCluster)
        self._timeout = timeout
        self.trust = Trust()
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()  # an event loop holds its tasks only weakly

    async def answers(self, asked: Ask) -> Answers:
        """The answers to SET and GET, from servers that were found fit."""
        async with asyncio.timeout(self._timeout):
            return await self._answers(asked)

    async def ask_all(self, examination: Callable[[Execute, Sequence[str | None]], Awaitable[_T]]) -> _T:
        """What `examination` finds; it can execute commands on each server. In time, command by command."""

        async def ask() -> _T:
            return await examination(self._execute, await self._nodes())

        return await self._apart(ask())

    async def get(self, key: str) -> object:
        """The value of a key."""
        async with asyncio.timeout(self._timeout):
            return await self._client.get(key)

    async def aclose(self) -> None:
        """Let what still runs in this event loop end."""
        loop = asyncio.get_running_loop()
        running = [task for task in self._tasks if task.get_loop() is loop]
        if running:
            await asyncio.wait(running)

    async def _answers(self, asked: Ask) -> Answers:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = _Line()
        if not self.trust:
            await self._examined(line)
        if self._in_cluster:
            return await self._apart(self._exchange_in_cluster(asked))
        if line.busy:
            future: asyncio.Future[Answers] = loop.create_future()
            line.waiting.append((asked, future))
            if line.server is None or line.server.done():  # done: cancelled before it began
                line.server = self._keep(loop.create_task(self._serve(line)))
            return await future
        line.busy = True
        try:
            (answers,) = await self.exchange([asked])
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
        batch: list[tuple[Ask, asyncio.Future[Answers]]] = []
        try:
            while line.waiting:
                batch = [waiter for waiter in line.waiting[:MAX_BATCH] if not waiter[1].done()]
                del line.waiting[:MAX_BATCH]
                if not batch:
                    continue
                try:
                    async with asyncio.timeout(self._timeout):
                        answers = await self.exchange([asked for asked, _ in batch])
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

    async def _require_fit(self) -> None:
        async with asyncio.timeout(self._timeout):
            await require_fit(self._execute, await self._nodes())
        self.trust.grant()

    async def _nodes(self) -> Sequence[str | None]:
        if not self._in_cluster:
            return [None]
        async with asyncio.timeout(self._timeout):
            await self._client.initialize()
            if self.trust.topology_is_old:
                await self._client.nodes_manager.initialize()
                self.trust.topology_is_old = False
        return [node.name for node in self._client.get_primaries()]

    async def _execute(self, words: tuple[str | int, ...], node: str | None) -> Any:
        async with asyncio.timeout(self._timeout):
            if not self._in_cluster:
                return await self._client.execute_command(*words)
            found = self._client.get_node(node_name=node)
            if found is None:
                raise exceptions.ConnectionError("the node has left the cluster")
            return await found.execute_command(*words)

    async def exchange(self, batch: Sequence[Ask]) -> list[Answers]:
        """All commands and all answers over one connection of the client's pool."""
        pool = self._client.connection_pool
        connection = await pool.get_connection()
        try:
            commands = [command for asked in batch for command in (asked.set_command, asked.get_command)]
            await connection.send_packed_command(connection.pack_commands(commands))
            answers: list[object] = []
            for _ in commands:
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

    async def _exchange_in_cluster(self, asked: Ask) -> Answers:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.execute_command(*asked.set_command)
        pipeline.execute_command(*asked.get_command, **{redis.client.NEVER_DECODE: True})
        async with asyncio.timeout(self._timeout):
            set_answer, get_answer = await pipeline.execute()
        return set_answer, get_answer


@dataclass(slots=True)
class _Line:
    """The callers of one event loop."""

    busy: bool = False  # a consume is on its way
    examination: asyncio.Task[None] | None = None  # one for all who find the servers not examined
    server: asyncio.Task[None] | None = None  # sends those that wait
    waiting: list[tuple[Ask, asyncio.Future[Answers]]] = field(default_factory=list)


async def _drop(pool: Any, connection: Any) -> None:
    """Close a connection and give it back, to be opened anew by whoever takes it next."""
    try:
        await connection.disconnect(nowait=True)
    finally:
        # KeyError: a release that was cancelled had already taken it back.
        with contextlib.suppress(KeyError):
            await pool.release(connection)

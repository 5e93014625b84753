"""A replay store in Redis or Valkey, one server or a cluster: shared by many machines, at the lowest latency.

A consume is ``SET key "holder consumed_at" NX PX ms`` and ``GET key`` in one round trip. What GET answers decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Self, TypeVar

import redis
import redis.client
import redis.cluster
from redis import exceptions

from ghasi_handoff._limits import DEFAULT_LEEWAY
from ghasi_handoff.errors import ConfigurationError, ReplayStoreError
from ghasi_handoff.replay import Consumption, ReplayTrace, StoreGuarantees, StoreReport, StoreStats, purge_time
from ghasi_handoff.stores._deadline import DEFAULT_TIMEOUT_SECONDS, timeout_seconds
from ghasi_handoff.stores.redis._client import require_bounded, require_primary_reads, type_name
from ghasi_handoff.stores.redis._entries import (
    DEFAULT_PREFIX,
    FAILURES,
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
from ghasi_handoff.stores.redis._examination import count_entries, examine, require_fit

_REDIRECTIONS: Final = (exceptions.AskError, exceptions.TryAgainError)  # MovedError is an AskError
_T = TypeVar("_T")


class RedisReplayStore:
    """Entries in Redis or Valkey, which forgets each by itself once no token can need it.

    A server that may evict keys, or is no primary, is refused: the store asks before its first consume, every minute,
    and after any error. That needs the command INFO.

    A key's life is counted by the server from the consume, so a verifier whose clock is hours behind could accept, and
    pass on, a token that was forgotten here long ago: keep clocks synchronised. `check` compares them.

    Not durable in the strict sense: with ``appendfsync everysec`` a crash of the machine can lose the last second, and
    a failover the last writes. What was lost can be redeemed again.

    Args:
        client: `redis.Redis` or `redis.cluster.RedisCluster`; never closed by the store. Its ``socket_timeout`` and
            ``socket_connect_timeout`` together must fit in `timeout` (for a cluster twice), without retries.
        timeout: How long a consume may take at most. Seconds or a timedelta, up to 60 s.
        clock: Returns Unix seconds; read only to check.
        prefix: Begins every key.

    Raises:
        ConfigurationError: An argument is not valid, or the client could wait longer than `timeout`.
    """

    guarantees = StoreGuarantees(durable=False, shared=True, survives_failover=False, outbox=False)

    def __init__(
        self,
        client: redis.Redis | redis.cluster.RedisCluster,
        *,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
        prefix: str = DEFAULT_PREFIX,
    ) -> None:
        if not isinstance(client, (redis.Redis, redis.cluster.RedisCluster)) or isinstance(
            client, (redis.client.Pipeline, redis.cluster.ClusterPipeline)
        ):
            raise ConfigurationError(f"client must be a redis.Redis or RedisCluster, not {type_name(client)}")
        # Any: redis-py leaves many methods without types.
        self._cluster: Any = client if isinstance(client, redis.cluster.RedisCluster) else None
        self._single: Any = client if isinstance(client, redis.Redis) else None
        self._timeout = timeout_seconds(timeout)
        require_primary_reads(client)
        require_bounded(client, self._timeout)
        self._clock = clock
        self._prefix = key_prefix(prefix)
        self._trust = Trust()
        self._topology_is_old = False
        self._closed = False

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ghasi_handoff.ReplayStore.consume`.

        Raises:
            ReplayStoreError: No sure answer within the timeout; past its retention; a server that may evict.
        """
        asked = ask(self._prefix, handoff_id, scope, redemption_id, consumed_at, retain_until)
        self._require_open(handoff_id)
        try:
            if not self._trust:
                require_fit(self._execute, self._nodes())
                self._trust.grant()
            return read_answers(asked, *self._exchange(asked))
        except ReplayStoreError as exc:
            self._distrust()
            raise ReplayStoreError(str(exc), handoff_id=handoff_id) from exc.__cause__
        except FAILURES as exc:
            self._distrust()
            raise failure(exc, handoff_id) from chained(exc)

    @property
    def outbox(self) -> None:
        """None: a Redis store has no outbox."""
        return

    def create_schema(self) -> None:
        """Does nothing: a redemption makes its key."""

    def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Does nothing, as keys expire by themselves. Returns 0.

        Args:
            now: As for other stores; only checked.
            progress: Never called.

        Raises:
            ConfigurationError: `now` or the clock's reading is no time.
        """
        purge_time(now, self._clock)
        return 0

    def check(self, *, leeway: timedelta = DEFAULT_LEEWAY) -> StoreReport:
        """Ask the live server, or every primary of a cluster, for everything that could break the store's promises.

        Args:
            leeway: How far its clock may be from ours.

        Raises:
            ReplayStoreError: A server cannot be asked.
        """
        return self._look(lambda nodes: examine(self._execute, nodes, self._clock, leeway))

    def stats(self) -> StoreStats:
        """Count the entries. Looks through all keys of the server, a thousand at a time, without blocking it.

        Raises:
            ReplayStoreError: A server cannot be asked.
        """
        return self._look(lambda nodes: count_entries(self._execute, nodes, self._prefix))

    def trace(self, handoff_id: str, scope: str | None = None) -> ReplayTrace | None:
        """Who holds a handoff, for support. Redis notes no refusals. Changes nothing.

        Args:
            handoff_id: The handoff.
            scope: The text of its `Scope`. It is a part of the key: without it the answer is None.

        Raises:
            ReplayStoreError: The server cannot be asked.
        """
        self._require_open(handoff_id)
        if scope is None:
            return None
        try:
            client = self._single if self._single is not None else self._cluster
            return read_trace(client.get(entry_key(self._prefix, scope, handoff_id)), scope)
        except FAILURES as exc:
            raise failure(exc, handoff_id) from chained(exc)

    def close(self) -> None:
        """The store cannot be used afterwards. The client stays as it is."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _require_open(self, handoff_id: str | None = None) -> None:
        if self._closed:
            raise ReplayStoreError("the store is closed", handoff_id=handoff_id)

    def _distrust(self) -> None:
        self._trust.withdraw()
        self._topology_is_old = True

    def _look(self, examination: Callable[[Sequence[str | None]], _T]) -> _T:
        self._require_open()
        try:
            return examination(self._nodes())
        except FAILURES as exc:
            self._distrust()
            raise failure(exc, None) from chained(exc)

    def _nodes(self) -> Sequence[str | None]:
        if self._cluster is None:
            return [None]
        if self._topology_is_old:
            self._cluster.nodes_manager.initialize()
            self._topology_is_old = False
        return [node.name for node in self._cluster.get_primaries()]

    def _execute(self, words: tuple[str | int, ...], node: str | None) -> Any:
        return self._client_of(node).execute_command(*words)

    def _client_of(self, node: str | None) -> Any:
        if self._single is not None:
            return self._single
        found = self._cluster.get_node(node_name=node)
        if found is None:
            raise exceptions.ConnectionError("the node has left the cluster")
        return self._cluster.get_redis_connection(found)

    def _exchange(self, asked: Ask) -> tuple[object, object]:
        if self._single is not None:
            return exchange(self._single.connection_pool, asked)
        node = self._cluster.get_node_from_key(asked.key)
        answers = exchange(self._cluster.get_redis_connection(node).connection_pool, asked)
        if not any(isinstance(answer, _REDIRECTIONS) for answer in answers):
            return answers
        # The slot moves, or has moved. redis-py follows, but waits for each command, so this isn't the usual way.
        self._trust.withdraw()  # the next consume finds, and examines, the node that has the slot now
        pipeline = self._cluster.pipeline(transaction=False)
        pipeline.execute_command(*asked.set_command)
        pipeline.execute_command(*asked.get_command, **{redis.client.NEVER_DECODE: True})
        set_answer, get_answer = pipeline.execute(raise_on_error=False)
        return set_answer, get_answer


def exchange(pool: Any, asked: Ask) -> tuple[object, object]:
    """Both commands and both answers over one connection. A pipeline, without what it adds."""
    connection = pool.get_connection()
    answers: list[object] = []
    try:
        connection.send_packed_command(connection.pack_commands([asked.set_command, asked.get_command]))
        for _ in range(2):
            try:
                answers.append(connection.read_response(disable_decoding=True))
            except exceptions.ResponseError as exc:
                answers.append(exc)
    finally:
        # Whatever went wrong: a connection with an answer that nobody read would give it to the next caller.
        if len(answers) != 2:
            connection.disconnect()
        pool.release(connection)
    return answers[0], answers[1]

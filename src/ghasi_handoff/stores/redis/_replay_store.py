# Generated from _replay_store_async.py by tools/sync_twins.py. Do not edit.
"""A replay store in Redis or Valkey, one server or a cluster: shared by many machines, at the lowest latency.

A consume is ``SET key "holder consumed_at" NX PX ms`` and ``GET key`` in one round trip. What GET answers decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import redis
import redis.cluster

from ghasi_handoff._limits import DEFAULT_LEEWAY, DEFAULT_REDIS_PREFIX, DEFAULT_STORE_TIMEOUT_SECONDS
from ghasi_handoff._store_reports import ReplayTrace, StoreReport, StoreStats
from ghasi_handoff.replay import Consumption, StoreGuarantees, purge_time, timeout_seconds
from ghasi_handoff.stores._maintained import Closing
from ghasi_handoff.stores._opening import REPLAY_STORE
from ghasi_handoff.stores.redis._client import FAILURES, translated
from ghasi_handoff.stores.redis._entries import ask, entry_key, key_prefix, read_answers, read_trace
from ghasi_handoff.stores.redis._examination import count_entries, examine
from ghasi_handoff.stores.redis._thread_servers import Servers


class RedisReplayStore(Closing):
    """Entries in Redis or Valkey, which forgets each by itself once no token can need it, for threads.

    A server that may evict keys, or is no primary, is refused: the store asks before its first consume, every minute,
    and after any error. That needs the command INFO.

    A key's life is counted by the server from the consume, so a verifier whose clock is hours behind could accept, and
    pass on, a token that was forgotten here long ago: keep clocks synchronised. `check` compares them.

    Not durable in the strict sense: with ``appendfsync everysec`` a crash of the machine can lose the last second, and
    a failover the last writes. What was lost can be redeemed again.

    A caller whose time is up leaves the question open, never half answered: the same consume repeated gets the truth.

    Args:
        client: `redis.Redis` or `redis.cluster.RedisCluster`; never closed by the store. Nothing can end its wait from
            outside, so it must be bounded: its ``socket_timeout`` and ``socket_connect_timeout`` together must fit in
            `timeout` (for a cluster twice), without retries.
        timeout: How long a consume may take, waiting for a connection included: seconds or a timedelta, at most 60 s.
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
        timeout: float | timedelta = DEFAULT_STORE_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
        prefix: str = DEFAULT_REDIS_PREFIX,
    ) -> None:
        self._servers = Servers(client, timeout_seconds(timeout))
        self._clock = clock
        self._prefix = key_prefix(prefix)
        self._closed = False

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ghasi_handoff.ReplayStore.consume`.

        Raises:
            ReplayStoreError: The outcome is unknown within the timeout; past its retention; a server that may evict.
        """
        asked = ask(self._prefix, handoff_id, scope, redemption_id, consumed_at, retain_until)
        self._require_open(handoff_id)
        with translated(FAILURES, self._servers.trust, handoff_id):
            return read_answers(asked, *self._servers.answers(asked))

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
        self._require_open()
        with translated(FAILURES, self._servers.trust, None):
            return self._servers.ask_all(lambda execute, nodes: examine(execute, nodes, self._clock, leeway))

    def stats(self) -> StoreStats:
        """Count the entries. Looks through all keys of the server, a thousand at a time, without blocking it.

        Raises:
            ReplayStoreError: A server cannot be asked.
        """
        self._require_open()
        with translated(FAILURES, self._servers.trust, None):
            return self._servers.ask_all(lambda execute, nodes: count_entries(execute, nodes, self._prefix))

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
        with translated(FAILURES, self._servers.trust, handoff_id):
            return read_trace(self._servers.get(entry_key(self._prefix, scope, handoff_id)), scope)

    def close(self) -> None:
        """Let what still runs end. The client stays as it is. The store cannot be used afterwards."""
        self._closed = True
        self._servers.close()

    def _require_open(self, handoff_id: str | None = None) -> None:
        if self._closed:
            raise REPLAY_STORE.closed(handoff_id)

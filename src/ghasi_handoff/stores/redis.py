"""A replay store in Redis or Valkey, one server or a cluster: shared by many machines, at the lowest latency.

A consume is ``SET key "holder consumed_at" NX PX ms`` and ``GET key`` in one round trip. What GET answers decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self, TypeAlias, TypeVar
from urllib.parse import quote
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
import redis.asyncio.client
import redis.asyncio.cluster
import redis.client
import redis.cluster
from redis import exceptions

from ghasi_handoff._encoding import read_clock
from ghasi_handoff._signing_string import as_handoff_id, handoff_id_seconds
from ghasi_handoff.errors import ConfigurationError, InvalidHandoffInputError, ReplayStoreError
from ghasi_handoff.replay import (
    DEFAULT_LEEWAY,
    Consumption,
    Hazard,
    ReplayRecord,
    ReplayTrace,
    StoreGuarantees,
    StoreReport,
    StoreStats,
    check_entry,
    clock_hazards,
    purge_time,
)
from ghasi_handoff.stores._deadline import DEFAULT_TIMEOUT_SECONDS, timeout_seconds

__all__ = ["AsyncRedisReplayStore", "RedisReplayStore"]

DEFAULT_PREFIX: Final = "ghasi-handoff"
MIN_REDIS_VERSION: Final = (6, 0)
SAFE_POLICY: Final = "noeviction"
# How long a server that was found fit is trusted. Asked again at once after any error.
TRUSTED_SECONDS: Final = 60.0
SCAN_COUNT: Final = 1000
MAX_BATCH: Final = 256
HANDOFF_ID_LENGTH: Final = 36

_is_prefix: Final = re.compile("[A-Za-z0-9._:/-]{1,64}").fullmatch
_parse_value: Final = re.compile(rb"(.+) (0|[1-9][0-9]{0,11})", re.DOTALL).fullmatch
_parse_version: Final = re.compile(r"(\d+)\.(\d+)").match
_is_error_word: Final = re.compile("[A-Z]{2,20}").fullmatch

# RedisClusterException is no RedisError. asyncio's TimeoutError is an OSError.
_FAILURES: Final = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
_REDIRECTIONS: Final = (exceptions.AskError, exceptions.TryAgainError)  # MovedError is an AskError
# What redis-py raises when a connection was opened in an event loop that has ended.
_ASYNC_FAILURES: Final = (*_FAILURES, RuntimeError)

_SyncClient: TypeAlias = "redis.Redis | redis.cluster.RedisCluster"
_AsyncClient: TypeAlias = "redis.asyncio.Redis | redis.asyncio.cluster.RedisCluster"
_T = TypeVar("_T")


# The pure core


class Ask(NamedTuple):
    """A consume, as Redis is asked for it."""

    handoff_id: str
    redemption_id: str
    consumed_at: int
    key: str
    value: bytes
    milliseconds: int

    @property
    def set_command(self) -> tuple[str | bytes | int, ...]:
        """Takes the key, unless it is taken."""
        return "SET", self.key, self.value, "NX", "PX", self.milliseconds

    @property
    def get_command(self) -> tuple[str, str]:
        """Tells who has the key."""
        return "GET", self.key


class Command(NamedTuple):
    """One step of an examination: a command, for one node of a cluster or for the only server."""

    words: tuple[str | int, ...]
    node: str | None


_Examination: TypeAlias = Generator[Command, Any, _T]


def key_prefix(prefix: str) -> str:
    """The prefix of all keys of a store.

    Raises:
        ConfigurationError: It is outside the grammar. So it has no wildcard, and no hash tag that would put all keys on
            one node of a cluster.
    """
    if not isinstance(prefix, str) or not _is_prefix(prefix):
        raise ConfigurationError("prefix must be 1 to 64 characters of A-Z a-z 0-9 . _ : / -")
    return prefix


@lru_cache(maxsize=256)
def _quoted_scope(scope: str) -> str:
    # Neither the scope's part nor the id has a colon: no two entries, even of different prefixes, share a key.
    return quote(scope, safe="", errors="surrogatepass")


def ask(prefix: str, handoff_id: str, scope: str, redemption_id: str, consumed_at: int, retain_until: int) -> Ask:
    """What Redis is asked for an entry.

    Raises:
        InvalidHandoffInputError: See `check_entry`; or a redemption id that UTF-8 cannot encode.
        ReplayStoreError: See `check_entry`.
    """
    check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
    try:
        value = f"{redemption_id} {consumed_at}".encode()
    except UnicodeEncodeError:
        raise InvalidHandoffInputError("redemption_id must be text that UTF-8 can encode") from None
    # Counted from the id's own time, so that no caller's clock shortens it: the key outlives retain_until by as much as
    # the consume was later. An id ahead of the caller's clock is counted from that clock, which lengthens it.
    # Never PXAT: with a time that is past by the server's clock, it answers OK and stores nothing.
    seconds = retain_until - min(handoff_id_seconds(handoff_id), consumed_at)
    key = f"{prefix}:{_quoted_scope(scope)}:{handoff_id}"
    return Ask(handoff_id, redemption_id, consumed_at, key, value, 1000 * seconds)


def read_answers(asked: Ask, set_answer: object, get_answer: object) -> Consumption:
    """Who holds the handoff, by the answer to GET alone.

    Raises:
        ReplayStoreError: In doubt: an error, no value, or one that is not ours to read.
        RedisError: The server refused one of the commands.
    """
    for answer in (set_answer, get_answer):
        # Even if GET has a value: a read-only replica has one that its primary may not have.
        if isinstance(answer, Exception):
            raise answer
    if isinstance(get_answer, str):
        get_answer = get_answer.encode("utf-8", "surrogateescape")
    if get_answer is None:
        raise ReplayStoreError(
            "Redis: the entry was gone at once: evicted, deleted, or expired", handoff_id=asked.handoff_id
        )
    match = _parse_value(get_answer) if isinstance(get_answer, bytes) else None
    try:
        holder = match[1].decode() if match else ""
    except UnicodeDecodeError:
        holder = ""
    if match is None or not holder:
        raise ReplayStoreError("Redis: the key holds a value that is no entry", handoff_id=asked.handoff_id)
    consumed_at = int(match[2])
    ours = holder == asked.redemption_id and consumed_at == asked.consumed_at
    return Consumption(
        holder, first=set_answer is not None and set_answer is not False and ours, consumed_at=consumed_at
    )


def error_text(exc: BaseException) -> str:
    """What an operator is told. Of the server's text at most the first word: it may quote what was sent."""
    name = type(exc).__name__
    if type(exc) is exceptions.ResponseError:
        word = str(exc).partition(" ")[0]
        if _is_error_word(word):
            return f"Redis: {name} {word}"
    return f"Redis: {name}"


def failure(exc: BaseException, handoff_id: str | None) -> ReplayStoreError:
    """`exc` as the error of a store."""
    return ReplayStoreError(error_text(exc), handoff_id=handoff_id)


def chained(exc: BaseException) -> BaseException | None:
    """`exc` as a cause to show, unless its text may quote what was sent."""
    harmless = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, RuntimeError)
    return exc if isinstance(exc, harmless) else None


class Trust:
    """Whether the servers were lately found fit to hold entries. A race of threads makes one more examination."""

    def __init__(self) -> None:
        self._until = 0.0

    def __bool__(self) -> bool:
        return time.monotonic() < self._until

    def grant(self) -> None:
        """They were examined just now."""
        self._until = time.monotonic() + TRUSTED_SECONDS

    def withdraw(self) -> None:
        """The next connection may be to another server."""
        self._until = 0.0


def require_fit(nodes: Sequence[str | None]) -> _Examination[None]:
    """Refuse servers that could forget an entry before its time, or that are no primary.

    Raises:
        ReplayStoreError: As said.
    """
    for node in nodes:
        info = yield Command(("INFO",), node)
        where = f" of {node}" if node else ""
        role, policy = info.get("role"), info.get("maxmemory_policy")
        if role != "master":
            raise ReplayStoreError(f"Redis: refused: the role{where} is {_plain(role)}, not master")
        if policy != SAFE_POLICY:
            raise ReplayStoreError(
                f"Redis: refused: maxmemory_policy{where} is {_plain(policy)}, not {SAFE_POLICY}: entries could be"
                " evicted, and their handoffs replayed"
            )


def examine(nodes: Sequence[str | None], clock: Callable[[], float], leeway: timedelta) -> _Examination[StoreReport]:
    """Ask every node for what could break the store's promises."""
    settings: dict[str, str] = {}
    found: list[Hazard] = []
    servers: list[str] = []
    for node in nodes:
        info = yield Command(("INFO",), node)
        seconds, microseconds = yield Command(("TIME",), node)
        theirs = int(seconds) + int(microseconds) / 1_000_000
        ours = read_clock(clock)
        try:
            config = yield Command(("CONFIG GET", "appendfsync"), node)
        except exceptions.ResponseError:  # blocked, as on many managed servers
            config = {}
        facts = {
            name: _plain(info.get(name))
            for name in ("role", "maxmemory_policy", "maxmemory", "used_memory", "evicted_keys", "aof_enabled")
        }
        if isinstance(config, Mapping):
            facts.update({_plain(name): _plain(value) for name, value in config.items()})
        where = f"{node}: " if node else ""
        settings.update({f"{where}{name}": value for name, value in facts.items()})
        servers.append(_server(info))
        hazards = [*_node_hazards(facts, _plain(info.get("redis_version"))), *clock_hazards(ours, theirs, None, leeway)]
        found += [Hazard(hazard.code, where + hazard.text, hazard.remedy) for hazard in hazards]
        if node is not None:
            cluster = yield Command(("CLUSTER INFO",), node)
            state = _plain(cluster.get("cluster_state"))
            if state != "ok":
                found.append(
                    Hazard(
                        "cluster_down",
                        f"{where}cluster_state is {state}: it refuses consumes",
                        "bring back the primaries whose slots nobody serves",
                    )
                )
    return StoreReport(", ".join(dict.fromkeys(servers)), settings, tuple(found))


def _node_hazards(facts: Mapping[str, str], version: str) -> list[Hazard]:
    numbers = _parse_version(version)
    policy, role, evicted = facts["maxmemory_policy"], facts["role"], facts["evicted_keys"]
    needed = ".".join(map(str, MIN_REDIS_VERSION))
    return [
        Hazard(code, text, remedy)
        for present, code, text, remedy in (
            (
                policy != SAFE_POLICY,
                "evicting_policy",
                f"maxmemory_policy is {policy}: an evicted entry could be replayed, so every consume is refused",
                f"set maxmemory-policy {SAFE_POLICY}; use a server of its own for a cache",
            ),
            (
                evicted != "0",
                "evicted_keys",
                f"evicted_keys is {evicted}: the server has evicted keys since its start; entries may be among them",
                f"set maxmemory-policy {SAFE_POLICY}, then CONFIG RESETSTAT",
            ),
            (
                facts["aof_enabled"] != "1",
                "aof_off",
                "the append-only file is off: a restart forgets entries, and their handoffs could be replayed",
                "set appendonly yes, and appendfsync everysec or always",
            ),
            (
                role != "master",
                "replica",
                f"the role is {role}: a replica may lack entries, so every consume is refused",
                "name the primary",
            ),
            (
                numbers is None or (int(numbers[1]), int(numbers[2])) < MIN_REDIS_VERSION,
                "old_server",
                f"the server is compatible with Redis {version}; {needed} or newer is needed",
                "update the server",
            ),
        )
        if present
    ]


def _server(info: Mapping[str, Any]) -> str:
    if "valkey_version" in info:
        return f"Valkey {_plain(info['valkey_version'])}"
    return f"Redis {_plain(info.get('redis_version'))}"


def count_entries(nodes: Sequence[str | None], prefix: str) -> _Examination[StoreStats]:
    """Look through the keys, some at a time."""
    entries = 0
    oldest: str | None = None
    newest: str | None = None
    for node in nodes:
        cursor = 0
        while True:
            position, keys = yield Command(("SCAN", cursor, "MATCH", f"{prefix}:*", "COUNT", SCAN_COUNT), node)
            for key in keys:
                handoff_id = as_handoff_id(_plain(key)[-HANDOFF_ID_LENGTH:])
                if handoff_id is not None:
                    entries += 1
                    oldest = handoff_id if oldest is None else min(oldest, handoff_id)
                    newest = handoff_id if newest is None else max(newest, handoff_id)
            cursor = int(position)
            if cursor == 0:
                break
    return StoreStats(
        entries=entries,
        oldest_at=None if oldest is None else handoff_id_seconds(oldest),
        newest_at=None if newest is None else handoff_id_seconds(newest),
        purged_before=None,
        refused=None,
        outbox=None,
        size_bytes=None,
    )


def _plain(value: object) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def require_bounded(client: _SyncClient, timeout: float) -> None:
    """Refuse a client that could wait longer than the store's timeout: no thread can be made to give up a socket.

    Raises:
        ConfigurationError: As said, with what to set.
    """
    wait: object = 0.0
    by_path = False
    settings: dict[str, Any]
    if isinstance(client, redis.cluster.RedisCluster):
        settings = client.nodes_manager.connection_kwargs
        retries = client.retry.get_retries()
        rounds = 2  # one node hangs: it may be asked for the cluster's topology, and for the entry
    else:
        pool = client.connection_pool
        settings = pool.connection_kwargs
        retry = settings.get("retry")
        asks_again = settings.get("retry_on_error") or settings.get("retry_on_timeout")
        retries = retry.get_retries() if retry is not None else int(bool(asks_again))
        if isinstance(pool, redis.BlockingConnectionPool):
            wait = pool.timeout
        by_path = issubclass(pool.connection_class, redis.UnixDomainSocketConnection)
        rounds = 1
    connect = 0.0 if by_path else settings.get("socket_connect_timeout")
    waits = (wait, connect, settings.get("socket_timeout"))
    total = 0.0
    for seconds, positive in zip(waits, (False, not by_path, True), strict=True):
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or (positive and seconds <= 0):
            total = float("inf")
        else:
            total += rounds * seconds
    if retries != 0 or not total <= timeout:
        share = timeout / 2 / rounds
        raise ConfigurationError(
            f"client: it could wait longer than the store's timeout of {timeout:g} s; make it with"
            f" socket_connect_timeout={share:g}, socket_timeout={share:g} and retry=Retry(NoBackoff(), 0)"
            + (", and a pool whose own timeout fits in, too" if wait != 0 else "")
        )


def _require_primary_reads(client: object) -> None:
    if getattr(client, "read_from_replicas", False) or getattr(client, "load_balancing_strategy", None):
        raise ConfigurationError("client: it reads from replicas, which may lack entries; leave that off")


# The stores


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
        client: _SyncClient,
        *,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
        prefix: str = DEFAULT_PREFIX,
    ) -> None:
        if not isinstance(client, (redis.Redis, redis.cluster.RedisCluster)) or isinstance(
            client, (redis.client.Pipeline, redis.cluster.ClusterPipeline)
        ):
            raise ConfigurationError(f"client must be a redis.Redis or RedisCluster, not {_type_name(client)}")
        # Any: redis-py leaves many methods without types.
        self._cluster: Any = client if isinstance(client, redis.cluster.RedisCluster) else None
        self._single: Any = client if isinstance(client, redis.Redis) else None
        self._timeout = timeout_seconds(timeout)
        _require_primary_reads(client)
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
                self._drive(require_fit(self._nodes()))
                self._trust.grant()
            return read_answers(asked, *self._exchange(asked))
        except ReplayStoreError as exc:
            self._distrust()
            raise ReplayStoreError(str(exc), handoff_id=handoff_id) from exc.__cause__
        except _FAILURES as exc:
            self._distrust()
            raise failure(exc, handoff_id) from chained(exc)

    def purge(self, now: int | datetime | None = None) -> int:
        """Nothing to do, keys expire by themselves: 0.

        Args:
            now: As for other stores; only checked.

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
        return self._look(lambda nodes: examine(nodes, self._clock, leeway))

    def stats(self) -> StoreStats:
        """Count the entries. Looks through all keys of the server, a thousand at a time, without blocking it.

        Raises:
            ReplayStoreError: A server cannot be asked.
        """
        return self._look(lambda nodes: count_entries(nodes, self._prefix))

    def trace(self, handoff_id: str, scope: str) -> ReplayTrace:
        """Who holds a handoff, for support. Redis notes no refusals. Changes nothing.

        Args:
            handoff_id: The handoff.
            scope: The issuer, LF, the audience: part of the key.

        Raises:
            ReplayStoreError: The server cannot be asked.
        """
        self._require_open(handoff_id)
        try:
            client = self._single if self._single is not None else self._cluster
            value = client.get(f"{self._prefix}:{_quoted_scope(scope)}:{handoff_id}")
        except _FAILURES as exc:
            raise failure(exc, handoff_id) from chained(exc)
        match = _parse_value(value.encode() if isinstance(value, str) else bytes(value or b""))
        records = (ReplayRecord(scope, match[1].decode("utf-8", "replace"), int(match[2])),) if match else ()
        return ReplayTrace(records, (), ())

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

    def _look(self, examination: Callable[[Sequence[str | None]], _Examination[_T]]) -> _T:
        self._require_open()
        try:
            return self._drive(examination(self._nodes()))
        except _FAILURES as exc:
            self._distrust()
            raise failure(exc, None) from chained(exc)

    def _nodes(self) -> Sequence[str | None]:
        if self._cluster is None:
            return [None]
        if self._topology_is_old:
            self._cluster.nodes_manager.initialize()
            self._topology_is_old = False
        return [node.name for node in self._cluster.get_primaries()]

    def _drive(self, examination: _Examination[_T]) -> _T:
        try:
            command = next(examination)
            while True:
                try:
                    answer = self._client_of(command.node).execute_command(*command.words)
                except exceptions.ResponseError as exc:
                    command = examination.throw(exc)
                else:
                    command = examination.send(answer)
        except StopIteration as end:
            result: _T = end.value
            return result

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

    guarantees = RedisReplayStore.guarantees

    def __init__(
        self,
        client: _AsyncClient,
        *,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
        prefix: str = DEFAULT_PREFIX,
    ) -> None:
        if not isinstance(client, (redis.asyncio.Redis, redis.asyncio.cluster.RedisCluster)) or isinstance(
            client, redis.asyncio.client.Pipeline
        ):
            raise ConfigurationError(
                f"client must be a redis.asyncio.Redis or redis.asyncio.RedisCluster, not {_type_name(client)}"
            )
        # Any: redis-py leaves many methods without types.
        self._cluster: Any = client if isinstance(client, redis.asyncio.cluster.RedisCluster) else None
        self._single: Any = client if isinstance(client, redis.asyncio.Redis) else None
        _require_primary_reads(client)
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
        except _ASYNC_FAILURES as exc:
            self._distrust()
            raise failure(exc, handoff_id) from chained(exc)

    async def purge(self, now: int | datetime | None = None) -> int:
        """As `RedisReplayStore.purge`."""
        purge_time(now, self._clock)
        return 0

    async def check(self, *, leeway: timedelta = DEFAULT_LEEWAY) -> StoreReport:
        """As `RedisReplayStore.check`."""
        return await self._look(lambda nodes: examine(nodes, self._clock, leeway))

    async def stats(self) -> StoreStats:
        """As `RedisReplayStore.stats`."""
        return await self._look(lambda nodes: count_entries(nodes, self._prefix))

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
            with contextlib.suppress(*_ASYNC_FAILURES):  # it may have begun long ago, and end just now
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
                except _ASYNC_FAILURES as exc:
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

    async def _look(self, examination: Callable[[Sequence[str | None]], _Examination[_T]]) -> _T:
        self._require_open()

        async def look() -> _T:
            return await self._drive(examination(await self._nodes()))

        try:
            return await self._apart(look())
        except _ASYNC_FAILURES as exc:
            self._distrust()
            raise failure(exc, None) from chained(exc)

    async def _require_fit(self) -> None:
        async with asyncio.timeout(self._timeout):
            await self._drive(require_fit(await self._nodes()))
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

    async def _drive(self, examination: _Examination[_T]) -> _T:
        try:
            command = next(examination)
            while True:
                try:
                    async with asyncio.timeout(self._timeout):
                        answer = await self._execute(command)
                except exceptions.ResponseError as exc:
                    command = examination.throw(exc)
                else:
                    command = examination.send(answer)
        except StopIteration as end:
            result: _T = end.value
            return result

    def _execute(self, command: Command) -> Awaitable[Any]:
        result: Awaitable[Any]
        if self._single is not None:
            result = self._single.execute_command(*command.words)
            return result
        node = self._cluster.get_node(node_name=command.node)
        if node is None:
            raise exceptions.ConnectionError("the node has left the cluster")
        result = node.execute_command(*command.words)
        return result

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


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"

"""A consume -> SET and GET over one connection -> both answers. The application's client, as the store uses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import redis
import redis.client
import redis.cluster
from redis import exceptions

from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.stores.redis._client import Trust, require_bounded, require_primary_reads, type_name
from ghasi_handoff.stores.redis._entries import Answers, Ask
from ghasi_handoff.stores.redis._examination import Execute, require_fit

_REDIRECTIONS: Final = (exceptions.AskError, exceptions.TryAgainError)  # MovedError is an AskError
_T = TypeVar("_T")


class Servers:
    """One server, or the primaries of a cluster, for threads."""

    def __init__(self, client: redis.Redis | redis.cluster.RedisCluster, timeout: float) -> None:
        if not isinstance(client, (redis.Redis, redis.cluster.RedisCluster)) or isinstance(
            client, (redis.client.Pipeline, redis.cluster.ClusterPipeline)
        ):
            raise ConfigurationError(f"client must be a redis.Redis or RedisCluster, not {type_name(client)}")
        require_primary_reads(client)
        require_bounded(client, timeout)
        # Any: redis-py leaves many methods without types.
        self._client: Any = client
        self._in_cluster = isinstance(client, redis.cluster.RedisCluster)
        self.trust = Trust()

    def answers(self, asked: Ask) -> Answers:
        """The answers to SET and GET, from servers that were found fit."""
        if not self.trust:
            require_fit(self._execute, self._nodes())
            self.trust.grant()
        return self._exchange(asked)

    def ask_all(self, examination: Callable[[Execute, Sequence[str | None]], _T]) -> _T:
        """What `examination` finds; it can execute commands on each server."""
        return examination(self._execute, self._nodes())

    def get(self, key: str) -> object:
        """The value of a key."""
        return self._client.get(key)

    def close(self) -> None:
        """Nothing runs on."""

    def _nodes(self) -> Sequence[str | None]:
        if not self._in_cluster:
            return [None]
        if self.trust.topology_is_old:
            self._client.nodes_manager.initialize()
            self.trust.topology_is_old = False
        return [node.name for node in self._client.get_primaries()]

    def _execute(self, words: tuple[str | int, ...], node: str | None) -> Any:
        if not self._in_cluster:
            return self._client.execute_command(*words)
        found = self._client.get_node(node_name=node)
        if found is None:
            raise exceptions.ConnectionError("the node has left the cluster")
        return self._client.get_redis_connection(found).execute_command(*words)

    def _exchange(self, asked: Ask) -> Answers:
        if not self._in_cluster:
            return exchange(self._client.connection_pool, asked)
        node = self._client.get_node_from_key(asked.key)
        answers = exchange(self._client.get_redis_connection(node).connection_pool, asked)
        if not any(isinstance(answer, _REDIRECTIONS) for answer in answers):
            return answers
        # The slot moves, or has moved. redis-py follows, but waits for each command, so this isn't the usual way.
        self.trust.withdraw()  # the next consume finds, and examines, the node that has the slot now
        pipeline = self._client.pipeline(transaction=False)
        pipeline.execute_command(*asked.set_command)
        pipeline.execute_command(*asked.get_command, **{redis.client.NEVER_DECODE: True})
        set_answer, get_answer = pipeline.execute(raise_on_error=False)
        return set_answer, get_answer


def exchange(pool: Any, asked: Ask) -> Answers:
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

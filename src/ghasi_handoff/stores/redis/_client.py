"""What the application's client must be before a store takes it."""

from __future__ import annotations

from typing import Any

import redis
import redis.cluster

from ghasi_handoff.errors import ConfigurationError


def require_bounded(client: redis.Redis | redis.cluster.RedisCluster, timeout: float) -> None:
    """Refuse a client that could wait longer than the store's timeout: no thread can be made to give up a socket."""
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


def require_primary_reads(client: object) -> None:
    """Refuse a cluster client that reads from replicas."""
    if getattr(client, "read_from_replicas", False) or getattr(client, "load_balancing_strategy", None):
        raise ConfigurationError("client: it reads from replicas, which may lack entries; leave that off")


def type_name(value: object) -> str:
    """The type of `value`, with its module: redis-py has several of one name."""
    return f"{type(value).__module__}.{type(value).__qualname__}"

"""The store in a Redis cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.cluster import LoadBalancingStrategy
from redis.retry import Retry

from ghasi_handoff import ConfigurationError, ReplayStoreError
from ghasi_handoff.stores.redis import RedisReplayStore
from tests.servers import RedisCluster

from ..entries import NOW, entry, handoff_id, handoff_ids, redemption_id
from .redis_stores import KEY, OneStore, OpenOne, connect


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """Three primaries."""
    with RedisCluster(in_memory=True) as cluster:
        yield cluster


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

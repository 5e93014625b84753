"""The store in a Redis cluster of which nodes hang, die or lose their slots."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from ghasi_handoff import ReplayStoreError
from tests.servers import SLOTS, RedisCluster

from ..entries import NOW, SLACK, entry, handoff_id, handoff_ids, redemption_id
from .redis_stores import KEY, OpenOne, connect, settle, timed

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def clusters(request: pytest.FixtureRequest) -> Iterator[list[RedisCluster]]:
    """A cluster for each test. A cluster waits for two seconds before it serves: all wait at once."""
    mine = [item for item in request.session.items if item.path == request.path]
    with ExitStack() as ending, ThreadPoolExecutor(len(mine)) as threads:
        made = [RedisCluster(in_memory=True) for _ in mine]
        for one in made:
            ending.callback(one.__exit__, None, None, None)
        list(threads.map(RedisCluster.__enter__, made))
        yield made


@pytest.fixture
def cluster(clusters: list[RedisCluster]) -> RedisCluster:
    """Three primaries of a test's own."""
    return clusters.pop()


def owner(cluster: RedisCluster, handoff: str) -> int:
    """The number of the node that has the handoff."""
    with connect(cluster.url) as client:
        slot = int(client.execute_command("CLUSTER KEYSLOT", KEY + handoff))
    return slot * len(cluster.nodes) // SLOTS


def test_a_hung_node_is_given_up_in_time(open_one: OpenOne, cluster: RedisCluster) -> None:
    """Entries of a node that hangs are in doubt within the timeout; when it is back, they have their one holder."""
    one = open_one(cluster.url, cluster=True, timeout=1)
    on_node = [[h for h in handoff_ids(40) if owner(cluster, h) == number][:2] for number in (1, 2)]
    ids = [handoff for pair in on_node for handoff in pair]
    for held, _ in on_node:
        one.consume(held, **entry(1))
    cluster.nodes[1].pause()
    try:
        refused = []
        for handoff in ids:
            start = time.monotonic()
            try:
                assert one.consume(handoff, **entry(1)).holder == redemption_id(1)
            except ReplayStoreError:
                refused.append(handoff)
            assert time.monotonic() - start < 1 + SLACK
        assert set(refused) >= set(on_node[0])
    finally:
        cluster.nodes[1].resume()
    for handoff in ids:
        assert settle(lambda handoff=handoff: one.consume(handoff, **entry(1))).holder == redemption_id(1)  # type: ignore[misc]
        assert settle(lambda handoff=handoff: one.consume(handoff, **entry(2))).holder == redemption_id(1)  # type: ignore[misc]


def test_an_unreachable_cluster_is_in_doubt(open_one: OpenOne, cluster: RedisCluster) -> None:
    """Without any of its nodes a cluster gives no answer, the first time nor later."""
    one = open_one(cluster.url, cluster=True)
    one.consume(handoff_id(NOW), **entry(1))
    for node in cluster.nodes:
        node.kill()
    for act in [lambda: one.consume(handoff_id(NOW), **entry(1))] * 3 + [one.check, one.stats]:
        assert timed(act) < 2 + SLACK


def test_another_node_takes_over(open_one: OpenOne, cluster: RedisCluster) -> None:
    """When a node has died and another serves its slots, the store finds it by itself."""
    one = open_one(cluster.url, cluster=True)
    ids = handoff_ids(12)
    for handoff in ids[:6]:
        one.consume(handoff, **entry(1))
    cluster.nodes[1].kill()
    survivors = [connect(cluster.nodes[number].url) for number in (0, 2)]
    lost = range(SLOTS // 3, 2 * SLOTS // 3)
    for survivor in survivors:
        survivor.execute_command("CLUSTER DELSLOTS", *lost)
    survivors[0].execute_command("CLUSTER ADDSLOTS", *lost)
    survivors[0].execute_command("CLUSTER BUMPEPOCH")
    deadline = time.monotonic() + 20
    while any(survivor.execute_command("CLUSTER INFO")["cluster_state"] != "ok" for survivor in survivors):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for survivor in survivors:
        survivor.close()
    for handoff in ids[6:]:
        assert settle(lambda handoff=handoff: one.consume(handoff, **entry(1))).holder == redemption_id(1)  # type: ignore[misc]
        assert settle(lambda handoff=handoff: one.consume(handoff, **entry(2))).holder == redemption_id(1)  # type: ignore[misc]


def test_a_cluster_that_is_down_is_reported(open_one: OpenOne, cluster: RedisCluster) -> None:
    """A cluster that lacks a primary refuses, and says why."""
    one = open_one(cluster.url, cluster=True)
    one.consume(handoff_id(NOW), **entry(1))
    with connect(cluster.nodes[0].url) as admin:
        admin.execute_command("CLUSTER DELSLOTS", *range(100))
        deadline = time.monotonic() + 20
        while admin.execute_command("CLUSTER INFO")["cluster_state"] != "fail":
            assert time.monotonic() < deadline
            time.sleep(0.05)
    codes = {hazard.code for hazard in one.check().hazards}
    assert "cluster_down" in codes

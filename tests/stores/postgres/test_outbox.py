"""The outbox in PostgreSQL, leased by workers at once: none waits for another, and none takes what another has."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from ghasi_handoff.replay import OutboxEntry
from ghasi_handoff.stores.postgres import AsyncPostgresReplayStore, PostgresReplayStore
from ghasi_handoff.stores.postgres._outbox import LEASE, PostgresOutbox

from ..entries import NOW, entry, handoff_ids

DUE = NOW + 3600
LEASE_SECONDS = 60
# Whoever waits for another worker's transaction waits for longer than this.
TIMEOUT = 20.0


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresReplayStore]:
    """A store with an outbox, and in it the entries of eight redemptions, all due."""
    with (
        ConnectionPool(postgres_url, min_size=1, max_size=4, timeout=TIMEOUT, open=True) as pool,
        PostgresReplayStore(pool, outbox=True, timeout=TIMEOUT) as made,
    ):
        made.create_schema()
        for handoff in handoff_ids(8):
            made.consume(handoff, **entry(1))
        yield made


def outbox_of(store: PostgresReplayStore) -> PostgresOutbox:
    assert store.outbox is not None
    return store.outbox


def leased(entries: list[OutboxEntry]) -> set[str]:
    return {one.handoff_id for one in entries}


def begin_lease(connection: psycopg.Connection[Any], limit: int) -> set[str]:
    """Lease as a worker does whose transaction does not end."""
    found = connection.execute(LEASE, (DUE, DUE, limit, DUE + LEASE_SECONDS)).fetchall()
    return {handoff_id for handoff_id, *_ in found}


def test_worker_does_not_wait_for_another(store: PostgresReplayStore, postgres_url: str) -> None:
    """While one worker's lease is under way, another gets other entries at once, and nothing once all are taken."""
    with psycopg.connect(postgres_url) as slow:
        begun = begin_lease(slow, 3)
        others = leased(outbox_of(store).lease(DUE, limit=100, seconds=LEASE_SECONDS))
        assert (len(begun), len(others)) == (3, 5)
        assert begun | others == set(handoff_ids(8))
        assert outbox_of(store).lease(DUE, limit=100, seconds=LEASE_SECONDS) == []
        slow.rollback()
    # Its transaction did not end well: what it had begun to lease is there for the next.
    assert leased(outbox_of(store).lease(DUE, limit=100, seconds=LEASE_SECONDS)) == begun


def test_worker_in_an_event_loop_does_not_wait_for_another(store: PostgresReplayStore, postgres_url: str) -> None:
    """The asynchronous outbox takes other entries at once, too."""

    async def main() -> set[str]:
        async with (
            AsyncConnectionPool(postgres_url, min_size=1, timeout=TIMEOUT, open=False) as pool,
            AsyncPostgresReplayStore(pool, outbox=True, timeout=TIMEOUT) as other,
        ):
            assert other.outbox is not None
            return leased(await other.outbox.lease(DUE, limit=100, seconds=LEASE_SECONDS))

    with psycopg.connect(postgres_url) as slow:
        begun = begin_lease(slow, 3)
        assert asyncio.run(main()) == set(handoff_ids(8)) - begun


def test_workers_at_once_never_lease_the_same_entry(store: PostgresReplayStore) -> None:
    """Four workers that lease one by one share the entries out: each entry goes to one of them."""
    start = threading.Barrier(4)

    def work(_: int) -> list[OutboxEntry]:
        start.wait()
        mine: list[OutboxEntry] = []
        while found := outbox_of(store).lease(DUE, limit=1, seconds=LEASE_SECONDS):
            mine += found
        return mine

    with ThreadPoolExecutor(4) as threads:
        found = [one for mine in threads.map(work, range(4)) for one in mine]
    assert sorted(one.handoff_id for one in found) == handoff_ids(8)
    assert {one.attempts for one in found} == {1}

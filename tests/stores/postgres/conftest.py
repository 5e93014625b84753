"""A pool and a store on a database of each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from ghasi_handoff.stores.postgres import PostgresReplayStore

from .databases import PATIENCE


@pytest.fixture
def pool(postgres_url: str) -> Iterator[ConnectionPool[Any]]:
    """A pool as an application has it, on a database of this test's own."""
    with ConnectionPool(postgres_url, min_size=1, max_size=8, timeout=PATIENCE, open=True) as opened:
        yield opened


@pytest.fixture
def store(pool: ConnectionPool[Any]) -> Iterator[PostgresReplayStore]:
    """A store with its schema made."""
    with PostgresReplayStore(pool, timeout=PATIENCE) as made:
        made.create_schema()
        yield made

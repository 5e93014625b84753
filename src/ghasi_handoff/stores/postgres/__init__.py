"""A replay store in PostgreSQL, its outbox and its SQL. See `PostgresReplayStore`."""

from ghasi_handoff.stores.postgres._replay_store import PostgresReplayStore
from ghasi_handoff.stores.postgres._replay_store_async import AsyncPostgresReplayStore
from ghasi_handoff.stores.postgres._statements import SCHEMA

__all__ = ["SCHEMA", "AsyncPostgresReplayStore", "PostgresReplayStore"]

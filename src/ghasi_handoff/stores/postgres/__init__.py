"""A replay store and a handoff log in PostgreSQL. See `PostgresReplayStore` and `PostgresHandoffLog`."""

from ghasi_handoff.stores.postgres._handoff_log import PostgresHandoffLog
from ghasi_handoff.stores.postgres._handoff_log_async import AsyncPostgresHandoffLog
from ghasi_handoff.stores.postgres._replay_store import PostgresReplayStore
from ghasi_handoff.stores.postgres._replay_store_async import AsyncPostgresReplayStore
from ghasi_handoff.stores.postgres._statements import LOG_SCHEMA, SCHEMA

__all__ = [
    "LOG_SCHEMA",
    "SCHEMA",
    "AsyncPostgresHandoffLog",
    "AsyncPostgresReplayStore",
    "PostgresHandoffLog",
    "PostgresReplayStore",
]

"""A replay store and a handoff log in SQLite files. See `SQLiteReplayStore` and `SQLiteHandoffLog`.

Never on a network file system: its locks do not hold there.
"""

from ghasi_handoff.stores.sqlite._handoff_log import SQLiteHandoffLog
from ghasi_handoff.stores.sqlite._handoff_log_async import AsyncSQLiteHandoffLog
from ghasi_handoff.stores.sqlite._replay_store import SQLiteReplayStore
from ghasi_handoff.stores.sqlite._replay_store_async import AsyncSQLiteReplayStore

__all__ = ["AsyncSQLiteHandoffLog", "AsyncSQLiteReplayStore", "SQLiteHandoffLog", "SQLiteReplayStore"]

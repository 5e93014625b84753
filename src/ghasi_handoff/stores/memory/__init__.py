"""A replay store in memory: for tests, and for a service that is one process and may forget at its end."""

from ghasi_handoff.stores.memory._replay_store import MemoryReplayStore
from ghasi_handoff.stores.memory._replay_store_async import AsyncMemoryReplayStore

__all__ = ["AsyncMemoryReplayStore", "MemoryReplayStore"]

"""A replay store in Redis or Valkey. See `RedisReplayStore`."""

from ghasi_handoff.stores.redis._replay_store import RedisReplayStore
from ghasi_handoff.stores.redis._replay_store_async import AsyncRedisReplayStore

__all__ = ["AsyncRedisReplayStore", "RedisReplayStore"]

"""A replay store in Redis or Valkey. See `RedisReplayStore`."""

from ghasi_handoff.stores.redis._asyncio_replay_store import AsyncRedisReplayStore
from ghasi_handoff.stores.redis._replay_store import RedisReplayStore

__all__ = ["AsyncRedisReplayStore", "RedisReplayStore"]

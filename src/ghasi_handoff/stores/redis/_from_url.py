# Generated from _from_url_async.py by tools/sync_twins.py. Do not edit.
"""redis://… -> a replay store over a client of its own, and what opens both, for threads."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.stores._opening import Opening
from ghasi_handoff.stores.redis import RedisReplayStore


def make_store(url: str, opening: Opening) -> tuple[RedisReplayStore, AbstractContextManager[None]]:
    """The replay store on a server. It has no outbox, whatever `opening` says."""
    # Time-outs that fit in the store's own, and no second try that it does not know of.
    share = opening.timeout / 2
    try:
        client = Redis.from_url(url, socket_timeout=share, socket_connect_timeout=share, retry=Retry(NoBackoff(), 0))
    except ValueError:  # its text repeats a part of the URL, perhaps of the password
        raise ConfigurationError("the URL is no valid Redis URL") from None
    store = RedisReplayStore(client, timeout=opening.timeout, clock=opening.clock)
    return store, _opened(client, store)


@contextmanager
def _opened(client: Redis, store: RedisReplayStore) -> Generator[None]:
    with client, store:
        yield

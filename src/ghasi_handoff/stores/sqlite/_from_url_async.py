"""sqlite:///file -> a replay store or a handoff log, and what opens it, for asyncio."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import unquote

from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.stores._opening import HANDOFF_LOG, REPLAY_STORE, Opening, Owner
from ghasi_handoff.stores.sqlite import AsyncSQLiteHandoffLog, AsyncSQLiteReplayStore


def make_store(url: str, opening: Opening) -> tuple[AsyncSQLiteReplayStore, AbstractAsyncContextManager[None]]:
    """The replay store in a file."""
    path = _path(url, opening, REPLAY_STORE)
    store = AsyncSQLiteReplayStore(path, opening.outbox, timeout=opening.timeout, clock=opening.clock)
    return store, _opened(store, opening)


def make_log(url: str, opening: Opening) -> tuple[AsyncSQLiteHandoffLog, AbstractAsyncContextManager[None]]:
    """The handoff log in a file."""
    log = AsyncSQLiteHandoffLog(_path(url, opening, HANDOFF_LOG), timeout=opening.timeout, clock=opening.clock)
    return log, _opened(log, opening)


@asynccontextmanager
async def _opened(file: AsyncSQLiteReplayStore | AsyncSQLiteHandoffLog, opening: Opening) -> AsyncGenerator[None]:
    async with file:
        if opening.create:
            await file.create_schema()
        yield


def _path(url: str, opening: Opening, owner: Owner) -> str:
    rest = url.partition("://")[2]
    if not rest.startswith("/") or len(rest) == 1:
        raise ConfigurationError("an SQLite URL is sqlite:///file, or sqlite:////folder/file for a whole path")
    path = unquote(rest[1:])
    # A mistyped path must not become an empty database, which a cron job then maintains every night.
    if not opening.create and not os.path.exists(path):
        raise owner.no_file()
    return path

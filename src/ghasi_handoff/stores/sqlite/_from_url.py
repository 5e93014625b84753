# Generated from _from_url_async.py by tools/sync_twins.py. Do not edit.
"""sqlite:///file -> a replay store or a handoff log, and what opens it, for threads."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import unquote

from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.stores._opening import HANDOFF_LOG, REPLAY_STORE, Opening, Owner
from ghasi_handoff.stores.sqlite import SQLiteHandoffLog, SQLiteReplayStore


def make_store(url: str, opening: Opening) -> tuple[SQLiteReplayStore, AbstractContextManager[None]]:
    """The replay store in a file."""
    path = _path(url, opening, REPLAY_STORE)
    store = SQLiteReplayStore(path, opening.outbox, timeout=opening.timeout, clock=opening.clock)
    return store, _opened(store, opening)


def make_log(url: str, opening: Opening) -> tuple[SQLiteHandoffLog, AbstractContextManager[None]]:
    """The handoff log in a file."""
    log = SQLiteHandoffLog(_path(url, opening, HANDOFF_LOG), timeout=opening.timeout, clock=opening.clock)
    return log, _opened(log, opening)


@contextmanager
def _opened(file: SQLiteReplayStore | SQLiteHandoffLog, opening: Opening) -> Generator[None]:
    with file:
        if opening.create:
            file.create_schema()
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

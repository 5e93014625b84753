"""--store-url, --log-url and --timeout -> an open replay store or handoff log, for a command."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from ghasi_handoff.cli import _options
from ghasi_handoff.cli._options import packed
from ghasi_handoff.cli._output import Clock
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.replay import Outbox
from ghasi_handoff.stores._maintained import MaintainedLog, MaintainedStore
from ghasi_handoff.stores._open import Kind, make_log, make_store
from ghasi_handoff.stores._opening import Opening

# Without a handler on the root, Python prints what is logged; a command reports a failure itself, once.
_unheard: Final = logging.NullHandler()


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Which replay store, and how long it may take to answer, in seconds."""

    store_url: str | None
    timeout: float

    @contextmanager
    def opened(self, clock: Clock, *, outbox: bool = False, new: bool = False) -> Generator[MaintainedStore]:
        """The replay store. Only a `new` one may be created by being opened."""
        logging.getLogger().addHandler(_unheard)
        opening = Opening(create=new, outbox=outbox, timeout=self.timeout, clock=clock)
        store, running = make_store(required(self.store_url, "store"), opening)
        with running:
            yield store

    @contextmanager
    def opened_outbox(self, clock: Clock) -> Generator[tuple[MaintainedStore, Outbox]]:
        """The replay store and its outbox."""
        with self.opened(clock, outbox=True) as store:
            if store.outbox is None:
                raise ConfigurationError("a store of this product has no outbox")
            yield store, store.outbox


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which handoff log, and how long it may take to answer, in seconds."""

    log_url: str | None
    timeout: float

    @contextmanager
    def opened(self, clock: Clock, *, new: bool = False) -> Generator[MaintainedLog]:
        """The handoff log. Only a `new` one may be created by being opened."""
        logging.getLogger().addHandler(_unheard)
        opening = Opening(create=new, timeout=self.timeout, clock=clock)
        log, running = make_log(required(self.log_url, "log"), opening)
        with running:
            yield log


store_options: Final = packed("given", StoreOptions, _options.store_url, _options.timeout)
log_options: Final = packed("given", LogOptions, _options.log_url, _options.timeout)


def required(url: str | None, kind: Kind) -> str:
    """The URL that an option or the environment gave."""
    if url is None:
        raise ConfigurationError(f"name the {kind}: --{kind}-url, or GHASI_HANDOFF_{kind.upper()}_URL")
    return url

"""URL, or its environment variable -> an open replay store or handoff log, for a command."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.stores._open import make_log, make_store
from ghasi_handoff.stores._opening import Opening

if TYPE_CHECKING:
    from ghasi_handoff.cli._output import Clock
    from ghasi_handoff.replay import Outbox
    from ghasi_handoff.stores._maintained import MaintainedLog, MaintainedStore

STORE_VARIABLE: Final = "GHASI_HANDOFF_STORE_URL"
LOG_VARIABLE: Final = "GHASI_HANDOFF_LOG_URL"

timeout: Final = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 60),
    default=10.0,
    show_default=True,
    help="How long the store may take to answer.",
)
# Without a handler on the root, Python prints what drivers log; a command reports a failure itself, once.
_unheard: Final = logging.NullHandler()


@contextmanager
def opened_store(
    url: str | None, clock: Clock, timeout: float, *, outbox: bool = False, new: bool = False
) -> Generator[MaintainedStore]:
    """The replay store. Only a `new` one may be created by being opened.

    Raises:
        ReplayStoreError: There is no such file.
        ConfigurationError: There is no URL, or it is not valid, or its driver is not installed.
    """
    logging.getLogger().addHandler(_unheard)
    opening = Opening(create=new, outbox=outbox, timeout=timeout, clock=clock)
    store, running = make_store(store_url(url), opening)
    with running:
        yield store


@contextmanager
def opened_outbox(url: str | None, clock: Clock, timeout: float) -> Generator[tuple[MaintainedStore, Outbox]]:
    """The replay store and its outbox. As `opened_store`; a store without an outbox is a `ConfigurationError`."""
    with opened_store(url, clock, timeout, outbox=True) as store:
        if store.outbox is None:
            raise ConfigurationError("a store of this product has no outbox")
        yield store, store.outbox


@contextmanager
def opened_log(url: str | None, clock: Clock, timeout: float, *, new: bool = False) -> Generator[MaintainedLog]:
    """The handoff log. As `opened_store`."""
    logging.getLogger().addHandler(_unheard)
    log, running = make_log(log_url(url), Opening(create=new, timeout=timeout, clock=clock))
    with running:
        yield log


def store_url(url: str | None) -> str:
    """The URL that was given, or that of the environment.

    Raises:
        ConfigurationError: There is none.
    """
    return _named(url, STORE_VARIABLE, "store")


def log_url(url: str | None) -> str:
    """As `store_url`, of the handoff log."""
    return _named(url, LOG_VARIABLE, "log")


def _named(url: str | None, variable: str, what: str) -> str:
    given = url or os.environ.get(variable, "")
    if not given:
        raise ConfigurationError(f"name the {what} by its URL, or put that in {variable}")
    return given

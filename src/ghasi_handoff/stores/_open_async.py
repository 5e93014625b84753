"""URL -> product -> a replay store or a handoff log, for asyncio. Knows every product; imports no driver.

No other module knows every product, this module's twin apart.

A new product needs a folder beside this file and a row in `PRODUCTS`; docs/how-to/write-a-store.md has the whole list.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Final, Literal, NamedTuple, TypeAlias

from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.stores._maintained_async import AsyncMaintainedLog, AsyncMaintainedStore
from ghasi_handoff.stores._opening import Opening

Kind: TypeAlias = Literal["store", "log"]
_MakeStore: TypeAlias = Callable[[str, Opening], tuple[AsyncMaintainedStore, AbstractAsyncContextManager[None]]]
_MakeLog: TypeAlias = Callable[[str, Opening], tuple[AsyncMaintainedLog, AbstractAsyncContextManager[None]]]


class Product(NamedTuple):
    """A database product."""

    name: str  # as it is shown
    schemes: tuple[str, ...]  # what its URLs begin with, before "://"
    folder: str  # its folder beside this file; also the extra that installs its driver
    driver: str | None  # the package that must be installed; None if Python has it
    needs_init: bool  # its operator makes tables, by the command `init`, before a service starts
    has_log: bool  # it can keep a handoff log
    has_outbox: bool  # its replay store can have an outbox


PRODUCTS: Final = (
    Product("sqlite", ("sqlite",), "sqlite", None, needs_init=False, has_log=True, has_outbox=True),
    Product(
        "postgresql", ("postgresql", "postgres"), "postgres", "psycopg_pool",
        needs_init=True, has_log=True, has_outbox=True,
    ),
    Product(
        "redis", ("redis", "rediss", "unix"), "redis", "redis",
        needs_init=False, has_log=False, has_outbox=False,
    ),
)  # fmt: skip


def product_of(url: str, kind: Kind) -> Product:
    """The product that a URL names. Its driver is installed. The URL may hold a password, so no error repeats it."""
    products = [product for product in PRODUCTS if kind == "store" or product.has_log]
    allowed = {scheme: product for product in products for scheme in product.schemes}
    scheme, _, rest = url.partition("://")
    product = allowed.get(scheme)
    if product is None or not rest:
        names = ", ".join(f"{name}://" for name in allowed)
        raise ConfigurationError(f"the {kind}'s URL must begin with one of {names}")
    if product.driver is not None:
        require_extra(product.name, driver=product.driver, extra=product.folder)
    return product


def require_extra(what: str, *, driver: str, extra: str) -> None:
    """Refuse what needs a package that is not installed, and say what to install."""
    if find_spec(driver) is None:
        raise ConfigurationError(f"{what} needs a driver: install ghasi-handoff[{extra}]")


def make_store(url: str, opening: Opening) -> tuple[AsyncMaintainedStore, AbstractAsyncContextManager[None]]:
    """A replay store, and what opens it and closes it again. Nothing is connected before."""
    make: _MakeStore = _module(url, "store").make_store
    return make(url, opening)


def make_log(url: str, opening: Opening) -> tuple[AsyncMaintainedLog, AbstractAsyncContextManager[None]]:
    """A handoff log, and what opens it and closes it again."""
    make: _MakeLog = _module(url, "log").make_log
    return make(url, opening)


def migration(kind: Kind) -> str:
    """The SQL that makes PostgreSQL's tables, for an operator who runs it without this library."""
    product_of("postgresql://any", kind)
    from ghasi_handoff.stores.postgres import LOG_SCHEMA, SCHEMA

    return SCHEMA if kind == "store" else LOG_SCHEMA


def _module(url: str, kind: Kind) -> ModuleType:
    return import_module(f"ghasi_handoff.stores.{product_of(url, kind).folder}._from_url_async")

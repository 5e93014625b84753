"""URL of a database -> its product and the rest; what to install for it. No driver is imported here."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec
from typing import Final
from urllib.parse import unquote

from ghasi_handoff.errors import ConfigurationError

_EXTRAS: Final = {"postgresql": "postgres", "redis": "redis", "client": "client"}
_DRIVERS: Final = {"postgresql": "psycopg_pool", "redis": "redis", "client": "httpx2"}
_PRODUCTS: Final = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
}


def product_of(url: str, allowed: Collection[str], what: str) -> tuple[str, str]:
    """The product that a URL names, and what stands after ``://``.

    Args:
        url: The URL. It may hold a password: it is not repeated.
        allowed: Products that will do.
        what: ``store`` or ``log``, for the message.

    Raises:
        ConfigurationError: None of `allowed`, or its driver is not installed.
    """
    scheme, _, rest = url.partition("://")
    product = _PRODUCTS.get(scheme)
    if product not in allowed or product is None or not rest:
        names = ", ".join(f"{name}://" for name, kind in _PRODUCTS.items() if kind in allowed)
        raise ConfigurationError(f"the {what}'s URL must begin with one of {names}")
    require_extra(product)
    return product, rest


def sqlite_path(rest: str) -> str:
    """The path in ``sqlite:///path``, after ``://``.

    Raises:
        ConfigurationError: There is none.
    """
    if not rest.startswith("/") or len(rest) == 1:
        raise ConfigurationError("an SQLite URL is sqlite:///file, or sqlite:////folder/file for a whole path")
    return unquote(rest[1:])


def require_extra(product: str) -> None:
    """Say what to install, where a driver is missing.

    Raises:
        ConfigurationError: It is missing.
    """
    driver = _DRIVERS.get(product)
    if driver is not None and find_spec(driver) is None:
        name = "calling bff-consumer" if product == "client" else product
        raise ConfigurationError(f"{name} needs a driver: install ghasi-handoff[{_EXTRAS[product]}]")

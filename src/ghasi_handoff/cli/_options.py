"""The options that several commands share, each declared once, and the stores and logs that they name.

Groups list their commands in order.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

import click
from typing_extensions import override

from ghasi_handoff._limits import (
    DEFAULT_COMMAND_TIMEOUT_SECONDS,
    DEFAULT_LEEWAY,
    DEFAULT_LISTED_ROWS,
    MAX_COMMAND_TIMEOUT_SECONDS,
    MAX_LEEWAY_SECONDS,
    MAX_LISTED_ROWS,
)
from ghasi_handoff.cli._output import Clock
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.keyfile import DEFAULT_PURPOSE
from ghasi_handoff.replay import Outbox
from ghasi_handoff.stores._maintained import MaintainedLog, MaintainedStore
from ghasi_handoff.stores._open import Kind, make_log, make_store
from ghasi_handoff.stores._opening import Opening

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Option: TypeAlias = Callable[[Callable[..., None]], Callable[..., None]]

_is_span: Final = re.compile(r"(0|[1-9][0-9]{0,6})([smhd])", re.ASCII).fullmatch
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class OrderedGroup(click.Group):
    """Lists its commands in the order in which they were added."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def packed(name: str, record: type[DataclassInstance], *options: Option) -> Option:
    """Options whose values a command gets as one `record`, under `name`."""

    def declare(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**values: object) -> None:
            packed = record(**{field.name: values.pop(field.name) for field in fields(record)})
            command(**{name: packed}, **values)

        return declared(*options)(run)

    return declare


def declared(*options: Option) -> Option:
    """Several options as one, in this order in the help."""

    def declare(command: Callable[..., None]) -> Callable[..., None]:
        return functools.reduce(lambda made, option: option(made), reversed(options), command)

    return declare


def span(text: str) -> timedelta | None:
    """A duration such as 90s, 15m, 2h or 1d; None if `text` is none."""
    found = _is_span(text)
    return None if found is None else timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def setting(option: str, variable: str, metavar: str, text: str, *names: str, required: bool = False) -> Option:
    """An option that an environment variable may stand in for."""
    return click.option(
        option, *names, metavar=metavar, envvar=variable, show_envvar=True, help=text, required=required
    )


def _keys(text: str, *, required: bool = True) -> Option:
    return setting("--keys", "GHASI_HANDOFF_KEYS_FILE", "FILE", text, "keys_file", required=required)


def seconds(option: str, least: int, most: int, default: timedelta, text: str) -> Option:
    """An option in whole seconds, with its limits and its default."""
    return number(option, "SECONDS", click.IntRange(least, most), int(default.total_seconds()), text)


def number(option: str, metavar: str, limits: click.IntRange | click.FloatRange, default: float, text: str) -> Option:
    """An option with limits and a default."""
    return click.option(option, metavar=metavar, type=limits, default=default, show_default=True, help=text)


# Paths are plain text: whether a file can be used is for the code that opens it to say, with its own error code.
keys_file: Final = _keys(
    "The key file: a key ring as JSON, mode 0600. Without it, GHASI_HANDOFF_KEYS must hold that JSON.", required=False
)
required_keys_file: Final = _keys("The key file.")
new_keys_file: Final = _keys("The key file to make: a key ring as JSON, mode 0600.")
kek_file: Final = setting(
    "--kek-file",
    "GHASI_HANDOFF_KEK_FILE",
    "FILE",
    "The key-encryption key of a sealed key file. GHASI_HANDOFF_KEK may hold it instead.",
)
purpose: Final = click.option(
    "--purpose",
    envvar="GHASI_HANDOFF_KEYS_PURPOSE",
    show_envvar=True,
    metavar="NAME",
    default=DEFAULT_PURPOSE,
    show_default=True,
    help="What a sealed key file was sealed for.",
)
issuer: Final = setting("--issuer", "GHASI_HANDOFF_ISSUER", "NAME", "The service that mints.", required=True)
audience: Final = setting("--audience", "GHASI_HANDOFF_AUDIENCE", "NAME", "The service that verifies.", required=True)
tenant: Final = click.option("--tenant", metavar="NAME", required=True, help="The hotel whose site the guest is on.")
parties: Final = (keys_file, issuer, audience, tenant)
leeway: Final = seconds("--leeway", 0, MAX_LEEWAY_SECONDS, DEFAULT_LEEWAY, "How far the two clocks may differ.")
token: Final = click.argument("token", metavar="TOKEN|-")
handoff: Final = click.argument("which", metavar="ID|-")
store_url: Final = setting(
    "--store-url", "GHASI_HANDOFF_STORE_URL", "URL", "The replay store: sqlite:///..., postgresql://... or redis://..."
)
log_url: Final = setting(
    "--log-url", "GHASI_HANDOFF_LOG_URL", "URL", "The handoff log: sqlite:///... or postgresql://..."
)
timeout: Final = number(
    "--timeout",
    "SECONDS",
    click.FloatRange(0.1, MAX_COMMAND_TIMEOUT_SECONDS),
    DEFAULT_COMMAND_TIMEOUT_SECONDS,
    "How long the store or log may take to answer.",
)
sql: Final = click.option("--sql", is_flag=True, help="Print PostgreSQL's migration as plain SQL; connect to nothing.")
quiet: Final = click.option("--quiet", is_flag=True, help="Print nothing on success, for a cron job.")
limit: Final = number("--limit", "N", click.IntRange(1, MAX_LISTED_ROWS), DEFAULT_LISTED_ROWS, "The most rows to list.")

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


store_options: Final = packed("given", StoreOptions, store_url, timeout)
log_options: Final = packed("given", LogOptions, log_url, timeout)


def required(url: str | None, kind: Kind) -> str:
    """The URL that an option or the environment gave."""
    if url is None:
        raise ConfigurationError(f"name the {kind}: --{kind}-url, or GHASI_HANDOFF_{kind.upper()}_URL")
    return url

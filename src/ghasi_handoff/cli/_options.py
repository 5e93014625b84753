"""The options that several commands share, each declared once; and groups that list their commands in order."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import fields
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
from ghasi_handoff.keyfile import DEFAULT_PURPOSE

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


def setting(*names: str, variable: str, text: str, metavar: str = "FILE", required: bool = False) -> Option:
    """An option that an environment variable may stand in for."""
    return click.option(*names, metavar=metavar, envvar=variable, show_envvar=True, required=required, help=text)


def _keys(text: str, *, required: bool) -> Option:
    return setting("--keys", "keys_file", variable="GHASI_HANDOFF_KEYS_FILE", text=text, required=required)


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
required_keys_file: Final = _keys("The key file.", required=True)
new_keys_file: Final = _keys("The key file to make: a key ring as JSON, mode 0600.", required=True)
kek_file: Final = setting(
    "--kek-file",
    variable="GHASI_HANDOFF_KEK_FILE",
    text="The key-encryption key of a sealed key file. GHASI_HANDOFF_KEK may hold it instead.",
)
purpose: Final = click.option(
    "--purpose",
    metavar="NAME",
    envvar="GHASI_HANDOFF_KEYS_PURPOSE",
    show_envvar=True,
    default=DEFAULT_PURPOSE,
    show_default=True,
    help="What a sealed key file was sealed for.",
)
issuer: Final = setting(
    "--issuer", variable="GHASI_HANDOFF_ISSUER", text="The service that mints.", metavar="NAME", required=True
)
audience: Final = setting(
    "--audience", variable="GHASI_HANDOFF_AUDIENCE", text="The service that verifies.", metavar="NAME", required=True
)
tenant: Final = click.option("--tenant", metavar="NAME", required=True, help="The hotel whose site the guest is on.")
parties: Final = (keys_file, issuer, audience, tenant)
leeway: Final = seconds("--leeway", 0, MAX_LEEWAY_SECONDS, DEFAULT_LEEWAY, "How far the two clocks may differ.")
token: Final = click.argument("token", metavar="TOKEN|-")
handoff: Final = click.argument("which", metavar="ID|-")
store_url: Final = setting(
    "--store-url",
    variable="GHASI_HANDOFF_STORE_URL",
    text="The replay store: sqlite:///..., postgresql://... or redis://...",
    metavar="URL",
)
log_url: Final = setting(
    "--log-url",
    variable="GHASI_HANDOFF_LOG_URL",
    text="The handoff log: sqlite:///... or postgresql://...",
    metavar="URL",
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

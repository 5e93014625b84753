"""The options and arguments that several commands share, each declared once."""

from __future__ import annotations

from typing import Final

import click

from ghasi_handoff._limits import DEFAULT_LEEWAY, DEFAULT_MAX_LIFETIME, MAX_LEEWAY_SECONDS, MAX_LIFETIME_SECONDS

# Paths are plain text: whether a file can be used is for the code that opens it to say, with its own error code.
new_keys_file: Final = click.option(
    "--keys",
    "keys_file",
    metavar="FILE",
    required=True,
    envvar="GHASI_HANDOFF_KEYS_FILE",
    show_envvar=True,
    help="The key file to make: a key ring as JSON, mode 0600.",
)
keys_file: Final = click.option(
    "--keys",
    "keys_file",
    metavar="FILE",
    envvar="GHASI_HANDOFF_KEYS_FILE",
    show_envvar=True,
    help="The key file: a key ring as JSON, mode 0600. Without it, GHASI_HANDOFF_KEYS must hold that JSON.",
)
issuer: Final = click.option(
    "--issuer",
    metavar="NAME",
    required=True,
    envvar="GHASI_HANDOFF_ISSUER",
    show_envvar=True,
    help="The service that mints.",
)
audience: Final = click.option(
    "--audience",
    metavar="NAME",
    required=True,
    envvar="GHASI_HANDOFF_AUDIENCE",
    show_envvar=True,
    help="The service that verifies.",
)
tenant: Final = click.option("--tenant", metavar="NAME", required=True, help="The hotel whose site the guest is on.")
leeway: Final = click.option(
    "--leeway",
    metavar="SECONDS",
    type=click.IntRange(0, MAX_LEEWAY_SECONDS),
    default=int(DEFAULT_LEEWAY.total_seconds()),
    show_default=True,
    help="How far the two clocks may differ.",
)
max_lifetime: Final = click.option(
    "--max-lifetime",
    metavar="SECONDS",
    type=click.IntRange(1, MAX_LIFETIME_SECONDS),
    default=int(DEFAULT_MAX_LIFETIME.total_seconds()),
    show_default=True,
    help="The longest lifetime that a token may grant itself.",
)
token: Final = click.argument("token", metavar="TOKEN|-")

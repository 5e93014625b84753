"""The group ``keys``: key files, made and changed by their owner. A secret is written to the file and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ghasi_handoff import keyfile
from ghasi_handoff._encoding import from_seconds, read_clock
from ghasi_handoff.cli import _options
from ghasi_handoff.cli._output import Answer, answers, iso, printable, table
from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keys import KeyRing

if TYPE_CHECKING:
    from ghasi_handoff.cli._output import Clock


@click.group(short_help="Make key files.")
def keys() -> None:
    """Make key files, the rings of secrets that sign and verify."""


@keys.command()
@_options.new_keys_file
@click.option(
    "--kid",
    metavar="KID",
    help="The key's name: 1 to 32 of A-Z a-z 0-9 _ -.  [default: a date and 4 random characters]",
)
@answers
def init(clock: Clock, *, keys_file: str, kid: str | None) -> Answer:
    """Make a new key file with one random key that signs from now on.

    It needs --keys: the path of a file that does not exist yet. An existing file is never overwritten.

    The secret goes into the file, which only its owner can read, and is never shown. Bring the file to both services by
    a safe way: whoever has it can mint.
    """
    ring = KeyRing.generate(kid, from_seconds(int(read_clock(clock))))
    _save_new(keys_file, ring)
    (key,) = ring.keys
    return Answer(
        facts={"kid": key.kid, "path": keys_file, "sign_from": iso(key.sign_from)},
        text=table([("kid", key.kid), ("file", printable(keys_file)), ("signs from", iso(key.sign_from))]),
    )


def _save_new(path: str, ring: KeyRing) -> None:
    """Save the ring to a file that does not exist yet.

    Raises:
        KeyRingError: It exists, or cannot be made.
    """
    try:
        # The name is taken first, and only if it is free: of two at once, one is refused. EXCL follows no link.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError as exc:
        raise KeyRingError(f"key file {path}: it exists already and is not overwritten; name another file") from exc
    except OSError as exc:
        raise KeyRingError(f"key file {path}: {exc.strerror}") from exc
    try:
        keyfile.save(path, ring)
    except BaseException:
        Path(path).unlink(missing_ok=True)  # the empty file that held the name
        raise

"""argument, standard input, files -> token, payload, browser secret. Read with a limit; every failure has a code."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from ghasi_handoff import keyfile
from ghasi_handoff._base64url import b64u_decode
from ghasi_handoff._key_ring_json import unique_members
from ghasi_handoff._limits import BROWSER_SECRET_BYTES, MAX_PAYLOAD_FILE_BYTES, MAX_TOKEN_CHARACTERS
from ghasi_handoff.errors import ConfigurationError, InvalidHandoffInputError, MalformedTokenError
from ghasi_handoff.keys import KeyRing
from ghasi_handoff.payload import BookingHandoff


def read_ring(path: str | None) -> KeyRing:
    """The key ring in the file `path`, or, without one, in the variable ``GHASI_HANDOFF_KEYS``; sealed or not."""
    variables = dict(os.environ)
    if path is not None:
        # What is said on the command line is not overruled, and not contradicted, by the environment.
        variables = {**variables, "GHASI_HANDOFF_KEYS_FILE": path, "GHASI_HANDOFF_KEYS": ""}
    elif not variables.get("GHASI_HANDOFF_KEYS"):
        raise click.UsageError(
            "Missing option '--keys' (or GHASI_HANDOFF_KEYS_FILE, or the ring in GHASI_HANDOFF_KEYS)."
        )
    return keyfile.from_env(variables)


def read_token(argument: str) -> str:
    """The token in `argument`, or on standard input if that is ``-``; there, one end of line may follow it."""
    if argument != "-":
        return argument
    data = _read(None, MAX_TOKEN_CHARACTERS + 2).removesuffix(b"\n")
    if len(data) > MAX_TOKEN_CHARACTERS:
        raise MalformedTokenError(f"a token has no more than {MAX_TOKEN_CHARACTERS} characters")
    if not data.isascii():
        raise MalformedTokenError("standard input is not ASCII text; a token is")
    return data.decode("ascii")


def read_line(argument: str) -> str:
    """`argument`, or the one line on standard input if that is ``-``: an id, a token, or a URL with one."""
    if argument != "-":
        return argument
    data = _read(None, 2 * MAX_TOKEN_CHARACTERS).strip()
    if len(data) >= 2 * MAX_TOKEN_CHARACTERS or not data.isascii():
        raise InvalidHandoffInputError("standard input must hold one handoff id, token or URL")
    return data.decode("ascii")


def read_payload(path: str) -> BookingHandoff:
    """The payload in the JSON file `path`, or on standard input if that is ``-``. No message quotes a value of it."""
    limit = MAX_PAYLOAD_FILE_BYTES
    data = _read(None if path == "-" else path, limit + 1, "payload file")
    if len(data) > limit:
        raise InvalidHandoffInputError(f"the payload has more than {limit} bytes")
    try:
        return BookingHandoff.from_input(json.loads(data.decode("utf-8"), object_pairs_hook=unique_members))
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except ValueError:
        problem = "it is not JSON, a member stands twice, or a number is too long"
    except RecursionError:
        problem = "it is nested too deep"
    raise InvalidHandoffInputError(f"the payload cannot be read: {problem}")


def read_browser_secret(path: str) -> bytes:
    """The browser secret in the file `path`: 32 raw bytes, or as the cookie has it. No message quotes it."""
    cookie_characters = 43
    data = _read(path, cookie_characters + 2, "browser secret file")
    if len(data) == BROWSER_SECRET_BYTES:
        return data
    text = data.removesuffix(b"\n").decode("latin-1")
    secret = b64u_decode(text) if len(text) == cookie_characters else None
    if secret is None:
        raise ConfigurationError(
            f"browser secret file {path}: it must hold {BROWSER_SECRET_BYTES} raw bytes, or the cookie's value:"
            f" {cookie_characters} characters of base64url"
        )
    return secret


def _read(path: str | None, limit: int, name: str = "") -> bytes:
    """At most `limit` bytes of the file `path`, which is a `name`; or, without one, of standard input."""
    # Never more than the limit: what is longer is refused for its length, whatever it would cost to read it all.
    if path is None and sys.stdin is None:
        raise ConfigurationError("standard input is closed")
    try:
        if path is None:
            return sys.stdin.buffer.read(limit)
        with Path(path).open("rb") as file:
            return file.read(limit)
    except OSError as exc:
        where = "standard input" if path is None else f"{name} {path}"
        raise ConfigurationError(f"{where}: {exc.strerror or exc}") from exc

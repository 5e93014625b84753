"""environment -> where the ring is, what opens it, what it is for -> `KeyRing`. No variable but a path is quoted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keyfile._file import read_secret_file
from ghasi_handoff.keyfile._kek import KeyEncryptionKey, LocalKeyEncryptionKey
from ghasi_handoff.keyfile._open import located, opened
from ghasi_handoff.keyfile._seal import DEFAULT_PURPOSE
from ghasi_handoff.keys import KeyRing

RING: Final = "GHASI_HANDOFF_KEYS"
RING_FILE: Final = "GHASI_HANDOFF_KEYS_FILE"
PURPOSE: Final = "GHASI_HANDOFF_KEYS_PURPOSE"


class Whereabouts(NamedTuple):
    """The key file (None: the ring itself is in the environment), what opens it, and what it was sealed for."""

    path: str | None
    kek: KeyEncryptionKey | None
    purpose: str


def whereabouts(environ: Mapping[str, str], kek: KeyEncryptionKey | None, purpose: str | None) -> Whereabouts:
    """Where the environment says the ring is. An argument that is given is not looked for there."""
    try:
        opener = LocalKeyEncryptionKey.from_env(environ) if kek is None else kek
        meant_for = (environ.get(PURPOSE) or DEFAULT_PURPOSE) if purpose is None else purpose
        path = environ.get(RING_FILE) or None
        if (path is not None) == bool(environ.get(RING)):
            raise KeyRingError(f"set {RING_FILE} to a key file, or else {RING} to what is in one, and not both")
        return Whereabouts(path, opener, meant_for)
    finally:
        del environ  # a traceback that shows local variables must not show the environment


def from_env(
    environ: Mapping[str, str] | None = None, *, kek: KeyEncryptionKey | None = None, purpose: str | None = None
) -> KeyRing:
    """The ring that the environment names: ``GHASI_HANDOFF_KEYS_FILE`` a file, or ``GHASI_HANDOFF_KEYS`` holds it.

    Args:
        environ: By default the process's environment.
        kek: Opens a sealed ring. By default `LocalKeyEncryptionKey.from_env`: ``GHASI_HANDOFF_KEK_FILE`` or
            ``GHASI_HANDOFF_KEK``, if one is set.
        purpose: By default ``GHASI_HANDOFF_KEYS_PURPOSE``, or else `DEFAULT_PURPOSE`.

    Raises:
        KeyRingError: Neither is set, or both, or what is set is no ring. The message repeats no value but the path.
    """
    variables = os.environ if environ is None else environ
    data = b""
    try:
        path, opener, meant_for = whereabouts(variables, kek, purpose)
        where = RING if path is None else f"key file {path}"
        try:
            data = (
                variables[RING].encode("utf-8", errors="replace")
                if path is None
                else read_secret_file(path, "key file")
            )
            return opened(data, opener, meant_for)
        except KeyRingError as exc:
            raise located(exc, where) from exc.__cause__
    finally:
        del environ, variables, data  # a traceback that shows local variables must not show the environment

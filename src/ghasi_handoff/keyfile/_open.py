"""key file, environment or function <-> `KeyRing`: once or again and again, sealed or in the clear.

Of the environment no error repeats a value but a path.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from ghasi_handoff._limits import MAX_KEY_FILE_BYTES
from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keyfile._file import read_secret_file, write_secret_file
from ghasi_handoff.keyfile._kek import KeyEncryptionKey, LocalKeyEncryptionKey
from ghasi_handoff.keyfile._seal import DEFAULT_PURPOSE, is_sealed, seal, unseal
from ghasi_handoff.keys import KeyRing

RING: Final = "GHASI_HANDOFF_KEYS"
RING_FILE: Final = "GHASI_HANDOFF_KEYS_FILE"
PURPOSE: Final = "GHASI_HANDOFF_KEYS_PURPOSE"

# While a mounted secret is exchanged, its link leads for a moment to a folder that is gone.
_SECOND_TRY_SECONDS: Final = 0.05


def load(
    path: str | os.PathLike[str], *, kek: KeyEncryptionKey | None = None, purpose: str = DEFAULT_PURPOSE
) -> KeyRing:
    """The ring in the file `path`.

    Args:
        path: The file. Only its owner may read it; or, as a Kubernetes secret, root and a group of this process.
        kek: Opens a sealed file. With it, a file that is not sealed is refused: else whoever can write the file could
            put keys of their own there.
        purpose: What the file was sealed for. A file sealed for another purpose is refused.

    Raises:
        KeyRingError: It cannot be read, others may use it, it is no key ring, or not as sealed as `kek` says.
    """
    data = b""
    try:
        data = read_secret_file(path, "key file")
        return opened(data, kek, purpose)
    except KeyRingError as exc:
        raise located(exc, f"key file {os.fspath(path)}") from exc.__cause__
    finally:
        del data  # a traceback that shows local variables must not show the secrets


def save(
    path: str | os.PathLike[str], keys: KeyRing, *, kek: KeyEncryptionKey | None = None, purpose: str = DEFAULT_PURPOSE
) -> None:
    """Write the ring to the file `path`, which only its owner can read (mode 0600).

    After a crash there is the old file or the new one, whole. If root replaces a file it keeps its owner, so that a
    service can go on reading its own.

    Args:
        path: The file.
        keys: The ring.
        kek: Seals the file. Without it the file holds the secrets in the clear.
        purpose: What it is for: 1 to 64 of ``A-Z a-z 0-9 . _ : / -``. Whoever opens it must say the same.

    Raises:
        KeyRingError: It cannot be written or sealed, or `keys` is no ring. An earlier file is still there, whole.
    """
    if not isinstance(keys, KeyRing):
        raise KeyRingError(f"what is saved must be a KeyRing, not {type(keys).__name__}")
    text = ""
    try:
        text = keys.to_json() if kek is None else seal(keys, kek, purpose)
        write_secret_file(path, text)
    finally:
        del text


def whereabouts(
    environ: Mapping[str, str], kek: KeyEncryptionKey | None, purpose: str | None
) -> tuple[str | None, KeyEncryptionKey | None, str]:
    """The key file (None: the environment holds the ring itself), what opens it, and what it was sealed for.

    An argument that is given is not looked for in the environment.
    """
    try:
        opener = LocalKeyEncryptionKey.from_env(environ) if kek is None else kek
        meant_for = (environ.get(PURPOSE) or DEFAULT_PURPOSE) if purpose is None else purpose
        path = environ.get(RING_FILE) or None
        if (path is not None) == bool(environ.get(RING)):
            raise KeyRingError(f"set {RING_FILE} to a key file, or else {RING} to what is in one, and not both")
        return path, opener, meant_for
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
        if path is not None:
            return load(path, kek=opener, purpose=meant_for)
        data = variables[RING].encode("utf-8", errors="replace")
        try:
            return opened(data, opener, meant_for)
        except KeyRingError as exc:
            raise located(exc, RING) from exc.__cause__
    finally:
        del environ, variables, data  # a traceback that shows local variables must not show the environment


class Found(NamedTuple):
    """The ring that a source had, and what tells whether the source has changed since."""

    ring: KeyRing
    mark: bytes


class FileSource:
    """A key file. Its content tells whether it has changed: a copy, a mount or a coarse clock cannot hide that.

    A KMS is asked, and paid, only for what is new.
    """

    def __init__(self, path: str | os.PathLike[str], kek: KeyEncryptionKey | None, purpose: str) -> None:
        self.name = os.fspath(path)
        self._kek = kek
        self._purpose = purpose

    def read(self, last: Found | None) -> Found:
        """What is there now; `last`, which an earlier read found, if nothing has changed."""
        data = b""
        try:
            data = self._content(once=last is None)
            mark = sha256(data).digest()
            if last is not None and mark == last.mark:
                return last
            return Found(opened(data, self._kek, self._purpose), mark)
        except KeyRingError as exc:
            raise located(exc, f"key file {self.name}") from exc.__cause__
        finally:
            del data  # a traceback that shows local variables must not show the secrets

    def _content(self, *, once: bool) -> bytes:
        try:
            return read_secret_file(self.name, "key file")
        except KeyRingError as exc:
            if once or not isinstance(exc.__cause__, FileNotFoundError):
                raise
        time.sleep(_SECOND_TRY_SECONDS)
        return self._content(once=True)


class FunctionSource:
    """A function that returns a ring, from a secrets manager say. It is called each time."""

    def __init__(self, function: Callable[[], KeyRing]) -> None:
        self.name = getattr(function, "__qualname__", type(function).__name__)
        self._function = function

    def read(self, last: Found | None) -> Found:
        """What the function returns now."""
        try:
            ring = self._function()
        except KeyRingError:
            raise
        except Exception as exc:  # a client of a secrets manager raises what it likes
            raise KeyRingError(f"{self.name} raised {type(exc).__name__}; can the secrets manager be reached?") from exc
        if not isinstance(ring, KeyRing):
            raise KeyRingError(f"{self.name} must return a KeyRing, not {type(ring).__name__}")
        return Found(ring, b"")


Source: TypeAlias = FileSource | FunctionSource


def opened(data: bytes, kek: KeyEncryptionKey | None, purpose: str) -> KeyRing:
    """The ring in the content of a key file, sealed if a key-encryption key is given, and only then.

    A `KeyRingError` says nothing of where the content came from; see `located`.
    """
    text = ""
    try:
        # What is not UTF-8 becomes a character that no JSON of ours holds, and is refused as such.
        text = data.decode("utf-8", errors="replace")
        if len(data) > MAX_KEY_FILE_BYTES:
            raise KeyRingError(f"{len(data)} bytes are too many for a key ring")
        if kek is not None:
            return unseal(text, kek, purpose)
        if is_sealed(text):
            raise KeyRingError(
                "it is sealed; give its key-encryption key (GHASI_HANDOFF_KEK_FILE, GHASI_HANDOFF_KEK, or kek=)"
            )
        return KeyRing.from_json(text)
    finally:
        del data, text


def located(exc: KeyRingError, where: str) -> KeyRingError:
    """The same refusal, saying where. Without the traceback of the inner one, whose frames have read the secrets."""
    message = str(exc)
    return exc if message.startswith(where) else KeyRingError(f"{where}: {message}")

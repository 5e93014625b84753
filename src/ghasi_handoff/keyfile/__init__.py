"""Key file or environment <-> `KeyRing`, in the clear or sealed; and `WatchedKeyRing`, which follows a file.

A file is read only if nobody else can, and written whole or not at all.
"""

from __future__ import annotations

import os

from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keyfile._environment import from_env
from ghasi_handoff.keyfile._events import KeyRingEvent, KeyRingReloaded, KeyRingReloadFailed
from ghasi_handoff.keyfile._file import read_secret_file, write_secret_file
from ghasi_handoff.keyfile._kek import KeyEncryptionKey, LocalKeyEncryptionKey
from ghasi_handoff.keyfile._open import located, opened
from ghasi_handoff.keyfile._seal import DEFAULT_PURPOSE, seal
from ghasi_handoff.keyfile._watch import WatchedKeyRing, catch_up
from ghasi_handoff.keys import KeyRing

__all__ = [
    "DEFAULT_PURPOSE",
    "KeyEncryptionKey",
    "KeyRingEvent",
    "KeyRingReloadFailed",
    "KeyRingReloaded",
    "LocalKeyEncryptionKey",
    "WatchedKeyRing",
    "catch_up",
    "from_env",
    "load",
    "save",
]


def load(
    path: str | os.PathLike[str], *, kek: KeyEncryptionKey | None = None, purpose: str = DEFAULT_PURPOSE
) -> KeyRing:
    """The ring in the file `path`.

    Args:
        path: The file. Only its owner may read it; or it belongs to root and to a group of this process, as a
            Kubernetes secret does, and only root and that group may read it.
        kek: Opens a sealed file. With it, a file that is not sealed is refused: else whoever can write the file could
            put keys of their own there.
        purpose: What the file was sealed for. Another file, sealed with the same `kek` for another purpose, is refused.

    Raises:
        KeyRingError: No such file, no regular file, others may use it, or it is not a key ring, or not as sealed as
            `kek` says.
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
    path: str | os.PathLike[str],
    keys: KeyRing,
    *,
    kek: KeyEncryptionKey | None = None,
    purpose: str = DEFAULT_PURPOSE,
) -> None:
    """Write the ring to the file `path`, which only its owner can read (mode 0600).

    The new content is written beside it, flushed to disk and renamed over it: after a crash there is the old file or
    the new one. If root does so, a file keeps its owner, so that a service can go on reading its own.

    Args:
        path: The file.
        keys: The ring.
        kek: Seals the file. Without it the file holds the secrets in the clear.
        purpose: What the file is for: 1 to 64 characters of ``A-Z a-z 0-9 . _ : / -``. Whoever opens it must say the
            same.

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

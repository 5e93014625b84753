"""Key file <-> `KeyRing`. JSON; read and written by its owner alone; written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from typing import Final

from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keys import KeyRing

__all__ = ["load", "save"]

MAX_FILE_BYTES: Final = 1_000_000


def load(path: str | os.PathLike[str]) -> KeyRing:
    """The ring in the file `path`.

    Raises:
        KeyRingError: No such file, no regular file, readable or writable by others than its owner, or not a key ring.
    """
    text = ""
    try:
        # What is not UTF-8 becomes a character that no JSON of ours holds, and is refused as such.
        text = _read(path).decode("utf-8", errors="replace")
        return KeyRing.from_json(text)
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        raise KeyRingError(f"key file {os.fspath(path)}: {getattr(exc, 'strerror', exc)}") from exc
    finally:
        del text  # a traceback that shows local variables must not show the secrets


def save(path: str | os.PathLike[str], keys: KeyRing) -> None:
    """Write the ring to the file `path`, which only its owner can read (mode 0600).

    The new content is written beside it, flushed to disk and renamed over it: after a crash there is the old file or
    the new one.

    Raises:
        KeyRingError: It cannot be written, or `keys` is no ring. An earlier file is still there, whole.
    """
    if not isinstance(keys, KeyRing):
        raise KeyRingError(f"what is saved must be a KeyRing, not {type(keys).__name__}")
    target = os.path.abspath(os.fspath(path))
    folder = os.path.dirname(target)
    try:
        # mkstemp makes the file with mode 0600, under a name that nobody can have prepared.
        descriptor, temporary = tempfile.mkstemp(prefix=".keys-", dir=folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(keys.to_json())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
        _sync_folder(folder)
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        raise KeyRingError(f"key file {target}: {getattr(exc, 'strerror', exc)}") from exc


def _read(path: str | os.PathLike[str]) -> bytes:
    # The checks are made on the open file, not on its name: nobody can exchange it in between. NONBLOCK: a FIFO must
    # not hang.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyRingError(f"key file {os.fspath(path)}: not a regular file")
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            mode = stat.S_IMODE(status.st_mode)
            raise KeyRingError(
                f"key file {os.fspath(path)}: others than its owner may use it (mode {mode:04o}); chmod 600 it, and if"
                " others may have read it, rotate and revoke its keys"
            )
        if status.st_size > MAX_FILE_BYTES:
            raise KeyRingError(f"key file {os.fspath(path)}: {status.st_size} bytes are too many for a key ring")
        return file.read()


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

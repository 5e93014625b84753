"""path or function -> the ring that is there now, read again and again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keyfile._file import read_secret_file
from ghasi_handoff.keyfile._kek import KeyEncryptionKey
from ghasi_handoff.keyfile._open import located, opened
from ghasi_handoff.keys import KeyRing

# While a mounted secret is exchanged, its link leads for a moment to a folder that is gone.
_SECOND_TRY_SECONDS: Final = 0.05


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
            data = self._content(twice=last is not None)
            mark = sha256(data).digest()
            if last is not None and mark == last.mark:
                return last
            return Found(opened(data, self._kek, self._purpose), mark)
        except KeyRingError as exc:
            raise located(exc, f"key file {self.name}") from exc.__cause__
        finally:
            del data  # a traceback that shows local variables must not show the secrets

    def _content(self, *, twice: bool) -> bytes:
        try:
            return read_secret_file(self.name, "key file")
        except KeyRingError as exc:
            if not twice or not isinstance(exc.__cause__, FileNotFoundError):
                raise
        time.sleep(_SECOND_TRY_SECONDS)
        return read_secret_file(self.name, "key file")


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

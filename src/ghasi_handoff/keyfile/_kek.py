"""The key that encrypts a key file's own key: a protocol for a KMS, and 32 bytes of our own."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from typing import Final, NoReturn, Protocol, SupportsIndex, runtime_checkable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from typing_extensions import override

from ghasi_handoff._base64url import b64u_decode
from ghasi_handoff._secret_checks import is_printable
from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keyfile._file import read_secret_file

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12  # NIST SP 800-38D, section 5.2.1.1: the length for which GCM was made

_KEK: Final = "GHASI_HANDOFF_KEK"
_KEK_FILE: Final = "GHASI_HANDOFF_KEK_FILE"
_HOW_TO_MAKE: Final = "it must be 32 random bytes, raw or as 43 characters of base64url without padding"


@runtime_checkable
class KeyEncryptionKey(Protocol):
    """What seals and opens the key of a sealed key file: yours, over a KMS, or `LocalKeyEncryptionKey`.

    The KMS sees only the 32 bytes that encrypt the ring. Let its client's errors through: each becomes the cause of a
    `KeyRingError`.
    """

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """`data_key` (32 bytes) encrypted, at most 64 KiB, with `context` authenticated but not encrypted."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The data key that `wrap` encrypted, if `context` is the same; else raise."""
        ...


class LocalKeyEncryptionKey:
    """A key-encryption key of 32 bytes, from a file or the environment. AES-256-GCM. Shows in no repr.

    Keep it where the key file is not: beside it, it protects nothing.

    Args:
        key: 32 random bytes.
        random_bytes: Returns that many cryptographically secure random bytes.

    Raises:
        KeyRingError: Not 32 bytes, one byte repeated, or printable text.
    """

    __slots__ = ("_cipher", "_random_bytes")

    def __init__(self, key: bytes, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        try:
            # Text of 32 characters is a pass-phrase, or half of what it should be in hex.
            if type(key) is not bytes or len(key) != KEY_BYTES or key == key[:1] * KEY_BYTES or is_printable(key):
                raise KeyRingError(f"no key-encryption key: {_HOW_TO_MAKE}")
            self._cipher = AESGCM(key)
            self._random_bytes = random_bytes
        finally:
            del key  # a traceback that shows local variables must not show it

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> LocalKeyEncryptionKey:
        """The key in the file `path`: 32 raw bytes, or base64url, with one end of line at most.

        Raises:
            KeyRingError: It cannot be read, others may use it, or it holds no such key.
        """
        data = b""
        try:
            data = read_secret_file(path, "key-encryption key")
            return cls(_as_key(data, f"key-encryption key {os.fspath(path)}"))
        finally:
            del data

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> LocalKeyEncryptionKey | None:
        """The key that ``GHASI_HANDOFF_KEK_FILE`` names or ``GHASI_HANDOFF_KEK`` holds; None where neither is set.

        Raises:
            KeyRingError: Both are set, or what is set is no key.
        """
        variables = os.environ if environ is None else environ
        text: str | None = None
        try:
            path, text = variables.get(_KEK_FILE), variables.get(_KEK)
            if path and text:
                raise KeyRingError(f"set {_KEK_FILE} or {_KEK}, not both")
            if path:
                return cls.from_file(path)
            return cls(_as_key(text.encode("utf-8", errors="replace"), _KEK)) if text else None
        finally:
            del environ, variables, text  # a traceback that shows local variables must not show the environment

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """The nonce (12 bytes), then `data_key` under AES-256-GCM with `context` as associated data."""
        try:
            nonce = self._random_bytes(NONCE_BYTES)
            return nonce + self._cipher.encrypt(nonce, data_key, context)
        finally:
            del data_key

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """What `wrap` encrypted; `KeyRingError` if with another key or context, or altered since."""
        try:
            return self._cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        except (InvalidTag, ValueError):  # ValueError: too short for a nonce
            raise KeyRingError(
                "it was sealed with another key-encryption key, or has been altered; is it the key of this environment?"
            ) from None

    @override
    def __repr__(self) -> str:
        return "LocalKeyEncryptionKey()"

    @override
    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise KeyRingError("a key-encryption key is not pickled, it would travel; read it in each process")


def _as_key(data: bytes, where: str) -> bytes:
    text = ""
    try:
        if len(data) == KEY_BYTES and not is_printable(data):
            return data
        text = data.removesuffix(b"\n").decode("latin-1")
        key = b64u_decode(text) if len(text) == 43 else None
        if key is None:
            raise KeyRingError(f"{where}: {_HOW_TO_MAKE}; it has {len(data)} bytes")
        return key
    finally:
        del data, text

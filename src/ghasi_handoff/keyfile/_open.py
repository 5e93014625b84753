"""content of a key file -> `KeyRing`, sealed or in the clear, as the reader expects."""

from __future__ import annotations

from ghasi_handoff._limits import MAX_KEY_FILE_BYTES
from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keyfile._kek import KeyEncryptionKey
from ghasi_handoff.keyfile._seal import is_sealed, unseal
from ghasi_handoff.keys import KeyRing


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

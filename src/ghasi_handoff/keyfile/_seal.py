"""`KeyRing` <-> sealed text: AES-256-GCM under a key of its own, which a key-encryption key wraps.

    context    = "ghasi-handoff-sealed-keys/v1" LF "AES-256-GCM" LF purpose
    wrapped    = wrap(data-key, context)                                        ; by the key-encryption key or a KMS
    ciphertext = AES-256-GCM(data-key, nonce, the ring's JSON, associated data: context)      ; the tag comes last

Format, purpose and algorithm are authenticated twice: neither layer can be lifted out and put into another file.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ghasi_handoff._base64url import b64u_decode, b64u_encode
from ghasi_handoff._formats import SEALED_KEY_RING
from ghasi_handoff._key_ring_json import unique_members
from ghasi_handoff._limits import MAX_WRAPPED_KEY_BYTES
from ghasi_handoff._signing_string import as_name
from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keyfile._kek import KEY_BYTES, NONCE_BYTES, KeyEncryptionKey
from ghasi_handoff.keys import KeyRing

DEFAULT_PURPOSE: Final = "ghasi-handoff"

_FAMILY: Final = "ghasi-handoff-sealed-keys/"
_BYTE_MEMBERS: Final = ("wrapped_key", "nonce", "ciphertext")
_MEMBERS: Final = {"format", "purpose", *_BYTE_MEMBERS}


def is_sealed(text: str) -> bool:
    """Whether the text says that it is sealed, in any version. Nothing else is checked."""
    return str(_document(text).get("format")).startswith(_FAMILY)


def seal(
    keys: KeyRing,
    kek: KeyEncryptionKey,
    purpose: str = DEFAULT_PURPOSE,
    *,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> str:
    """The ring as text that only the key-encryption key opens."""
    context = _context(purpose)
    data_key = random_bytes(KEY_BYTES)
    plain = keys.to_json().encode("utf-8")
    try:
        wrapped = _asked("wrap", kek.wrap, data_key, context)
        if not 0 < len(wrapped) <= MAX_WRAPPED_KEY_BYTES or data_key in wrapped:
            raise KeyRingError("the key-encryption key's wrap returned no encrypted key")
        nonce = random_bytes(NONCE_BYTES)
        document = {
            "format": SEALED_KEY_RING,
            "purpose": purpose,
            "wrapped_key": b64u_encode(wrapped),
            "nonce": b64u_encode(nonce),
            "ciphertext": b64u_encode(AESGCM(data_key).encrypt(nonce, plain, context)),
        }
        return json.dumps(document, indent=2) + "\n"
    finally:
        del data_key, plain  # a traceback that shows local variables must not show them


def unseal(text: str, kek: KeyEncryptionKey, purpose: str = DEFAULT_PURPOSE) -> KeyRing:
    """The ring in a sealed text; `KeyRingError` if it is not sealed so, for this purpose and with this key."""
    data_key = plain = b""
    try:
        context = _context(purpose)
        parts = _parts(text, purpose)
        data_key = _asked("unwrap", kek.unwrap, parts["wrapped_key"], context)
        if len(data_key) != KEY_BYTES:
            raise KeyRingError("the key-encryption key's unwrap returned no key of 32 bytes")
        try:
            plain = AESGCM(data_key).decrypt(parts["nonce"], parts["ciphertext"], context)
        except (InvalidTag, ValueError):  # ValueError: a nonce of an impossible length
            raise KeyRingError("it has been altered since it was sealed; take it from its source again") from None
        return KeyRing.from_json(plain.decode("utf-8", errors="replace"))
    finally:
        del text, data_key, plain  # what is not sealed may be a ring in the clear


def _context(purpose: str) -> bytes:
    name = as_name(purpose)
    if name is None:
        raise KeyRingError("the purpose of a sealed file must be 1 to 64 characters of A-Z a-z 0-9 . _ : / -")
    return f"{SEALED_KEY_RING}\nAES-256-GCM\n{name}".encode("ascii")


def _parts(text: str, purpose: str) -> dict[str, bytes]:
    document = _document(text)
    try:
        if not str(document.get("format")).startswith(_FAMILY):
            raise KeyRingError("it is cut short, or not sealed as it should be; seal it: ghasi-handoff keys seal")
        if document["format"] != SEALED_KEY_RING:
            raise KeyRingError(f"its version is unknown; this library knows {SEALED_KEY_RING!r}: update ghasi-handoff")
        if set(document) != _MEMBERS:
            raise KeyRingError(f"its members must be {', '.join(sorted(_MEMBERS))}")
        if document["purpose"] != purpose:
            raise KeyRingError(f"it is sealed for another purpose than {purpose}; is it this environment's file?")
        texts = {name: document[name] for name in _BYTE_MEMBERS if isinstance(document[name], str)}
    finally:
        del text, document
    parts = {name: b64u_decode(text) or b"" for name, text in texts.items()}
    if len(parts) != len(_BYTE_MEMBERS) or not all(parts.values()):
        raise KeyRingError(f"its {', '.join(_BYTE_MEMBERS)} must be base64url without padding")
    return parts


def _asked(what: str, call: Callable[[bytes, bytes], object], data: bytes, context: bytes) -> bytes:
    """What the key-encryption key answers; its own errors, of whatever class, become ours."""
    try:
        answer = call(data, context)
    except KeyRingError:
        raise
    except Exception as exc:  # a client of a KMS raises what it likes
        raise KeyRingError(
            f"the key-encryption key cannot {what} ({type(exc).__name__}): is the KMS reachable, does it let us, and is"
            " it the key of this file, purpose and environment?"
        ) from exc
    finally:
        del data  # a traceback that shows local variables must not show it
    if not isinstance(answer, bytes):
        raise KeyRingError(f"the key-encryption key's {what} must return bytes, not {type(answer).__name__}")
    return answer


def _document(text: str) -> dict[str, Any]:
    """The JSON object; an empty one where there is none."""
    document: Any = None
    try:
        document = json.loads(text, object_pairs_hook=unique_members)
        return document if isinstance(document, dict) else {}
    except (ValueError, RecursionError):
        return {}
    finally:
        del text, document

"""Write tests/vectors/sealed/*.json: a key file sealed with known keys and nonces, and what is wrong with others.

Fixed bytes in place of randomness, so that a second run writes the same. `make vectors` runs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from ghasi_handoff import KeyRing, SigningKey
from ghasi_handoff._base64url import b64u_decode, b64u_encode
from ghasi_handoff.keyfile._kek import LocalKeyEncryptionKey
from ghasi_handoff.keyfile._seal import seal

FOLDER = Path(__file__).parent / "sealed"
PURPOSE = "bff-consumer/bff-tenant-booking"


def fixed(label: str, size: int = 32) -> bytes:
    """Bytes that look random and are the same in each run."""
    return sha256(f"ghasi-handoff sealed vector {label}".encode()).digest()[:size]


def ring() -> KeyRing:
    """A ring of one key."""
    began = datetime(2026, 11, 1, tzinfo=UTC)
    return KeyRing([SigningKey(kid="2026-11a", secret=fixed("secret"), created_at=began, sign_from=began)])


def good() -> dict[str, Any]:
    """The vector that opens."""
    wrap = LocalKeyEncryptionKey(fixed("kek"), random_bytes=lambda size: fixed("wrap nonce", size))
    given = iter([fixed("data key"), fixed("nonce", 12)])
    text = seal(ring(), wrap, PURPOSE, random_bytes=lambda size: next(given))
    return {
        "description": "a ring of one key, sealed under a local key-encryption key",
        "expect": "opens",
        "kek": b64u_encode(fixed("kek")),
        "purpose": PURPOSE,
        "context": f"ghasi-handoff-sealed-keys/v1\nAES-256-GCM\n{PURPOSE}",
        "data_key": b64u_encode(fixed("data key")),
        "ring": ring().to_json(),
        "file": text,
    }


def refused(description: str, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> dict[str, Any]:
    """The good vector, changed by a function of the vector and its file's members, so that it must not open."""
    vector = {**good(), "description": description, "expect": "refused"}
    document = json.loads(vector["file"])
    change(vector, document)
    vector["file"] = json.dumps(document, indent=2) + "\n"
    return {name: value for name, value in vector.items() if name not in ("ring", "data_key", "context")}


def _flip(name: str, position: int) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(_vector: dict[str, Any], document: dict[str, Any]) -> None:
        data = bytearray(b64u_decode(document[name]) or b"")
        data[position] ^= 1
        document[name] = b64u_encode(bytes(data))

    return change


def _cut(name: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(_vector: dict[str, Any], document: dict[str, Any]) -> None:
        document[name] = b64u_encode((b64u_decode(document[name]) or b"")[:-1])

    return change


def _put(**members: object) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda _vector, document: document.update(members)


def _ask(**members: object) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda vector, _document: vector.update(members)


def _both(vector: dict[str, Any], document: dict[str, Any]) -> None:
    vector["purpose"] = document["purpose"] = "staging"


def vectors() -> dict[str, dict[str, Any]]:
    """Every vector, by its file's name."""
    other = LocalKeyEncryptionKey(fixed("kek"), random_bytes=lambda size: fixed("other wrap nonce", size))
    context = f"ghasi-handoff-sealed-keys/v1\nAES-256-GCM\n{PURPOSE}".encode()
    foreign = b64u_encode(other.wrap(fixed("other data key"), context))
    return {
        "opens": good(),
        "refused-another-kek": refused("another key-encryption key", _ask(kek=b64u_encode(fixed("other kek")))),
        "refused-another-purpose": refused("the reader expects another purpose", _ask(purpose="staging")),
        "refused-purpose-swapped": refused("file and reader agree on a purpose that was not sealed", _both),
        "refused-future-version": refused("version 2", _put(format="ghasi-handoff-sealed-keys/v2")),
        "refused-wrapped-key-altered": refused("a bit of the wrapped key", _flip("wrapped_key", 20)),
        "refused-wrapped-key-of-another": refused("the wrapped key of another file", _put(wrapped_key=foreign)),
        "refused-nonce-altered": refused("a bit of the nonce", _flip("nonce", 0)),
        "refused-ciphertext-altered": refused("a bit of the ciphertext", _flip("ciphertext", 0)),
        "refused-tag-altered": refused("a bit of the tag", _flip("ciphertext", -1)),
        "refused-ciphertext-cut": refused("one byte less", _cut("ciphertext")),
        "refused-one-member-more": refused("a member that is not in the format", _put(comment="ours")),
        "refused-ciphertext-padded": refused("base64url with padding", _put(nonce="AAAAAAAAAAAAAAAA=")),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, vector in vectors().items():
        (FOLDER / f"{name}.json").write_text(json.dumps(vector, indent=2) + "\n", "ascii")
